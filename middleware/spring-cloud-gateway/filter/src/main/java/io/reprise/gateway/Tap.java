package io.reprise.gateway;

import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.LongAdder;
import org.apache.commons.logging.Log;
import org.apache.commons.logging.LogFactory;
import org.springframework.beans.factory.DisposableBean;
import org.springframework.web.server.ServerWebExchange;

/** What is copied for one tap: it counts every request, holds the copies, and has a thread that sends them. */
public final class Tap implements DisposableBean {
    static final Log LOG = LogFactory.getLog(Tap.class);

    /** Is what a replayer's requests carry. */
    private static final String MARK = "Reprise-Replay";

    private final int bodyMax;
    private final TapSampler sampler;
    private final Budget budget;
    private final LinkedBlockingQueue<Copy> queue = new LinkedBlockingQueue<>(); // bounded by budget
    private final Sender sender;
    private final AtomicBoolean saidBroken = new AtomicBoolean();
    private volatile boolean open = true; // the tap answers, and the gateway does not end

    final LongAdder seen = new LongAdder();
    final LongAdder sampledOut = new LongAdder();
    final LongAdder marked = new LongAdder();
    final LongAdder unreachable = new LongAdder();
    final LongAdder full = new LongAdder();
    final LongAdder broken = new LongAdder();
    final LongAdder queued = new LongAdder();
    final LongAdder accepted = new LongAdder();
    final LongAdder rejected = new LongAdder();
    final LongAdder shed = new LongAdder();
    final LongAdder failed = new LongAdder();

    /** Starts the sender; {@link #destroy} ends it. The tap need not be there yet. */
    public Tap(TapProperties properties, TapSampler sampler) {
        this.bodyMax = (int) properties.bodyMax().toBytes();
        this.sampler = sampler;
        this.budget = new Budget(properties.queueBytes().toBytes());
        this.sender = new Sender(this, properties);
        sender.start();
        LOG.info("copies go to the tap at " + properties.url() + ", " + properties.sample() + " by " + properties.sampleBy());
    }

    Budget budget() {
        return budget;
    }

    LinkedBlockingQueue<Copy> queue() {
        return queue;
    }

    /** Begins a copy; null: it is not wanted, or cannot be. */
    Copy begin(ServerWebExchange exchange) {
        seen.increment();
        Copy copy = null;
        try {
            Received received = new Received(exchange.getRequest());
            if (received.header(MARK) != null) {
                marked.increment();
            } else if (!open) {
                unreachable.increment();
            } else if (!sampler.wants(exchange)) {
                sampledOut.increment();
            } else if (budget.isNearlyUsed()) {
                full.increment();
            } else {
                copy = new Copy(this, received, exchange, bodyMax);
                if (!copy.begin()) {
                    full.increment();
                    return null;
                }
            }
            return copy;
        } catch (Throwable e) {
            broken.increment();
            sayBroken(e);
            return null;
        }
    }

    /** Queues a copy that is over. */
    void put(Copy copy) {
        queued.increment();
        queue.add(copy);
        if (sender.hasEnded()) {
            sender.lose(0);
        }
    }

    /** Drops a copy that is over. Why is null when there was no room. */
    void givenUp(Copy copy, Throwable why) {
        copy.release();
        if (why == null) {
            full.increment();
        } else {
            broken.increment();
            sayBroken(why);
        }
    }

    /** Says the first fault only: one that every request brings must not fill the disk. */
    void sayBroken(Throwable e) {
        if (saidBroken.compareAndSet(false, true)) {
            LOG.error("a request could not be copied for the tap; it was served as always. Others like it are only counted", e);
        }
    }

    void open(boolean is) {
        open = is;
    }

    boolean isOpen() {
        return open;
    }

    /** Bytes of what is being copied, waits, and is on its way. */
    long queueBytes() {
        return budget.used();
    }

    /** The totals so far. */
    public TapStats stats() {
        return new TapStats(
                seen.sum(), sampledOut.sum(), marked.sum(), unreachable.sum(), full.sum(), broken.sum(), queued.sum(),
                accepted.sum(), rejected.sum(), shed.sum(), failed.sum());
    }

    /** Takes no more copies, sends what is queued as long as {@code reprise.tap.timeout} lasts, and says what became of all. */
    @Override
    public void destroy() {
        sender.end();
        LOG.info("copies ended: " + stats());
    }
}
