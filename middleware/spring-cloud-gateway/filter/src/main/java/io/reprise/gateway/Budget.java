package io.reprise.gateway;

import java.util.concurrent.atomic.AtomicLong;

/** The bytes that copies may hold. */
final class Budget {
    private final long max;
    private final AtomicLong used = new AtomicLong();

    Budget(long max) {
        this.max = max;
    }

    boolean tryBook(long n) {
        if (used.addAndGet(n) > max) {
            used.addAndGet(-n);
            return false;
        }
        return true;
    }

    void release(long n) {
        used.addAndGet(-n);
    }

    long used() {
        return used.get();
    }

    /** Reports that there is so little left that a copy is not worth beginning. */
    boolean isNearlyUsed() {
        return used.get() > max / 8 * 7;
    }
}
