package io.reprise.gateway;

import java.nio.ByteBuffer;
import java.util.Arrays;
import org.springframework.core.io.buffer.DataBuffer;

/** The beginning of a body, and how long all of it is. It holds bytes of its own, never a buffer of the gateway's. */
final class Kept {
    private static final byte[] NONE = {};

    private final int max;
    private byte[] bytes = NONE;
    private int length;
    private long size;

    Kept(int max) {
        this.max = max;
    }

    /** Copies what is still wanted of a buffer and leaves its positions alone. False: the budget has no room. */
    boolean add(DataBuffer from, Budget budget) {
        int n = from.readableByteCount();
        int take = Math.min(n, max - length);
        if (take > 0) {
            if (length + take > bytes.length) {
                int room = Math.min(Math.max(length + take, Math.max(512, 2 * bytes.length)), max);
                if (!budget.tryBook(room - bytes.length)) {
                    return false;
                }
                bytes = Arrays.copyOf(bytes, room);
            }
            from.toByteBuffer(from.readPosition(), ByteBuffer.wrap(bytes), length, take);
            length += take;
        }
        size += n;
        return true;
    }

    /** Forgets what came; the room stays booked. */
    void reset() {
        length = 0;
        size = 0;
    }

    byte[] bytes() {
        return bytes;
    }

    int length() {
        return length;
    }

    long size() {
        return size;
    }

    /** Bytes booked. */
    int booked() {
        return bytes.length;
    }
}
