package io.reprise.gateway;

import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Function;
import org.springframework.http.HttpCookie;
import org.springframework.web.server.ServerWebExchange;

/** Wants a share of the requests: each by itself, or all or none of those with the same key. */
final class ShareSampler implements TapSampler {
    private final double share; // 0 to 1
    private final Function<ServerWebExchange, String> key; // null: each by itself. It returns null: the client's address

    /**
     * @param share 10% or 0.1
     * @param by request, client, cookie:NAME or header:NAME
     */
    ShareSampler(String share, String by) {
        this.share = parse(share);
        this.key = keyOf(by);
    }

    private static double parse(String text) {
        String s = text.strip();
        boolean percent = s.endsWith("%");
        try {
            double v = Double.parseDouble(percent ? s.substring(0, s.length() - 1).strip() : s) / (percent ? 100 : 1);
            if (v >= 0 && v <= 1) {
                return v;
            }
        } catch (NumberFormatException e) {
            // it is said below
        }
        throw new IllegalArgumentException("reprise.tap.sample is \"" + text + "\": want 0% to 100%, or 0 to 1");
    }

    private static Function<ServerWebExchange, String> keyOf(String by) {
        int colon = by.indexOf(':');
        String name = by.substring(colon + 1).strip();
        switch (colon < 0 ? by : by.substring(0, colon)) {
            case "request":
                return null;
            case "client":
                return x -> null;
            case "cookie":
                if (colon > 0 && !name.isEmpty()) {
                    return x -> {
                        HttpCookie cookie = x.getRequest().getCookies().getFirst(name);
                        return cookie == null ? null : cookie.getValue();
                    };
                }
                break;
            case "header":
                if (colon > 0 && !name.isEmpty()) {
                    return x -> x.getRequest().getHeaders().getFirst(name);
                }
                break;
            default:
        }
        throw new IllegalArgumentException(
                "reprise.tap.sample-by is \"" + by + "\": want request, client, cookie:NAME or header:NAME");
    }

    @Override
    public boolean wants(ServerWebExchange exchange) {
        if (share >= 1 || share <= 0) {
            return share >= 1;
        }
        if (key == null) {
            return ThreadLocalRandom.current().nextDouble() < share;
        }
        String k = key.apply(exchange);
        if (k == null) {
            var from = exchange.getRequest().getRemoteAddress();
            k = from == null ? "" : from.getHostString();
        }
        return place(k) < share;
    }

    /** Puts a key between 0 and 1, at the same place always. */
    static double place(String key) {
        long h = 0xcbf29ce484222325L; // FNV-1a, and then the finish of MurmurHash3, for FNV's high bits are no good by themselves
        for (int i = 0; i < key.length(); i++) {
            h = (h ^ key.charAt(i)) * 0x100000001b3L;
        }
        h = (h ^ h >>> 33) * 0xff51afd7ed558ccdL;
        h = (h ^ h >>> 33) * 0xc4ceb9fe1a85ec53L;
        return ((h ^ h >>> 33) >>> 11) * 0x1p-53;
    }
}
