package io.reprise.gateway;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Posts copies to the tap, in batches, from a daemon thread of its own. */
final class Sender {
    /** Bounds one request to the tap in bytes, but for a line that is longer. */
    private static final int MAX_BATCH = 1 << 20;

    /** Bytes that are read of an answer of the tap. */
    private static final int MAX_ANSWER = 64 << 10;

    // The times between two questions whether the tap is back.
    private static final long MIN_BACKOFF_MS = 1_000;
    private static final long MAX_BACKOFF_MS = 15_000;

    private static final Pattern COUNT = Pattern.compile("\"(accepted|rejected|shed|marked)\":(\\d{1,9})");
    private static final Pattern ERROR = Pattern.compile("\"error\":\"((?:[^\"\\\\]|\\\\.){0,500})");

    private final Tap tap;
    private final TapProperties properties;
    private final HttpClient client;
    private final URI exchanges;
    private final URI health;
    private final Thread thread = new Thread(this::run, "reprise-tap");
    private final CountDownLatch ending = new CountDownLatch(1);
    private volatile boolean ended;
    private boolean told; // of an answer that the tap should not have given. Of thread

    Sender(Tap tap, TapProperties properties) {
        this.tap = tap;
        this.properties = properties;
        String base = properties.url();
        base = base.endsWith("/") ? base.substring(0, base.length() - 1) : base;
        exchanges = URI.create(base + "/v1/exchanges");
        health = URI.create(base + "/healthz");
        client = HttpClient.newBuilder()
                .version(HttpClient.Version.HTTP_1_1) // else it asks for an upgrade first
                .connectTimeout(properties.connectTimeout())
                .proxy(HttpClient.Builder.NO_PROXY)
                .build();
        thread.setDaemon(true);
    }

    void start() {
        thread.start();
    }

    /** Gives what is queued some time, and ends the thread. */
    void end() {
        tap.open(false);
        ending.countDown();
        try {
            thread.join(properties.timeout().toMillis());
            thread.interrupt();
            thread.join();
        } catch (InterruptedException e) {
            thread.interrupt();
            Thread.currentThread().interrupt();
        }
    }

    /** Reports that nothing is sent any more. */
    boolean hasEnded() {
        return ended;
    }

    private void run() {
        Line batch = new Line(16 << 10);
        try {
            while (!ending.await(0, TimeUnit.MILLISECONDS)) {
                Copy first = tap.queue().poll(200, TimeUnit.MILLISECONDS); // so that the end is seen
                if (first == null) {
                    continue;
                }
                ending.await(properties.linger().toNanos(), TimeUnit.NANOSECONDS); // for company
                if (!sendAll(first, batch) && !waitForTap()) {
                    break;
                }
                if (batch.room() > 2 * MAX_BATCH) {
                    batch = new Line(16 << 10);
                }
            }
            Copy first;
            while ((first = tap.queue().poll()) != null) { // also what ended after the tap was closed
                sendAll(first, batch);
            }
        } catch (InterruptedException e) {
            // counted below
        } catch (Throwable e) {
            tap.sayBroken(e);
        } finally {
            tap.open(false);
            ended = true;
            lose(0);
        }
    }

    /** Sends what is queued. After a batch that does not get through the others are lost too: the tap is gone. */
    private boolean sendAll(Copy next, Line batch) throws InterruptedException {
        while (next != null) {
            batch.cut(0);
            int n = 0;
            long booked = 0;
            while (next != null && batch.length() < MAX_BATCH) {
                int before = batch.length();
                try {
                    next.writeTo(batch);
                    n++;
                } catch (Throwable e) {
                    batch.cut(before);
                    tap.failed.increment();
                    tap.sayBroken(e);
                }
                booked += next.handOver();
                next = tap.queue().poll();
            }
            boolean sent = false;
            try {
                sent = n == 0 || sendOne(batch, n);
            } finally {
                tap.budget().release(booked);
                if (!sent) {
                    if (next != null) {
                        next.release();
                        n++;
                    }
                    lose(n);
                }
            }
            if (!sent) {
                return false;
            }
        }
        return true;
    }

    /** Counts n copies and all that are queued as lost. */
    void lose(int n) {
        Copy copy;
        while ((copy = tap.queue().poll()) != null) {
            copy.release();
            n++;
        }
        tap.failed.add(n);
    }

    private boolean sendOne(Line batch, int n) throws InterruptedException {
        Answer answer;
        try {
            HttpRequest.Builder request = HttpRequest.newBuilder(exchanges)
                    .header("Content-Type", "application/x-ndjson")
                    .POST(BodyPublishers.ofByteArray(batch.bytes(), 0, batch.length()));
            if (!properties.token().isEmpty()) {
                request.header("Authorization", "Bearer " + properties.token());
            }
            answer = send(request);
        } catch (IOException | RuntimeException e) {
            Tap.LOG.warn("the tap at " + properties.url() + " cannot be reached, nothing is copied until it is back: " + e);
            return false;
        }
        long accepted = 0;
        long rejected = 0;
        long shed = 0;
        boolean understood = false;
        Matcher m = COUNT.matcher(answer.text);
        while (m.find()) {
            long count = Long.parseLong(m.group(2));
            understood = true;
            switch (m.group(1)) {
                case "accepted" -> accepted += count;
                case "shed" -> shed += count;
                default -> rejected += count;
            }
        }
        if (!understood || answer.status != 202 && answer.status != 400) {
            Tap.LOG.warn("the tap at " + properties.url() + " answered " + answer.status + " " + answer.error()
                    + ", nothing is copied for a while");
            return false;
        }
        tap.accepted.add(accepted);
        tap.rejected.add(rejected);
        tap.shed.add(shed);
        tap.failed.add(Math.max(n - accepted - rejected - shed, 0));
        if (rejected > 0 && !told) {
            told = true;
            Tap.LOG.warn("the tap rejected " + rejected + " of " + n + " copies, others are only counted: " + answer.error());
        }
        return true;
    }

    private record Answer(int status, String text) {
        String error() {
            Matcher m = ERROR.matcher(text);
            return m.find() ? m.group(1) : "";
        }
    }

    /** Bounds the whole of it: a timeout of HttpRequest ends with the answer's head. */
    private Answer send(HttpRequest.Builder request) throws IOException, InterruptedException {
        ByteArrayOutputStream text = new ByteArrayOutputStream();
        CompletableFuture<HttpResponse<Void>> under = client.sendAsync(request.build(), BodyHandlers.ofByteArrayConsumer(
                part -> part.ifPresent(b -> text.write(b, 0, Math.min(b.length, MAX_ANSWER - text.size())))));
        try {
            int status = under.get(properties.timeout().toNanos(), TimeUnit.NANOSECONDS).statusCode();
            return new Answer(status, text.toString(StandardCharsets.UTF_8));
        } catch (TimeoutException e) {
            throw new IOException("no answer within " + properties.timeout().toMillis() + " ms");
        } catch (ExecutionException e) {
            throw new IOException(e.getCause());
        } finally {
            under.cancel(true);
        }
    }

    /** Takes no copies until the tap answers again. False: the gateway ends. */
    private boolean waitForTap() throws InterruptedException {
        tap.open(false);
        for (long backoff = MIN_BACKOFF_MS; ; backoff = Math.min(2 * backoff, MAX_BACKOFF_MS)) {
            if (ending.await(backoff, TimeUnit.MILLISECONDS)) {
                return false;
            }
            if (isThere()) {
                break;
            }
        }
        Tap.LOG.info("the tap at " + properties.url() + " is back");
        tap.open(true);
        if (ending.getCount() == 0) {
            tap.open(false); // the end was called just now, and its order stands
        }
        return true;
    }

    private boolean isThere() throws InterruptedException {
        try {
            return send(HttpRequest.newBuilder(health)).status == 200;
        } catch (IOException | RuntimeException e) {
            return false;
        }
    }
}
