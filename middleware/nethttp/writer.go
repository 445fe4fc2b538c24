package nethttp

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
)

// wrap returns a writer that has the same abilities as w: no more, since handlers ask for them, and no less.
func wrap(c *exchange, w http.ResponseWriter) http.ResponseWriter {
	_, flushes := w.(http.Flusher)
	_, hijacks := w.(http.Hijacker)
	_, readsFrom := w.(io.ReaderFrom)
	_, pushes := w.(http.Pusher)
	base := writer{c}
	switch {
	case flushes && hijacks && readsFrom: // HTTP/1.1
		return struct {
			writer
			flusher
			hijacker
			readerFrom
		}{base, flusher{c}, hijacker{c}, readerFrom{c}}
	case flushes && pushes: // HTTP/2
		return struct {
			writer
			flusher
			http.Pusher
		}{base, flusher{c}, w.(http.Pusher)}
	case flushes && hijacks:
		return struct {
			writer
			flusher
			hijacker
		}{base, flusher{c}, hijacker{c}}
	case flushes && readsFrom:
		return struct {
			writer
			flusher
			readerFrom
		}{base, flusher{c}, readerFrom{c}}
	case flushes:
		return struct {
			writer
			flusher
		}{base, flusher{c}}
	case readsFrom:
		return struct {
			writer
			readerFrom
		}{base, readerFrom{c}}
	}
	return base
}

// writer is what every http.ResponseWriter can.
type writer struct{ *exchange }

// Header implements http.ResponseWriter.
func (w writer) Header() http.Header { return w.w.Header() }

// WriteHeader implements http.ResponseWriter. Informational answers go by.
func (w writer) WriteHeader(status int) {
	w.w.WriteHeader(status)
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.answered(status)
	}
}

// Write implements io.Writer.
func (w writer) Write(p []byte) (int, error) {
	w.answered(http.StatusOK)
	n, err := w.w.Write(p)
	wrote(w.exchange, p[:n])
	return n, err
}

// WriteString implements io.StringWriter.
func (w writer) WriteString(s string) (int, error) {
	w.answered(http.StatusOK)
	n, err := io.WriteString(w.w, s)
	wrote(w.exchange, s[:n])
	return n, err
}

// Unwrap lets http.ResponseController find the writer beneath.
func (w writer) Unwrap() http.ResponseWriter { return w.w }

type flusher struct{ c *exchange }

// Flush implements http.Flusher.
func (f flusher) Flush() {
	f.c.answered(http.StatusOK)
	f.c.w.(http.Flusher).Flush()
}

// FlushError is what http.ResponseController calls.
func (f flusher) FlushError() error {
	f.c.answered(http.StatusOK)
	return http.NewResponseController(f.c.w).Flush()
}

type hijacker struct{ c *exchange }

// Hijack implements http.Hijacker. What is said on the connection from then on is not copied.
func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := h.c.w.(http.Hijacker).Hijack()
	if err == nil {
		h.c.mu.Lock()
		h.c.hijacked = h.c.s != nil
		h.c.mu.Unlock()
	}
	return conn, rw, err
}

type readerFrom struct{ c *exchange }

// ReadFrom implements io.ReaderFrom: what is to be copied is written, and the rest is left to the writer beneath, which
// may have the kernel send it.
func (f readerFrom) ReadFrom(src io.Reader) (n int64, err error) {
	f.c.answered(http.StatusOK)
	if most := f.c.room(); most > 0 {
		buf := make([]byte, min(most, 32<<10))
		for most > 0 {
			got, readErr := src.Read(buf[:min(most, len(buf))])
			put, writeErr := f.c.w.Write(buf[:got])
			wrote(f.c, buf[:put])
			n, most = n+int64(put), most-got
			switch {
			case writeErr != nil:
				return n, writeErr
			case errors.Is(readErr, io.EOF):
				return n, nil
			case readErr != nil:
				return n, readErr
			}
		}
	}
	rest, err := f.c.w.(io.ReaderFrom).ReadFrom(src)
	f.c.passed(rest)
	return n + rest, err
}
