package io.reprise.gateway;

import org.reactivestreams.Publisher;
import org.springframework.core.io.buffer.DataBuffer;
import org.springframework.http.server.reactive.ServerHttpResponse;
import org.springframework.http.server.reactive.ServerHttpResponseDecorator;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * A response that is copied while it streams by. Its head is looked at behind everything that changes it, and before Netty
 * compresses: hence as late as the body's beginning, and not when the filter begins.
 */
final class CopiedResponse extends ServerHttpResponseDecorator {
    private final Copy copy;

    CopiedResponse(ServerHttpResponse response, Copy copy) {
        super(response);
        this.copy = copy;
    }

    @Override
    public Mono<Void> writeWith(Publisher<? extends DataBuffer> body) {
        watchHead();
        return super.writeWith(tee(body));
    }

    @Override
    public Mono<Void> writeAndFlushWith(Publisher<? extends Publisher<? extends DataBuffer>> body) {
        watchHead();
        return super.writeAndFlushWith(watchEnd(Flux.from(body).map(this::each)));
    }

    @Override
    public Mono<Void> setComplete() {
        watchHead();
        return super.setComplete().doOnSubscribe(s -> copy.wroteAll());
    }

    private void watchHead() {
        getDelegate().beforeCommit(() -> Mono.fromRunnable(() -> copy.answered(getDelegate())));
    }

    /** Keeps a Mono one: it is sent with its length. */
    private Publisher<? extends DataBuffer> tee(Publisher<? extends DataBuffer> body) {
        if (body instanceof Mono) {
            return Mono.from(body).doOnNext(copy::wrote).doOnSuccess(b -> copy.wroteAll()).doOnError(e -> copy.wroteHalf())
                    .doOnCancel(copy::left);
        }
        return watchEnd(Flux.from(body).doOnNext(copy::wrote));
    }

    private <T> Flux<T> watchEnd(Flux<T> body) {
        return body.doOnComplete(copy::wroteAll).doOnError(e -> copy.wroteHalf()).doOnCancel(copy::left);
    }

    private Publisher<? extends DataBuffer> each(Publisher<? extends DataBuffer> part) {
        return part instanceof Mono ? Mono.from(part).doOnNext(copy::wrote) : Flux.from(part).doOnNext(copy::wrote);
    }
}
