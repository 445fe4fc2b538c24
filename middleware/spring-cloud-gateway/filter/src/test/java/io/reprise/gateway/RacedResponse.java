package io.reprise.gateway;

import org.reactivestreams.Publisher;
import org.reactivestreams.Subscription;
import org.springframework.core.io.buffer.DataBuffer;
import org.springframework.http.server.reactive.ServerHttpResponse;
import org.springframework.http.server.reactive.ServerHttpResponseDecorator;
import reactor.core.CoreSubscriber;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * A response whose body ends while it is being cancelled, as Reactor Netty's may: the connection to the origin, which the
 * cancelling closes, belongs to another thread, and its end can be heard before the cancelling has reached everybody.
 */
final class RacedResponse extends ServerHttpResponseDecorator {
    RacedResponse(ServerHttpResponse response) {
        super(response);
    }

    @Override
    public Mono<Void> writeAndFlushWith(Publisher<? extends Publisher<? extends DataBuffer>> body) {
        return super.writeAndFlushWith(Flux.from(to -> body.subscribe(new Racing<>((CoreSubscriber<? super Publisher<? extends DataBuffer>>) to))));
    }

    private record Racing<T>(CoreSubscriber<? super T> to) implements CoreSubscriber<T> {
        @Override
        public void onSubscribe(Subscription from) {
            to.onSubscribe(new Subscription() {
                @Override
                public void request(long n) {
                    from.request(n);
                }

                @Override
                public void cancel() {
                    from.cancel();
                    to.onComplete();
                }
            });
        }

        @Override
        public void onNext(T part) {
            to.onNext(part);
        }

        @Override
        public void onError(Throwable e) {
            to.onError(e);
        }

        @Override
        public void onComplete() {
            to.onComplete();
        }
    }
}
