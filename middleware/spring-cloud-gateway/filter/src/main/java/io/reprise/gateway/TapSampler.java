package io.reprise.gateway;

import org.springframework.web.server.ServerWebExchange;

/** Chooses the requests that are copied. A bean of this type replaces the one that {@code reprise.tap.sample} makes. */
@FunctionalInterface
public interface TapSampler {
    /** Is called for every request on the gateway's threads: it must be quick. What it throws costs the copy only. */
    boolean wants(ServerWebExchange exchange);
}
