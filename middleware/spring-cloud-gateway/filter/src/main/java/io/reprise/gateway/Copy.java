package io.reprise.gateway;

import java.net.URI;
import java.time.Duration;
import java.time.Instant;
import org.springframework.cloud.gateway.support.ServerWebExchangeUtils;
import org.springframework.core.io.buffer.DataBuffer;
import org.springframework.http.HttpStatusCode;
import org.springframework.http.server.reactive.ServerHttpResponse;
import org.springframework.web.server.ServerWebExchange;
import reactor.core.publisher.Mono;
import reactor.core.publisher.SignalType;

/**
 * The copy of an exchange on its way through the gateway. It is made on the gateway's threads, where nothing that goes wrong in
 * here may be seen, and written as JSON by the sender.
 */
final class Copy {
    private final Tap tap;
    private final boolean isHead;
    private final long start; // System.nanoTime()
    private final Line head = new Line(1024); // of the request
    private final long told; // length of the request's body by its head; -1: unknown
    private final Kept request;
    private final Kept response;

    // Several threads may have a hand in an exchange: what follows is guarded by this.
    private boolean over;
    private Received received; // null: over. What waits in the queue holds nothing of the gateway's
    private ServerWebExchange exchange; // as it was before the filter; null: over
    private boolean readAll;
    private boolean later; // the filters answered nothing, somebody outside of them will
    private boolean failed;
    private boolean whole; // all of the answer's body came
    private boolean broken; // the answer's body broke off
    private boolean left; // nobody wants the answer's body any longer, before its end
    private Line answer; // head of the response; null: none was sent
    private long ttfb;
    private long took;
    private long booked;
    private boolean aborted;
    private boolean upgraded;
    private boolean local;

    Copy(Tap tap, Received received, ServerWebExchange exchange, int bodyMax) {
        this.tap = tap;
        this.received = received;
        this.exchange = exchange;
        Instant time = received.time();
        start = System.nanoTime() - Math.max(Duration.between(time, Instant.now()).toNanos(), 0);
        isHead = received.method().equals("HEAD");
        told = received.bodyLength();
        request = new Kept(bodyMax);
        response = new Kept(bodyMax);
        writeHead(time);
    }

    private void writeHead(Instant time) {
        String host = received.header("Host");
        head.raw("{\"time\":").text(time.toString()).raw(",\"client\":").text(received.client());
        head.raw(",\"request\":{\"method\":").text(received.method());
        head.raw(",\"scheme\":").text(received.scheme());
        head.raw(",\"authority\":").text(host == null ? "" : host);
        head.raw(",\"target\":").text(received.target());
        head.raw(",\"protocol\":").text(received.protocol());
        head.raw(",\"headers\":[");
        received.headers(head::pair);
        head.noComma().raw("]");
    }

    /** Books what the head takes. False: there is no room. */
    synchronized boolean begin() {
        return book(head.room());
    }

    private boolean book(long n) {
        boolean ok = tap.budget().tryBook(n);
        booked += ok ? n : 0;
        return ok;
    }

    /** The request's body is being read, perhaps not for the first time. */
    synchronized void reading() {
        if (!over) {
            request.reset();
            readAll = false;
        }
    }

    void read(DataBuffer buffer) {
        keep(request, buffer);
    }

    synchronized void readAll() {
        readAll = true;
    }

    void wrote(DataBuffer buffer) {
        if (!isHead) {
            keep(response, buffer);
        }
    }

    private synchronized void keep(Kept body, DataBuffer buffer) {
        if (over) {
            return;
        }
        try {
            int before = body.booked();
            boolean kept = body.add(buffer, tap.budget());
            booked += body.booked() - before;
            if (!kept) {
                giveUp(null);
            }
        } catch (Throwable e) {
            giveUp(e);
        }
    }

    /** Writes down the head of an answer that is about to be sent. */
    synchronized void answered(ServerHttpResponse response) {
        if (over || answer != null) {
            return;
        }
        try {
            URI routed = exchange.getAttribute(ServerWebExchangeUtils.GATEWAY_REQUEST_URL_ATTR);
            if (!failed && routed != null && ("ws".equals(routed.getScheme()) || "wss".equals(routed.getScheme()))) {
                upgraded = true; // it may go on for hours: the copy ends here
                finish();
                return;
            }
            ttfb = System.nanoTime() - start;
            local = exchange.getAttribute(ServerWebExchangeUtils.CLIENT_RESPONSE_ATTR) == null;
            HttpStatusCode status = response.getStatusCode();
            Line line = new Line(512);
            line.raw(",\"response\":{\"status\":").number(status == null ? 200 : status.value()).raw(",\"headers\":[");
            response.getHeaders().forEach((name, values) -> values.forEach(value -> line.pair(name, value)));
            response.getCookies().values().forEach(all -> all.forEach(cookie -> line.pair("Set-Cookie", cookie.toString())));
            line.noComma().raw("]");
            if (!book(line.room())) {
                giveUp(null);
                return;
            }
            answer = line;
        } catch (Throwable e) {
            giveUp(e);
        }
    }

    /** The answer's body has come to its end. */
    synchronized void wroteAll() {
        whole |= !over && !left;
    }

    /** The answer's body broke off, where it comes from. */
    synchronized void wroteHalf() {
        broken |= !over && !left;
    }

    /**
     * The answer's body is about to be cancelled. What it says afterwards counts no more: cancelling closes the connection to the
     * origin, on another thread, and that the connection ends is heard here as the body's end, before the filters have ended.
     */
    synchronized void left() {
        left |= !over && !whole && !broken;
    }

    /** The filters are about to fail. */
    synchronized void failed() {
        if (!over) {
            failed = true;
            whole = false;
            passedOn();
        }
    }

    /**
     * The filters have failed or come to their end, and others are about to learn it. When nothing was answered yet, these will: an
     * error's handler, whose body is not seen, or who ends an answer without a body.
     */
    synchronized void passedOn() {
        if (over || answer != null) {
            return;
        }
        try {
            aborted = failed && !received.isConnected();
            later = !aborted;
            if (later) {
                ServerHttpResponse by = exchange.getResponse();
                by.beforeCommit(() -> Mono.fromRunnable(() -> answeredLater(by)));
            }
        } catch (Throwable e) {
            giveUp(e);
        }
    }

    private synchronized void answeredLater(ServerHttpResponse by) {
        answered(by);
        whole = !failed;
        finish();
    }

    /** The filters have ended: they completed, failed or were cancelled. */
    synchronized void ended(SignalType how) {
        if (over || later && how != SignalType.CANCEL) {
            return;
        }
        try {
            // The signal tells little: a connection that is closed behind a whole answer cancels, an answer that is written to a client
            // who has left completes, and one that breaks off closes the connection first.
            aborted |= !whole && !broken && (how == SignalType.CANCEL || !received.isConnected());
            finish();
        } catch (Throwable e) {
            giveUp(e);
        }
    }

    private void finish() {
        if (!over) {
            close();
            took = System.nanoTime() - start;
            tap.put(this);
        }
    }

    private void giveUp(Throwable why) {
        if (!over) {
            close();
            tap.givenUp(this, why);
        }
    }

    private void close() {
        over = true;
        received = null;
        exchange = null;
    }

    /** Gives back what it has booked. */
    void release() {
        tap.budget().release(handOver());
    }

    /** Returns what it has booked, which the caller gives back. */
    synchronized long handOver() {
        long all = booked;
        booked = 0;
        return all;
    }

    /** Writes the whole line. The copy is over. */
    synchronized void writeTo(Line out) {
        StringBuilder flags = new StringBuilder();
        long size = Math.max(request.size(), told);
        boolean read = told >= 0 ? request.size() == told : readAll;
        if (!read || size > request.length()) {
            flag(flags, "TRUNCATED_REQUEST");
        }
        out.raw(head);
        out.body(request.bytes(), request.length(), size);
        out.raw(",\"trailers\":[]}");
        if (upgraded) {
            flag(flags, "UPGRADED");
        } else if (answer == null) {
            flag(flags, "NO_RESPONSE");
        } else {
            if (!whole || response.size() > response.length()) {
                flag(flags, "TRUNCATED_RESPONSE");
            }
            if (local) {
                flag(flags, "LOCAL_REPLY");
            }
            out.raw(answer);
            out.body(response.bytes(), response.length(), response.size());
            out.raw(",\"trailers\":[],\"ttfb_ns\":").number(ttfb).raw(",\"duration_ns\":").number(took).raw("}");
        }
        if (aborted) {
            flag(flags, "CLIENT_ABORTED");
        }
        if (head.latin() || answer != null && answer.latin()) {
            flag(flags, "NON_UTF8");
        }
        out.raw(",\"flags\":[").raw(flags.toString()).raw("]}\n");
    }

    private static void flag(StringBuilder flags, String name) {
        flags.append(flags.isEmpty() ? "\"" : ",\"").append(name).append('"');
    }
}
