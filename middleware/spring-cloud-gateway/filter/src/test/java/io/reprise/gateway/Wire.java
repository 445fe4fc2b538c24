package io.reprise.gateway;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;

/** A connection on which a test says what it wants, byte for byte; a character is a byte. */
final class Wire implements AutoCloseable {
    private final Socket socket;
    private final InputStream in;

    Wire(int port) throws IOException {
        socket = new Socket("127.0.0.1", port);
        socket.setSoTimeout(60_000);
        in = socket.getInputStream();
    }

    /** Sends text whose lines end with \n, which becomes \r\n. */
    Wire send(String text) throws IOException {
        return sendExactly(text.replace("\n", "\r\n"));
    }

    Wire sendExactly(String text) throws IOException {
        socket.getOutputStream().write(text.getBytes(StandardCharsets.ISO_8859_1));
        return this;
    }

    /** Reads until the text has come and returns all up to its end. */
    String until(String text) throws IOException {
        StringBuilder got = new StringBuilder();
        while (got.length() < text.length() || got.indexOf(text, got.length() - text.length()) < 0) {
            int c = in.read();
            if (c < 0) {
                throw new IOException("ended before " + text + ": " + got);
            }
            got.append((char) c);
        }
        return got.toString();
    }

    /** Reads to the end. */
    String rest() throws IOException {
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        in.transferTo(all);
        return all.toString(StandardCharsets.ISO_8859_1);
    }

    /** Port on this side. */
    int port() {
        return socket.getLocalPort();
    }

    @Override
    public void close() throws IOException {
        socket.close();
    }
}
