package io.reprise.gateway;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.ServerSocket;
import java.time.Duration;
import java.util.concurrent.Callable;
import java.util.function.BiFunction;
import org.awaitility.Awaitility;
import org.reactivestreams.Publisher;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.cloud.gateway.filter.GatewayFilterChain;
import org.springframework.cloud.gateway.filter.GlobalFilter;
import org.springframework.cloud.gateway.filter.NettyWriteResponseFilter;
import org.springframework.cloud.gateway.route.RouteLocator;
import org.springframework.cloud.gateway.route.builder.RouteLocatorBuilder;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.core.Ordered;
import org.springframework.core.env.Environment;
import org.springframework.web.server.ServerWebExchange;
import reactor.core.publisher.Mono;
import reactor.netty.DisposableServer;
import reactor.netty.http.server.HttpServer;
import reactor.netty.http.server.HttpServerRequest;
import reactor.netty.http.server.HttpServerResponse;

/** A real gateway on a port of its own, in front of a real origin. */
final class Gateway implements AutoCloseable {
    private final DisposableServer origin;
    private final ConfigurableApplicationContext context;

    Gateway(BiFunction<HttpServerRequest, HttpServerResponse, Publisher<Void>> app, String tap, String... more) {
        origin = HttpServer.create().host("127.0.0.1").port(0).handle(app).bindNow();
        context = new SpringApplicationBuilder(Application.class)
                .properties(
                        "server.port=0", "spring.main.banner-mode=off", "logging.level.root=off",
                        "test.origin=http://127.0.0.1:" + origin.port(), "reprise.tap.url=" + tap, "reprise.tap.linger=1ms")
                .run(more);
    }

    int port() {
        return context.getEnvironment().getRequiredProperty("local.server.port", Integer.class);
    }

    Wire connect() throws IOException {
        return new Wire(port());
    }

    /** Waits for something that will be; the machine may be slow. */
    static void until(Callable<Boolean> ok) {
        Awaitility.await().atMost(Duration.ofSeconds(60)).until(ok);
    }

    Tap tap() {
        return context.getBean(Tap.class);
    }

    @Override
    public void close() {
        context.close();
        origin.disposeNow(Duration.ofSeconds(5));
    }

    private static int closedPort() {
        try (ServerSocket s = new ServerSocket(0)) {
            return s.getLocalPort();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Configuration(proxyBeanMethods = false)
    @EnableAutoConfiguration
    static class Application {
        @Bean
        RouteLocator routes(RouteLocatorBuilder builder, Environment env) {
            String origin = env.getRequiredProperty("test.origin");
            return builder.routes()
                    .route("gone", r -> r.path("/gone/**").uri("http://127.0.0.1:" + closedPort()))
                    .route("peeked", r -> r.path("/peeked/**").and().readBody(String.class, s -> true).uri(origin))
                    .route("retried", r -> r.path("/retried/**").filters(f -> f.retry(2)).uri(origin))
                    .route("rewritten", r -> r.path("/rewritten/**")
                            .filters(f -> f.setPath("/new").setRequestHeader("X-One", "changed").addResponseHeader("X-Added", "late"))
                            .uri(origin))
                    .route("local", r -> r.path("/local/**").filters(f -> f.setStatus(418)).uri("no://op"))
                    .route("rest", r -> r.path("/**").uri(origin))
                    .build();
        }

        /** Answers /refused itself, and is behind the tap's filter. */
        @Bean
        GlobalFilter refuser() {
            class Refuser implements GlobalFilter, Ordered {
                @Override
                public Mono<Void> filter(ServerWebExchange x, GatewayFilterChain chain) {
                    if (!x.getRequest().getURI().getPath().equals("/refused")) {
                        return chain.filter(x);
                    }
                    x.getResponse().setRawStatusCode(429);
                    x.getResponse().getHeaders().add("X-Why", "enough");
                    return x.getResponse().writeWith(Mono.just(x.getResponse().bufferFactory().wrap("no".getBytes())));
                }

                @Override
                public int getOrder() {
                    return 0;
                }
            }
            return new Refuser();
        }

        /** Answers under /stream/raced also come to their end, when they are cancelled. */
        @Bean
        GlobalFilter racer() {
            class Racer implements GlobalFilter, Ordered {
                @Override
                public Mono<Void> filter(ServerWebExchange x, GatewayFilterChain chain) {
                    boolean raced = x.getRequest().getURI().getPath().startsWith("/stream/raced");
                    return chain.filter(raced ? x.mutate().response(new RacedResponse(x.getResponse())).build() : x);
                }

                @Override
                public int getOrder() {
                    return NettyWriteResponseFilter.WRITE_RESPONSE_FILTER_ORDER - 1;
                }
            }
            return new Racer();
        }
    }
}
