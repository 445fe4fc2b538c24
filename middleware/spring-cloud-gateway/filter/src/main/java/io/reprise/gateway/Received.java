package io.reprise.gateway;

import java.net.InetSocketAddress;
import java.time.Instant;
import java.util.function.BiConsumer;
import org.springframework.http.server.reactive.ServerHttpRequest;
import org.springframework.http.server.reactive.ServerHttpRequestDecorator;
import reactor.netty.http.server.HttpServerRequest;

/**
 * A request as it came in. Reactor Netty still has what no filter can have changed: the target byte for byte, and the headers in
 * their order and case. On another server it is what is left when the filter sees it.
 */
final class Received {
    private final ServerHttpRequest request;
    private final HttpServerRequest wire; // null: the server is another one

    Received(ServerHttpRequest request) {
        this.request = request;
        ServerHttpRequest inner = request;
        while (inner instanceof ServerHttpRequestDecorator decorator) {
            inner = decorator.getDelegate();
        }
        Object given = null;
        try {
            given = ServerHttpRequestDecorator.getNativeRequest(inner);
        } catch (IllegalArgumentException e) {
            // a request that somebody made up
        }
        wire = given instanceof HttpServerRequest known ? known : null;
    }

    String method() {
        return request.getMethod().name();
    }

    String target() {
        if (wire != null) {
            return wire.uri();
        }
        String path = request.getURI().getRawPath();
        String query = request.getURI().getRawQuery();
        return (path == null || path.isEmpty() ? "/" : path) + (query == null ? "" : "?" + query);
    }

    String scheme() {
        String scheme = request.getURI().getScheme();
        return scheme == null ? "http" : scheme;
    }

    /** HTTP/1.1 or the like. */
    String protocol() {
        return wire == null ? "HTTP/1.1" : wire.protocol();
    }

    boolean isHttp2() {
        return protocol().startsWith("HTTP/2");
    }

    /** Calls each for every header, in order. */
    void headers(BiConsumer<String, String> each) {
        if (wire == null) {
            request.getHeaders().forEach((name, values) -> values.forEach(value -> each.accept(name, value)));
            return;
        }
        boolean added = isHttp2(); // x-http2-scheme and its like are Netty's own
        var all = wire.requestHeaders().iteratorCharSequence();
        while (all.hasNext()) {
            var field = all.next();
            String name = field.getKey().toString();
            if (!added || !name.startsWith("x-http2-")) {
                each.accept(name, field.getValue().toString());
            }
        }
    }

    /** The first value; null: there is none. */
    String header(String name) {
        return wire == null ? request.getHeaders().getFirst(name) : wire.requestHeaders().get(name);
    }

    /** When its head was read. */
    Instant time() {
        return wire == null ? Instant.now() : wire.timestamp().toInstant();
    }

    /** Address and port; empty: unknown. */
    String client() {
        InetSocketAddress from = request.getRemoteAddress();
        if (from == null) {
            return "";
        }
        String host = from.getAddress() == null ? from.getHostString() : from.getAddress().getHostAddress();
        return (host.indexOf(':') < 0 ? host : "[" + host + "]") + ":" + from.getPort();
    }

    /** The length of its body as its head tells it; 0: it has none; -1: it will turn out. */
    long bodyLength() {
        String length = header("Content-Length");
        if (length != null) {
            return Long.parseLong(length.strip());
        }
        if (!isHttp2()) {
            return header("Transfer-Encoding") == null ? 0 : -1;
        }
        return switch (method()) { // there, nothing in the head tells
            case "GET", "HEAD", "OPTIONS", "DELETE", "TRACE" -> 0;
            default -> -1;
        };
    }

    /** Reports whether the client is still connected. */
    boolean isConnected() {
        boolean[] active = {true};
        if (wire != null) {
            wire.withConnection(connection -> active[0] = connection.channel().isActive());
        }
        return active[0];
    }
}
