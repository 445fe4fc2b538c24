package io.reprise.gateway;

import static org.assertj.core.api.Assertions.assertThat;

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.reactivestreams.Publisher;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.netty.http.server.HttpServerRequest;
import reactor.netty.http.server.HttpServerResponse;
import tools.jackson.databind.JsonNode;

/** What a tap gets to know of what a real gateway passes on. */
@Timeout(300)
class CopiesTest {
    private static final int BODY_MAX = 1000;

    private static FakeTap tap;
    private static Gateway gateway;
    private static Sinks.Many<String> stream; // what /stream answers
    private static final AtomicInteger tries = new AtomicInteger();

    @BeforeAll
    static void start() throws Exception {
        tap = new FakeTap();
        gateway = new Gateway(CopiesTest::origin, tap.url(), "--reprise.tap.body-max=" + BODY_MAX + "B", "--reprise.tap.token=secret",
                "--server.http2.enabled=true");
    }

    @AfterAll
    static void stop() {
        gateway.close();
        tap.close();
    }

    private static Publisher<Void> origin(HttpServerRequest request, HttpServerResponse response) {
        String path = request.path();
        if (path.startsWith("stream")) {
            return response.header("Content-Type", "text/event-stream").sendString(stream.asFlux());
        }
        if (path.startsWith("chat")) {
            return response.sendWebsocket((in, out) -> out.send(in.receive().retain()));
        }
        if (path.startsWith("never")) {
            return Mono.never();
        }
        if (path.startsWith("broken")) { // half an answer
            request.withConnection(c -> c.channel().eventLoop().schedule(() -> c.channel().close(), 100, TimeUnit.MILLISECONDS));
            return response.header("Content-Length", "10").sendString(Flux.just("half").concatWith(Flux.never()));
        }
        if (path.startsWith("retried") && tries.incrementAndGet() % 2 == 1) {
            return response.status(503).send();
        }
        if (path.startsWith("plain")) {
            return response.status(201).header("X-Two", "a").addHeader("X-Two", "b").header("X-Saw", request.uri())
                    .addHeader("Set-Cookie", "a=1").addHeader("Set-Cookie", "b=2").sendString(Mono.just("plain"));
        }
        return request.receive().aggregate().asByteArray().defaultIfEmpty(new byte[0])
                .flatMapMany(b -> response.header("X-Saw", request.uri()).sendByteArray(Mono.just(b)));
    }

    private static List<String> pairs(JsonNode fields) {
        List<String> all = new ArrayList<>();
        fields.forEach(f -> all.add(f.get(0).asString() + ": " + f.get(1).asString()));
        return all;
    }

    private static List<String> flags(JsonNode line) {
        List<String> all = new ArrayList<>();
        line.get("flags").forEach(f -> all.add(f.asString()));
        return all;
    }

    @Test
    void aRequestIsCopiedAsItWasSent() throws Exception {
        Instant before = Instant.now();
        try (Wire wire = gateway.connect()) {
            String got = wire.send("""
                    GET /plain//a%2Fb/..;x=1/%7e?q=1&q=%20&& HTTP/1.1
                    X-One: 1
                    hOST: shop.example:81
                    Cookie: a=1
                    x-one: 2
                    X-Empty:
                    X-One: 3
                    Connection: close

                    """).rest();
            assertThat(got).startsWith("HTTP/1.1 201 ").endsWith("\r\n\r\nplain");
            JsonNode line = tap.next("/plain");
            JsonNode request = line.get("request");
            assertThat(request.get("target").asString()).isEqualTo("/plain//a%2Fb/..;x=1/%7e?q=1&q=%20&&");
            assertThat(pairs(request.get("headers"))).containsExactly(
                    "X-One: 1", "hOST: shop.example:81", "Cookie: a=1", "x-one: 2", "X-Empty: ", "X-One: 3", "Connection: close");
            assertThat(request.get("authority").asString()).isEqualTo("shop.example:81");
            assertThat(request.get("method").asString()).isEqualTo("GET");
            assertThat(request.get("protocol").asString()).isEqualTo("HTTP/1.1");
            assertThat(request.get("scheme").asString()).isEqualTo("http");
            assertThat(line.get("client").asString()).isEqualTo("127.0.0.1:" + wire.port());
            assertThat(Instant.parse(line.get("time").asString())).isBetween(before, Instant.now());
            JsonNode response = line.get("response");
            assertThat(response.get("status").asInt()).isEqualTo(201);
            assertThat(response.get("body").asString()).isEqualTo("plain");
            assertThat(pairs(response.get("headers"))).contains("X-Two: a", "X-Two: b", "Set-Cookie: a=1", "Set-Cookie: b=2");
            assertThat(response.get("ttfb_ns").asLong()).isPositive().isLessThanOrEqualTo(response.get("duration_ns").asLong());
            assertThat(flags(line)).isEmpty();
        }
        assertThat(tap.tokens).contains("Bearer secret");
    }

    @Test
    void filtersOfTheGatewayDoNotChangeTheCopyOfARequest() throws Exception {
        try (Wire wire = gateway.connect()) {
            String got = wire.send("GET /rewritten/a HTTP/1.1\nHost: a\nX-One: mine\nConnection: close\n\n").rest();
            assertThat(got).contains("X-Saw: /new", "X-Added: late");
        }
        JsonNode line = tap.next("/rewritten");
        assertThat(line.get("request").get("target").asString()).isEqualTo("/rewritten/a");
        assertThat(pairs(line.get("request").get("headers"))).contains("X-One: mine");
        assertThat(pairs(line.get("response").get("headers"))).contains("X-Added: late");
    }

    @Test
    void bodiesAreCopiedUpToTheirMaximumAndPassedOnWhole() throws Exception {
        for (int size : new int[] {0, 1, BODY_MAX, BODY_MAX + 1, 3_000_000}) {
            String body = "x".repeat(size);
            try (Wire wire = gateway.connect()) {
                String got = wire.send("POST /echo HTTP/1.1\nHost: a\nContent-Length: " + size + "\nConnection: close\n\n")
                        .sendExactly(body).rest();
                assertThat(got.chars().filter(c -> c == 'x').count()).isEqualTo(size);
            }
            JsonNode line = tap.next("/echo");
            for (String side : new String[] {"request", "response"}) {
                assertThat(line.get(side).get("body_size").asInt()).isEqualTo(size);
                assertThat(line.get(side).get("body").asString()).isEqualTo("x".repeat(Math.min(size, BODY_MAX)));
            }
            assertThat(flags(line)).isEqualTo(size > BODY_MAX ? List.of("TRUNCATED_REQUEST", "TRUNCATED_RESPONSE") : List.of());
        }
    }

    @Test
    void bytesThatAreNoTextAreKept() throws Exception {
        try (Wire wire = gateway.connect()) {
            wire.send("POST /echo/bytes HTTP/1.1\nHost: a\nX-Latin: caf\u00e9\nX-Utf: caf\u00c3\u00a9\nTransfer-Encoding: chunked\nConnection: close\n\n"
                    + "3\n\u00ff\u0000a\n0\n\n").rest();
        }
        JsonNode line = tap.next("/echo/bytes");
        assertThat(Base64.getDecoder().decode(line.get("request").get("body_b64").asString())).containsExactly(0xff, 0, 'a');
        assertThat(Base64.getDecoder().decode(line.get("response").get("body_b64").asString())).containsExactly(0xff, 0, 'a');
        assertThat(pairs(line.get("request").get("headers"))).contains("X-Latin: caf\u00e9", "X-Utf: caf\u00e9");
        assertThat(flags(line)).containsExactly("NON_UTF8");
    }

    @Test
    void aStreamIsPassedOnWhileItIsUnderWay() throws Exception {
        stream = Sinks.many().unicast().onBackpressureBuffer();
        try (Wire wire = gateway.connect()) {
            wire.send("GET /stream HTTP/1.1\nHost: a\nConnection: close\n\n");
            stream.tryEmitNext("first\n");
            wire.until("first\n"); // though the origin has not ended
            stream.tryEmitNext("second\n");
            wire.until("second\n");
            stream.tryEmitComplete();
            wire.rest();
        }
        assertThat(tap.next("/stream").get("response").get("body").asString()).isEqualTo("first\nsecond\n");
    }

    @Test
    void anUploadIsPassedOnWhileItIsUnderWay() throws Exception {
        try (Wire wire = gateway.connect()) {
            wire.send("POST /plain/upload HTTP/1.1\nHost: a\nContent-Length: 10\nConnection: close\n\n").sendExactly("half");
            assertThat(wire.until("\r\n\r\n")).startsWith("HTTP/1.1 201 "); // the origin answers without the rest
        }
        JsonNode line = tap.next("/plain/upload");
        assertThat(line.get("request").get("body_size").asInt()).isEqualTo(10);
        assertThat(flags(line)).contains("TRUNCATED_REQUEST");
    }

    @Test
    void aClientThatLeavesBeforeTheAnswerIsFlagged() throws Exception {
        try (Wire wire = gateway.connect()) {
            wire.send("GET /never HTTP/1.1\nHost: a\n\n");
            Gateway.until(() -> gateway.tap().queueBytes() > 0);
        }
        JsonNode line = tap.next("/never");
        assertThat(flags(line)).containsExactly("NO_RESPONSE", "CLIENT_ABORTED");
        assertThat(line.get("response")).isNull();
    }

    @Test
    void aClientThatLeavesWithinTheAnswerIsFlagged() throws Exception {
        for (String target : List.of("/stream/left", "/stream/raced")) {
            stream = Sinks.many().unicast().onBackpressureBuffer();
            try (Wire wire = gateway.connect()) {
                wire.send("GET " + target + " HTTP/1.1\nHost: a\n\n");
                stream.tryEmitNext("first\n");
                wire.until("first\n");
            }
            JsonNode line = tap.next(target);
            assertThat(flags(line)).as(target).containsExactly("TRUNCATED_RESPONSE", "CLIENT_ABORTED");
            assertThat(line.get("response").get("body").asString()).isEqualTo("first\n");
        }
    }

    @Test
    void anOriginThatIsGoneIsALocalReply() throws Exception {
        try (Wire wire = gateway.connect()) {
            assertThat(wire.send("GET /gone HTTP/1.1\nHost: a\nConnection: close\n\n").rest()).startsWith("HTTP/1.1 500 ");
        }
        JsonNode line = tap.next("/gone");
        assertThat(flags(line)).containsExactly("TRUNCATED_RESPONSE", "LOCAL_REPLY");
        assertThat(line.get("response").get("status").asInt()).isEqualTo(500);
    }

    @Test
    void anOriginThatBreaksOffIsFlagged() throws Exception {
        try (Wire wire = gateway.connect()) {
            assertThat(wire.send("GET /broken HTTP/1.1\nHost: a\n\n").rest()).contains("half");
        }
        JsonNode line = tap.next("/broken");
        assertThat(flags(line)).containsExactly("TRUNCATED_RESPONSE");
        assertThat(line.get("response").get("body").asString()).isEqualTo("half");
    }

    @Test
    void whatTheGatewayAnswersItselfIsALocalReply() throws Exception {
        try (Wire wire = gateway.connect()) {
            String got = wire.send("POST /refused HTTP/1.1\nHost: a\nContent-Length: 4\n\n").sendExactly("body").until("no");
            assertThat(got).startsWith("HTTP/1.1 429 ").endsWith("no");
        }
        JsonNode line = tap.next("/refused");
        assertThat(flags(line)).containsExactly("TRUNCATED_REQUEST", "LOCAL_REPLY"); // nobody read the body
        assertThat(pairs(line.get("response").get("headers"))).contains("X-Why: enough");
        assertThat(line.get("response").get("body").asString()).isEqualTo("no");

        try (Wire wire = gateway.connect()) {
            assertThat(wire.send("GET /local/418 HTTP/1.1\nHost: a\nConnection: close\n\n").rest()).startsWith("HTTP/1.1 418 ");
        }
        assertThat(flags(tap.next("/local/418"))).containsExactly("LOCAL_REPLY");
    }

    @Test
    void aHeadIsAnsweredWithoutABody() throws Exception {
        try (Wire wire = gateway.connect()) {
            assertThat(wire.send("HEAD /plain/head HTTP/1.1\nHost: a\nConnection: close\n\n").rest()).startsWith("HTTP/1.1 201 ");
        }
        JsonNode line = tap.next("/plain/head");
        assertThat(line.get("response").get("body_size").asInt()).isZero();
        assertThat(flags(line)).isEmpty();
    }

    @Test
    void aBodyThatAPredicateReadIsCopied() throws Exception {
        try (Wire wire = gateway.connect()) {
            String got = wire.send("POST /peeked HTTP/1.1\nHost: a\nContent-Type: text/plain\nContent-Length: 4\nConnection: close\n\n")
                    .sendExactly("body").rest();
            assertThat(got).contains("body");
        }
        JsonNode line = tap.next("/peeked");
        assertThat(line.get("request").get("body").asString()).isEqualTo("body");
        assertThat(flags(line)).isEmpty();
    }

    @Test
    void aRetriedRequestIsOneCopy() throws Exception {
        try (Wire wire = gateway.connect()) {
            assertThat(wire.send("GET /retried HTTP/1.1\nHost: a\nConnection: close\n\n").rest()).startsWith("HTTP/1.1 200 ");
        }
        assertThat(tap.next("/retried").get("response").get("status").asInt()).isEqualTo(200);
        assertThat(tries.get()).isEqualTo(2);
    }

    @Test
    void anUpgradedConnectionIsCopiedWhenItBegins() throws Exception {
        try (Wire wire = gateway.connect()) {
            wire.send("""
                    GET /chat HTTP/1.1
                    Host: a
                    Connection: Upgrade
                    Upgrade: websocket
                    Sec-WebSocket-Version: 13
                    Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==

                    """);
            assertThat(wire.until("\r\n\r\n")).startsWith("HTTP/1.1 101 ");
            wire.sendExactly("\u0081\u0082\0\0\0\0hi"); // a text, masked with zeroes
            wire.until("hi");
            JsonNode line = tap.next("/chat"); // though the connection is open
            assertThat(flags(line)).containsExactly("UPGRADED");
            assertThat(line.get("response")).isNull();
        }
    }

    @Test
    void http2IsCopiedWithoutWhatNettyAdds() throws Exception {
        URI uri = URI.create("http://127.0.0.1:" + gateway.port() + "/echo/h2?a=%2F");
        HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_2).build();
        client.send(HttpRequest.newBuilder(uri.resolve("/plain/upgrade")).build(), HttpResponse.BodyHandlers.discarding());
        assertThat(flags(tap.next("/plain/upgrade"))).isEmpty();
        HttpRequest request = HttpRequest.newBuilder(uri).header("X-One", "1").header("X-One", "2")
                .POST(HttpRequest.BodyPublishers.ofString("body")).build();
        HttpResponse<String> got = client.send(request, HttpResponse.BodyHandlers.ofString());
        assertThat(got.version()).isEqualTo(HttpClient.Version.HTTP_2);
        assertThat(got.body()).isEqualTo("body");
        JsonNode line = tap.next("/echo/h2?a=%2F");
        assertThat(line.get("request").get("protocol").asString()).isEqualTo("HTTP/2.0");
        assertThat(line.get("request").get("authority").asString()).isEqualTo("127.0.0.1:" + gateway.port());
        assertThat(line.get("request").get("body").asString()).isEqualTo("body");
        assertThat(pairs(line.get("request").get("headers"))).contains("x-one: 1", "x-one: 2").noneMatch(f -> f.startsWith("x-http2"));
        assertThat(flags(line)).isEmpty();
    }

    @Test
    void whatAReplayerSentIsNotCopied() throws Exception {
        long marked = gateway.tap().stats().marked();
        try (Wire wire = gateway.connect()) {
            assertThat(wire.send("GET /plain/marked HTTP/1.1\nHost: a\nreprise-replay: run;loop=0;clone=0\nConnection: close\n\n").rest())
                    .startsWith("HTTP/1.1 201 ");
        }
        assertThat(gateway.tap().stats().marked()).isEqualTo(marked + 1);
    }

    @Test
    void nothingStaysBooked() throws Exception {
        Gateway.until(() -> gateway.tap().queueBytes() == 0);
        TapStats s = gateway.tap().stats();
        assertThat(s.seen()).isEqualTo(s.sampledOut() + s.marked() + s.unreachable() + s.full() + s.broken() + s.queued());
        assertThat(s.broken()).isZero();
    }
}
