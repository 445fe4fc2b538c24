package io.reprise.gateway;

import java.net.URI;
import java.net.URISyntaxException;
import java.time.Duration;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;
import org.springframework.core.Ordered;
import org.springframework.util.unit.DataSize;

/**
 * {@code reprise.tap.*}. Without a URL there is no filter.
 *
 * @param url of tap ingest, such as http://127.0.0.1:8090
 * @param token that the tap asks for (its --token); empty: none
 * @param sample the share of requests that are copied: 10% or 0.1
 * @param sampleBy what is in or out as a whole: request, client (its address), cookie:NAME or header:NAME
 * @param bodyMax copied of each body; 0: none
 * @param queueBytes of all that is being copied, waits, and is on its way
 * @param linger how long copies wait for company
 * @param connectTimeout to the tap
 * @param timeout of sending one batch, and of sending what is left when the gateway ends
 * @param order of the filter among the gateway's: what comes before it may change what is copied
 */
@ConfigurationProperties("reprise.tap")
public record TapProperties(
        String url,
        @DefaultValue("") String token,
        @DefaultValue("100%") String sample,
        @DefaultValue("request") String sampleBy,
        @DefaultValue("64KB") DataSize bodyMax,
        @DefaultValue("8MB") DataSize queueBytes,
        @DefaultValue("100ms") Duration linger,
        @DefaultValue("1s") Duration connectTimeout,
        @DefaultValue("5s") Duration timeout,
        @DefaultValue("" + (Ordered.HIGHEST_PRECEDENCE + 10)) int order) {

    public TapProperties {
        if (!isHttp(url)) {
            throw new IllegalArgumentException("reprise.tap.url is \"" + url + "\": want http://HOST:PORT of a tap ingest");
        }
        positive("connect-timeout", connectTimeout);
        positive("timeout", timeout);
        if (linger.isNegative()) {
            throw new IllegalArgumentException("reprise.tap.linger is negative");
        }
        if (bodyMax.toBytes() < 0 || bodyMax.toBytes() > Integer.MAX_VALUE / 2) {
            throw new IllegalArgumentException("reprise.tap.body-max is " + bodyMax + ": want 0B to 1023MB");
        }
        if (queueBytes.toBytes() <= 0) {
            throw new IllegalArgumentException("reprise.tap.queue-bytes is " + queueBytes + ": want more than nothing");
        }
    }

    private static boolean isHttp(String url) {
        try {
            URI u = new URI(url);
            return ("http".equals(u.getScheme()) || "https".equals(u.getScheme())) && u.getHost() != null;
        } catch (URISyntaxException e) {
            return false;
        }
    }

    private static void positive(String name, Duration d) {
        if (d.isNegative() || d.isZero()) {
            throw new IllegalArgumentException("reprise.tap." + name + " is " + d + ": want more than nothing");
        }
    }

    /** Without the token. */
    @Override
    public String toString() {
        return "TapProperties[url=" + url + ", sample=" + sample + " by " + sampleBy + "]";
    }
}
