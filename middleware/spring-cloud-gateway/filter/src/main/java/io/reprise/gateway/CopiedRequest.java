package io.reprise.gateway;

import org.springframework.core.io.buffer.DataBuffer;
import org.springframework.http.server.reactive.ServerHttpRequest;
import org.springframework.http.server.reactive.ServerHttpRequestDecorator;
import reactor.core.publisher.Flux;

/** A request whose body is copied while it streams by. */
final class CopiedRequest extends ServerHttpRequestDecorator {
    private final Copy copy;

    CopiedRequest(ServerHttpRequest request, Copy copy) {
        super(request);
        this.copy = copy;
    }

    @Override
    public Flux<DataBuffer> getBody() {
        return super.getBody().doOnSubscribe(s -> copy.reading()).doOnNext(copy::read).doOnComplete(copy::readAll);
    }
}
