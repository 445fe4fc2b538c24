package io.reprise.gateway;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Keeps the lines that are posted to it. */
final class FakeTap implements AutoCloseable {
    private static final JsonMapper JSON = new JsonMapper();

    private final ExecutorService threads = Executors.newCachedThreadPool();
    private final HttpServer server;
    final BlockingQueue<JsonNode> lines = new LinkedBlockingQueue<>();
    final BlockingQueue<String> tokens = new LinkedBlockingQueue<>();
    volatile int status = 202;
    volatile CountDownLatch waiting; // not null: answers wait for it

    FakeTap() throws IOException {
        server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
        server.createContext("/v1/exchanges", this::take);
        server.createContext("/healthz", x -> answer(x, status == 202 ? 200 : 503, "ok"));
        server.setExecutor(threads);
        server.start();
    }

    private void take(HttpExchange x) throws IOException {
        String body = new String(x.getRequestBody().readAllBytes(), StandardCharsets.UTF_8);
        String token = x.getRequestHeaders().getFirst("Authorization");
        tokens.add(token == null ? "" : token);
        CountDownLatch until = waiting;
        if (until != null) {
            try {
                until.await();
            } catch (InterruptedException e) {
                return;
            }
        }
        List<String> all = body.lines().toList();
        if (status == 202) {
            all.forEach(line -> lines.add(JSON.readTree(line)));
        }
        answer(x, status, "{\"accepted\":" + all.size() + ",\"rejected\":0,\"shed\":0,\"marked\":0}\n");
    }

    private static void answer(HttpExchange x, int status, String text) throws IOException {
        byte[] b = text.getBytes(StandardCharsets.UTF_8);
        x.sendResponseHeaders(status, b.length);
        x.getResponseBody().write(b);
        x.close();
    }

    String url() {
        return "http://127.0.0.1:" + server.getAddress().getPort();
    }

    /** The next line about a target that begins like that; others are read over. */
    JsonNode next(String target) throws InterruptedException {
        while (true) {
            JsonNode line = lines.poll(60, TimeUnit.SECONDS);
            if (line == null) {
                throw new AssertionError("the tap got nothing about " + target + " within 60 s");
            }
            if (line.get("request").get("target").asString().startsWith(target)) {
                return line;
            }
        }
    }

    @Override
    public void close() {
        server.stop(0);
        threads.shutdownNow();
    }
}
