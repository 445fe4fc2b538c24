package io.reprise.gateway;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.util.Random;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class LineTest {
    private static final JsonMapper JSON = new JsonMapper();

    private static String latin(byte[] b, int n) {
        return new String(b, 0, n, StandardCharsets.ISO_8859_1);
    }

    private static JsonNode parse(Line line) {
        return JSON.readTree(new String(line.bytes(), 0, line.length(), StandardCharsets.UTF_8));
    }

    @Test
    void anyTextComesBack() {
        Random random = new Random(1);
        for (int i = 0; i < 3000; i++) {
            byte[] b = new byte[random.nextInt(20)];
            random.nextBytes(b);
            if (i % 3 == 1) {
                for (int k = 0; k < b.length; k++) {
                    b[k] &= 0x7f;
                }
            } else if (i % 3 == 2) {
                b = new String(b, StandardCharsets.ISO_8859_1).getBytes(StandardCharsets.UTF_8);
            }
            Line line = new Line(1).text(latin(b, b.length));
            String want = Line.isUtf8(b, b.length) ? new String(b, StandardCharsets.UTF_8) : latin(b, b.length);
            assertThat(parse(line).asString()).isEqualTo(want);
            assertThat(line.latin()).isEqualTo(!Line.isUtf8(b, b.length));
        }
    }

    @Test
    void anyBodyComesBack() {
        Random random = new Random(2);
        for (int i = 0; i < 3000; i++) {
            byte[] b = new byte[random.nextInt(9000)];
            random.nextBytes(b);
            if (i % 2 == 1) {
                b = new String(b, StandardCharsets.ISO_8859_1).getBytes(StandardCharsets.UTF_8);
            }
            Line line = new Line(1).raw("{\"a\":0");
            line.body(b, b.length, b.length + 7);
            JsonNode got = parse(line.raw("}"));
            byte[] back = got.has("body") ? got.get("body").asString().getBytes(StandardCharsets.UTF_8)
                    : java.util.Base64.getDecoder().decode(got.get("body_b64").asString());
            assertThat(back).isEqualTo(b);
            assertThat(got.has("body")).isEqualTo(Line.isUtf8(b, b.length));
            assertThat(got.get("body_size").asLong()).isEqualTo(b.length + 7);
        }
    }

    @Test
    void utf8IsStrict() {
        for (String bad : new String[] {"\u00c0\u0080", "\u00ed\u00a0\u0080", "\u00f4\u0090\u0080\u0080", "\u00e2\u0082", "\u0080"}) {
            byte[] b = bad.getBytes(StandardCharsets.ISO_8859_1);
            assertThat(Line.isUtf8(b, b.length)).isFalse();
        }
        byte[] long1 = "\u4e2d\ud83d\ude00".repeat(5000).getBytes(StandardCharsets.UTF_8);
        assertThat(Line.isUtf8(long1, long1.length)).isTrue();
        assertThat(Line.isUtf8(long1, long1.length - 1)).isFalse();
    }

    @Test
    void aHeaderStaysOneLine() {
        Line line = new Line(1).raw("[");
        line.pair("A", "b\r\nc");
        assertThat(parse(line.noComma().raw("]")).toString()).isEqualTo("[[\"A\",\"b  c\"]]");
    }
}
