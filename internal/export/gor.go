package export

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"

	"github.com/reprise-io/reprise/internal/traffic"
)

// gor writes the payloads of a .gor file: a request, and its answer behind it. They are messages of HTTP/1.1, with the length in
// the place of how the body was framed.
type gor struct{}

func (gor) begin(*bufio.Writer) {}
func (gor) end(*bufio.Writer)   {}

const gorSeparator = "\n🐵🙈🙉\n"

func (gor) exchange(w *bufio.Writer, x *traffic.Exchange) bool {
	if !sendable(x) || len(x.Request.Target) == 0 || holdsSeparator(x) {
		return false
	}
	id, at := hex.EncodeToString(x.ID[:]), x.CaptureTime.UnixNano()
	r := &x.Request
	fmt.Fprintf(w, "1 %s %d\n%s %s HTTP/1.1\r\n", id, at, r.Method, r.Target)
	if !has(r.Headers, "Host") {
		fmt.Fprintf(w, "Host: %s\r\n", r.Authority)
	}
	gorFields(w, r.Headers, int64(len(r.Body)), len(r.Body) > 0 || has(r.Headers, "Content-Length"))
	_, _ = w.Write(r.Body)
	_, _ = w.WriteString(gorSeparator)
	if p := x.Response; p != nil && p.Status > 0 {
		// The time is that of the answer's first byte, and the latency that of the others behind it.
		fmt.Fprintf(w, "2 %s %d %d\nHTTP/1.1 %d %s\r\n", id, at+int64(p.TTFB), int64(max(0, p.Duration-p.TTFB)), p.Status, http.StatusText(p.Status))
		bodiless := string(r.Method) == "HEAD" || p.Status == http.StatusNoContent || p.Status == http.StatusNotModified
		if bodiless {
			gorPlain(w, p.Headers)
		} else {
			gorFields(w, p.Headers, p.BodySize, true)
			_, _ = w.Write(p.Body)
		}
		_, _ = w.WriteString(gorSeparator)
	}
	return true
}

// holdsSeparator: what a file's reader would take for the end of a payload cannot stand in one.
func holdsSeparator(x *traffic.Exchange) bool {
	mark := []byte("🐵🙈🙉")
	return bytes.Contains(x.Request.Body, mark) || x.Response != nil && bytes.Contains(x.Response.Body, mark)
}

// gorFields writes a head's fields and its end, with the length of the body in the place of its framing.
func gorFields(w *bufio.Writer, fields []traffic.Field, length int64, told bool) {
	for _, f := range fields {
		switch {
		case bytes.EqualFold(f.Name, []byte("Transfer-Encoding")), bytes.EqualFold(f.Name, []byte("Trailer")):
			continue
		case bytes.EqualFold(f.Name, []byte("Content-Length")):
			if !told {
				continue
			}
			fmt.Fprintf(w, "%s: %d\r\n", f.Name, length)
			told = false
		default:
			gorField(w, f)
		}
	}
	if told {
		_, _ = w.WriteString("Content-Length: " + strconv.FormatInt(length, 10) + "\r\n")
	}
	_, _ = w.WriteString("\r\n")
}

// gorPlain writes the head of an answer that has no body, whatever its length says.
func gorPlain(w *bufio.Writer, fields []traffic.Field) {
	for _, f := range fields {
		gorField(w, f)
	}
	_, _ = w.WriteString("\r\n")
}

func gorField(w *bufio.Writer, f traffic.Field) {
	if len(f.Name) > 0 && f.Name[0] != ':' {
		fmt.Fprintf(w, "%s: %s\r\n", f.Name, f.Value)
	}
}
