package io.reprise.gateway;

import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Base64;

/** JSON under way, as UTF-8. */
final class Line {
    private static final byte[] HEX = "0123456789abcdef".getBytes(StandardCharsets.US_ASCII);

    private byte[] bytes;
    private int length;
    private boolean latin;

    Line(int room) {
        bytes = new byte[room];
    }

    byte[] bytes() {
        return bytes;
    }

    int length() {
        return length;
    }

    int room() {
        return bytes.length;
    }

    /** Reports whether some value was not UTF-8. */
    boolean latin() {
        return latin;
    }

    /** Takes off what is behind the first n bytes. */
    void cut(int n) {
        length = n;
    }

    /** Appends JSON, which is ASCII. */
    Line raw(String json) {
        grow(json.length());
        for (int i = 0; i < json.length(); i++) {
            bytes[length++] = (byte) json.charAt(i);
        }
        return this;
    }

    Line raw(Line other) {
        grow(other.length);
        System.arraycopy(other.bytes, 0, bytes, length, other.length);
        length += other.length;
        return this;
    }

    Line number(long n) {
        return raw(Long.toString(n));
    }

    /** Takes off a comma at the end, when there is one. */
    Line noComma() {
        if (bytes[length - 1] == ',') {
            length--;
        }
        return this;
    }

    /**
     * Appends a value that came from the wire, a character for each byte as Netty makes them. Where its bytes are UTF-8 they are
     * taken as that; where not they become U+0080 to U+00FF, and {@link #latin} says so.
     */
    Line text(String v) {
        for (int i = 0; i < v.length(); i++) {
            if (v.charAt(i) >= 0x80) {
                byte[] b = v.getBytes(StandardCharsets.ISO_8859_1);
                boolean valid = isUtf8(b, b.length);
                latin |= !valid;
                return quoted(b, b.length, valid);
            }
        }
        grow(v.length() + 2);
        bytes[length++] = '"';
        for (int i = 0; i < v.length(); i++) {
            ascii((byte) v.charAt(i));
        }
        grow(1);
        bytes[length++] = '"';
        return this;
    }

    /** Appends a header, and a comma; line breaks in its value become spaces. */
    void pair(String name, String value) {
        if (value.indexOf('\r') >= 0 || value.indexOf('\n') >= 0) {
            value = value.replace('\r', ' ').replace('\n', ' ');
        }
        raw("[").text(name).raw(",").text(value).raw("],");
    }

    /** Appends the fields of a body. */
    void body(byte[] b, int n, long size) {
        if (isUtf8(b, n)) {
            raw(",\"body\":").quoted(b, n, true);
        } else {
            raw(",\"body_b64\":\"");
            byte[] coded = Base64.getEncoder().encode(ByteBuffer.wrap(b, 0, n)).array();
            grow(coded.length);
            System.arraycopy(coded, 0, bytes, length, coded.length);
            length += coded.length;
            raw("\"");
        }
        raw(",\"body_size\":").number(size);
    }

    private Line quoted(byte[] b, int n, boolean valid) {
        grow(n + 2);
        bytes[length++] = '"';
        for (int i = 0; i < n; i++) {
            byte c = b[i];
            if (c >= 0) {
                ascii(c);
                continue;
            }
            grow(2);
            if (!valid) {
                bytes[length++] = (byte) (0xc0 | (c & 0xff) >> 6);
                c = (byte) (0x80 | c & 0x3f);
            }
            bytes[length++] = c;
        }
        grow(1);
        bytes[length++] = '"';
        return this;
    }

    private void ascii(byte c) {
        grow(6);
        if (c == '"' || c == '\\') {
            bytes[length++] = '\\';
        } else if (c < ' ') {
            for (byte p : new byte[] {'\\', 'u', '0', '0', HEX[c >> 4]}) {
                bytes[length++] = p;
            }
            c = HEX[c & 15];
        }
        bytes[length++] = c;
    }

    private void grow(int n) {
        if (length + n > bytes.length) {
            bytes = Arrays.copyOf(bytes, Math.max(length + n, 2 * bytes.length));
        }
    }

    static boolean isUtf8(byte[] b, int n) {
        CharsetDecoder decoder = StandardCharsets.UTF_8.newDecoder(); // which reports what is malformed
        ByteBuffer in = ByteBuffer.wrap(b, 0, n);
        CharBuffer out = CharBuffer.allocate(Math.min(n + 1, 4096));
        while (true) {
            CoderResult r = decoder.decode(in, out, true);
            if (!r.isOverflow()) {
                return !r.isError();
            }
            out.clear();
        }
    }
}
