package io.reprise.gateway;

import io.micrometer.core.instrument.FunctionCounter;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.binder.MeterBinder;
import java.util.concurrent.atomic.LongAdder;

/**
 * The totals of {@link TapStats} for Micrometer: {@code reprise.filter.seen}, {@code reprise.filter.exchanges} (result,
 * reason), {@code reprise.filter.sent} (result) and {@code reprise.filter.queue.bytes}.
 */
final class TapMetrics implements MeterBinder {
    private final Tap tap;

    TapMetrics(Tap tap) {
        this.tap = tap;
    }

    @Override
    public void bindTo(MeterRegistry registry) {
        FunctionCounter.builder("reprise.filter.seen", tap.seen, LongAdder::sum)
                .description("Requests that came").register(registry);
        became(registry, tap.queued, "queued", "");
        became(registry, tap.sampledOut, "sampled_out", "");
        became(registry, tap.marked, "dropped", "marked");
        became(registry, tap.unreachable, "dropped", "unreachable");
        became(registry, tap.full, "dropped", "full");
        became(registry, tap.broken, "dropped", "broken");
        sent(registry, tap.accepted, "accepted");
        sent(registry, tap.rejected, "rejected");
        sent(registry, tap.shed, "shed");
        sent(registry, tap.failed, "failed");
        Gauge.builder("reprise.filter.queue.bytes", tap, Tap::queueBytes)
                .description("Bytes being copied, waiting, and on their way").register(registry);
    }

    private static void became(MeterRegistry registry, LongAdder of, String result, String reason) {
        FunctionCounter.builder("reprise.filter.exchanges", of, LongAdder::sum)
                .description("What became of the requests").tags("result", result, "reason", reason).register(registry);
    }

    private static void sent(MeterRegistry registry, LongAdder of, String result) {
        FunctionCounter.builder("reprise.filter.sent", of, LongAdder::sum)
                .description("What became of the queued copies").tags("result", result).register(registry);
    }
}
