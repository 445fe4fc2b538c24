package inspect

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/traffic"
)

// view shows one exchange whole, in the words of HTTP.
func view(e Entry, showBodies bool) string {
	x := e.Exchange
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s"+format+"\n", append([]any{label}, args...)...)
	}
	line("exchange", "%s", x.ID)
	line("record", "%s partition %d offset %d", e.Record.Topic, e.Record.Partition, e.Record.Offset)
	by := x.Source.Kind.String()
	if len(x.Source.Name) > 0 {
		by += " " + printable(x.Source.Name)
	}
	line("captured", "%s by %s", x.CaptureTime.UTC().Format("2006-01-02 15:04:05.000000000 UTC"), by)
	if len(x.Connection.Client) > 0 || len(x.Connection.Server) > 0 {
		line("between", "%s and %s", orNone(x.Connection.Client), orNone(x.Connection.Server))
	}
	if len(x.Connection.ID) > 0 {
		line("connection", " %s, request %d on it", printable(x.Connection.ID), x.Connection.Sequence)
	}
	if len(x.Session) > 0 {
		line("session", "%s", printable(x.Session))
	}
	if x.Flags != 0 {
		line("flags", "%s", strings.Join(x.Flags.Names(), ", "))
	}
	for i, r := range x.Redactions {
		label := ""
		if i == 0 {
			label = "redacted"
		}
		line(label, "%s (%s)", report.Printable(r.Location), report.Printable(r.Rule))
	}

	q := &x.Request
	fmt.Fprintf(&b, "\n%s %s %s\n", printable(q.Method), printable(q.Target), printable(q.Protocol))
	fields(&b, q.Headers)
	content(&b, q.Headers, q.Body, q.BodySize, showBodies)
	fields(&b, q.Trailers)

	p := x.Response
	if p == nil {
		b.WriteString("\n(no response was seen)\n")
		return b.String()
	}
	first := strings.TrimSpace(fmt.Sprintf("%s %d %s", printable(p.Protocol), p.Status, http.StatusText(p.Status)))
	fmt.Fprintf(&b, "\n%s    first byte after %s, last after %s\n", first, duration(p.TTFB), duration(p.Duration))
	fields(&b, p.Headers)
	content(&b, p.Headers, p.Body, p.BodySize, showBodies)
	fields(&b, p.Trailers)
	return b.String()
}

func orNone(b []byte) string {
	if len(b) == 0 {
		return "unknown"
	}
	return printable(b)
}

func fields(b *strings.Builder, list []traffic.Field) {
	for _, f := range list {
		fmt.Fprintf(b, "%s: %s\n", printable(f.Name), printable(f.Value))
	}
}

// content writes a body, or what is known of it.
func content(b *strings.Builder, headers []traffic.Field, body []byte, size int64, show bool) {
	switch {
	case size == 0 && len(body) == 0:
		return
	case !show:
		fmt.Fprintf(b, "\n(%s, hidden; --show-bodies shows them)\n", report.Count(size, "byte"))
		return
	case len(body) == 0:
		fmt.Fprintf(b, "\n(%s, not recorded)\n", report.Count(size, "byte"))
		return
	}
	text, unpacked := uncompressed(headers, body)
	b.WriteByte('\n')
	if utf8.Valid(text) {
		b.WriteString(strings.TrimSuffix(printableText(text), "\n"))
		b.WriteByte('\n')
	} else {
		fmt.Fprintf(b, "(%s that are no text%s; -o json has them in base64)\n", report.Count(int64(len(text)), "byte"), messages(headers, text))
	}
	if unpacked {
		fmt.Fprintf(b, "(unpacked from %s of gzip)\n", report.Count(int64(len(body)), "byte"))
	}
	if int64(len(body)) < size {
		fmt.Fprintf(b, "(the first %s of %s)\n", report.Number(int64(len(body))), report.Count(size, "byte"))
	}
}

// messages tells how many messages of gRPC a body is.
func messages(headers []traffic.Field, body []byte) string {
	if !traffic.IsGRPC(headers) {
		return ""
	}
	whole, rest := traffic.GRPCMessages(body, mostMessages)
	switch {
	case len(rest) == 0:
		return ", in " + report.Count(int64(len(whole)), "gRPC message")
	case len(whole) == mostMessages:
		return ", in more than " + report.Count(mostMessages, "gRPC message")
	}
	return ", in " + report.Count(int64(len(whole)), "gRPC message") + " and a part of one"
}

// mostMessages is how many are counted.
const mostMessages = 10000

// mostUnpacked bounds what a small body can become on the screen.
const mostUnpacked = 1 << 20

// uncompressed unpacks a body of gzip as far as it goes; other codings stay.
func uncompressed(headers []traffic.Field, body []byte) ([]byte, bool) {
	coding, _ := traffic.Get(headers, "Content-Encoding")
	if !strings.EqualFold(strings.TrimSpace(string(coding)), "gzip") {
		return body, false
	}
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return body, false
	}
	text, err := io.ReadAll(io.LimitReader(z, mostUnpacked)) // a part that was cut off ends in an error, with what was before it
	if err != nil && len(text) == 0 {
		return body, false
	}
	return text, true
}
