package io.reprise.gateway;

/**
 * Totals since the start. Seen = sampledOut + marked + unreachable + full + broken + queued + those under way, and in the end
 * queued = accepted + rejected + shed + failed.
 *
 * @param seen requests that came
 * @param sampledOut by the {@link TapSampler}
 * @param marked that a replayer sent: never copied
 * @param unreachable while the tap could not be reached
 * @param full for which there was no room
 * @param broken that could not be copied: a fault of the filter's or the sampler's, which the log has
 * @param queued for the tap
 * @param accepted by the tap
 * @param rejected by the tap: they could not be read
 * @param shed by the tap: it had no room
 * @param failed lost on the way
 */
public record TapStats(
        long seen, long sampledOut, long marked, long unreachable, long full, long broken, long queued,
        long accepted, long rejected, long shed, long failed) {}
