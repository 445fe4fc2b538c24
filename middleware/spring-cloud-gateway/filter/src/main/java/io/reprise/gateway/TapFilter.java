package io.reprise.gateway;

import org.springframework.cloud.gateway.filter.GatewayFilterChain;
import org.springframework.cloud.gateway.filter.GlobalFilter;
import org.springframework.cloud.gateway.support.ServerWebExchangeUtils;
import org.springframework.core.Ordered;
import org.springframework.http.server.reactive.ServerHttpRequest;
import org.springframework.web.server.ServerWebExchange;
import reactor.core.publisher.Mono;

/** Lets every exchange pass, and copies those that the tap is to have. */
public final class TapFilter implements GlobalFilter, Ordered {
    private final Tap tap;
    private final int order;

    /** The filter among the gateway's others at the given order. */
    public TapFilter(Tap tap, int order) {
        this.tap = tap;
        this.order = order;
    }

    @Override
    public int getOrder() {
        return order;
    }

    @Override
    public Mono<Void> filter(ServerWebExchange exchange, GatewayFilterChain chain) {
        Copy copy = tap.begin(exchange);
        if (copy == null) {
            return chain.filter(exchange);
        }
        // A predicate that looks at bodies has read it already: what it kept for the filters behind is what can be copied.
        String kept = ServerWebExchangeUtils.CACHED_SERVER_HTTP_REQUEST_DECORATOR_ATTR;
        if (exchange.getAttribute(kept) instanceof ServerHttpRequest read) {
            exchange.getAttributes().put(kept, new CopiedRequest(read, copy));
        }
        ServerWebExchange copied = exchange.mutate()
                .request(new CopiedRequest(exchange.getRequest(), copy))
                .response(new CopiedResponse(exchange.getResponse(), copy))
                .build();
        return chain.filter(copied).doOnSuccess(v -> copy.passedOn()).doOnError(e -> copy.failed()).doFinally(copy::ended);
    }
}
