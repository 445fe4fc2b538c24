package io.reprise.gateway;

import static org.assertj.core.api.Assertions.assertThat;

import java.net.InetAddress;
import java.net.ServerSocket;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.reactivestreams.Publisher;
import reactor.core.publisher.Mono;
import reactor.netty.http.server.HttpServerRequest;
import reactor.netty.http.server.HttpServerResponse;

/** Whatever the tap does, the gateway answers. */
@Timeout(300)
class OutageTest {
    private static Publisher<Void> ok(HttpServerRequest request, HttpServerResponse response) {
        return request.receive().then(response.sendString(Mono.just("ok")).then());
    }

    private static void get(Gateway gateway, int times) throws Exception {
        try (Wire wire = gateway.connect()) {
            for (int i = 0; i < times; i++) {
                wire.send("GET /" + i + " HTTP/1.1\nHost: a\n\n").until("\r\n\r\nok");
            }
        }
    }

    @Test
    void withoutATapNothingIsCopiedUntilItIsBack() throws Exception {
        try (FakeTap tap = new FakeTap(); Gateway gateway = new Gateway(OutageTest::ok, tap.url())) {
            tap.status = 500;
            get(gateway, 1);
            Gateway.until(() -> !gateway.tap().isOpen());
            get(gateway, 3);
            assertThat(gateway.tap().stats().unreachable()).isEqualTo(3);
            tap.status = 202;
            Gateway.until(() -> gateway.tap().isOpen());
            get(gateway, 1);
            tap.next("/");
            Gateway.until(() -> gateway.tap().stats().accepted() == 1);
            assertThat(gateway.tap().stats()).isEqualTo(new TapStats(5, 0, 0, 3, 0, 0, 2, 1, 0, 0, 1));
            assertThat(gateway.tap().queueBytes()).isZero();
        }
    }

    @Test
    void aTapThatHangsCostsTheCopiesOnly() throws Exception {
        try (FakeTap tap = new FakeTap();
                Gateway gateway = new Gateway(OutageTest::ok, tap.url(), "--reprise.tap.queue-bytes=20KB", "--reprise.tap.timeout=30s")) {
            tap.waiting = new CountDownLatch(1);
            get(gateway, 200);
            TapStats hung = gateway.tap().stats();
            assertThat(hung.full()).isPositive();
            assertThat(hung.accepted()).isZero();
            assertThat(gateway.tap().queueBytes()).isLessThanOrEqualTo(20 << 10);
            tap.waiting.countDown();
            tap.waiting = null;
            Gateway.until(() -> gateway.tap().stats().accepted() == gateway.tap().stats().queued());
            TapStats s = gateway.tap().stats();
            assertThat(s.seen()).isEqualTo(s.full() + s.queued()).isEqualTo(200);
            assertThat(tap.lines).hasSize((int) s.accepted());
        }
    }

    @Test
    void aTapThatNeverReadsIsGivenUp() throws Exception {
        Tap ended;
        try (ServerSocket silent = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
                Gateway gateway = new Gateway(OutageTest::ok, "http://127.0.0.1:" + silent.getLocalPort(), "--reprise.tap.timeout=200ms")) {
            get(gateway, 5);
            Gateway.until(() -> !gateway.tap().isOpen());
            ended = gateway.tap();
        }
        TapStats s = ended.stats();
        assertThat(s.failed()).isEqualTo(s.queued()).isPositive();
        assertThat(s.seen()).isEqualTo(s.queued() + s.unreachable()).isEqualTo(5);
        assertThat(ended.queueBytes()).isZero();
    }

    @Test
    void theEndSendsWhatIsLeftAndWaitsNoLongerThanItMay() throws Exception {
        try (FakeTap tap = new FakeTap()) {
            Tap ended;
            try (Gateway gateway = new Gateway(OutageTest::ok, tap.url(), "--reprise.tap.linger=1h")) {
                get(gateway, 10);
                ended = gateway.tap();
            }
            assertThat(ended.stats().accepted()).isEqualTo(10);
            tap.waiting = new CountDownLatch(1);
            try (Gateway gateway = new Gateway(OutageTest::ok, tap.url(), "--reprise.tap.timeout=300ms", "--reprise.tap.linger=1h")) {
                get(gateway, 10);
                ended = gateway.tap();
            }
            assertThat(ended.stats().failed()).isEqualTo(10);
            assertThat(ended.queueBytes()).isZero();
        }
    }

    @Test
    void withoutRoomACopyIsGivenUpAndNotTheAnswer() throws Exception {
        try (FakeTap tap = new FakeTap(); Gateway gateway = new Gateway(OutageTest::ok, tap.url(), "--reprise.tap.queue-bytes=4KB");
                Wire wire = gateway.connect()) {
            wire.send("POST / HTTP/1.1\nHost: a\nContent-Length: 100000\nConnection: close\n\n").sendExactly("x".repeat(100_000));
            assertThat(wire.rest()).contains("ok");
            Gateway.until(() -> gateway.tap().stats().full() == 1);
            assertThat(gateway.tap().queueBytes()).isZero();
        }
    }
}
