package io.reprise.gateway;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.net.InetSocketAddress;
import org.junit.jupiter.api.Test;
import org.springframework.http.HttpCookie;
import org.springframework.mock.http.server.reactive.MockServerHttpRequest;
import org.springframework.mock.web.server.MockServerWebExchange;

class ShareSamplerTest {
    private static MockServerWebExchange request(String session, int client) {
        var request = MockServerHttpRequest.get("/").remoteAddress(new InetSocketAddress("10.0.0." + client, 1000));
        if (session != null) {
            request.header("X-Session", session).cookie(new HttpCookie("sid", session));
        }
        return MockServerWebExchange.from(request);
    }

    @Test
    void theShareIsKeptByEveryWay() {
        for (String by : new String[] {"request", "client", "cookie:sid", "header:X-Session"}) {
            ShareSampler sampler = new ShareSampler("25%", by);
            int wanted = 0;
            for (int i = 0; i < 2000; i++) {
                wanted += sampler.wants(request(by.equals("client") ? null : "session-" + i, i % 250)) ? 1 : 0;
            }
            assertThat(wanted).as(by).isBetween(350, 650);
        }
        assertThat(new ShareSampler("0.25", "client").wants(request(null, 1)))
                .isEqualTo(new ShareSampler(" 25 % ", "client").wants(request(null, 1)));
    }

    @Test
    void aSessionIsInOrOutAsAWhole() {
        ShareSampler sampler = new ShareSampler("50%", "cookie:sid");
        for (int i = 0; i < 100; i++) {
            boolean first = sampler.wants(request("s" + i, 1));
            assertThat(sampler.wants(request("s" + i, 2))).isEqualTo(first);
        }
        assertThat(sampler.wants(request(null, 1))).isEqualTo(new ShareSampler("50%", "client").wants(request("other", 1)));
    }

    @Test
    void allAndNothing() {
        assertThat(new ShareSampler("100%", "request").wants(request(null, 1))).isTrue();
        assertThat(new ShareSampler("1", "client").wants(request(null, 1))).isTrue();
        assertThat(new ShareSampler("0%", "request").wants(request(null, 1))).isFalse();
    }

    @Test
    void whatIsNoShareIsRefused() {
        for (String bad : new String[] {"", "%", "101%", "-1", "10", "NaN", "a"}) {
            assertThatThrownBy(() -> new ShareSampler(bad, "request")).hasMessageContaining("reprise.tap.sample");
        }
        for (String bad : new String[] {"", "session", "cookie", "cookie:", "header: "}) {
            assertThatThrownBy(() -> new ShareSampler("1", bad)).hasMessageContaining("reprise.tap.sample-by");
        }
    }
}
