// Package export writes exchanges in the formats of other tools: HAR for browsers, curl commands, GoReplay's files, and
// scripts of k6. It does no I/O but on the writer that it is given.
package export

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
)

// Format is the name of a format.
type Format string

// The formats.
const (
	HAR  Format = "har"  // one HTTP Archive 1.2
	Curl Format = "curl" // one command a line
	Gor  Format = "gor"  // payloads of GoReplay, with responses
	K6   Format = "k6"   // one script
)

// Options says how to write. The zero value names no other place than the recorded one.
type Options struct {
	Target  string // "http://preprod:8080" in the place of the recorded scheme and authority, for Curl and K6; empty: Curl as recorded, K6 as its user says
	Creator string // program and version, for HAR
}

// Writer writes exchanges in one format. It is not safe for concurrent use.
type Writer struct {
	w       *bufio.Writer
	format  format
	leftOut int64
}

// format is what the formats differ in. exchange reports false for one that it has no form for, and writes nothing then.
type format interface {
	begin(w *bufio.Writer)
	exchange(w *bufio.Writer, x *traffic.Exchange) bool
	end(w *bufio.Writer)
}

// New begins to write. The error is a *fault.Error with code Usage.
func New(w io.Writer, name Format, o Options) (*Writer, error) {
	var f format
	switch name {
	case HAR:
		f = &har{creator: o.Creator}
	case Curl:
		f = curl{target: o.Target}
	case Gor:
		f = gor{}
	case K6:
		f = &k6{target: o.Target}
	default:
		return nil, fault.BadUsage(fmt.Sprintf("bad format %q", name), "", "har, curl, gor or k6")
	}
	out := &Writer{w: bufio.NewWriterSize(w, 64<<10), format: f}
	f.begin(out.w)
	return out, nil
}

// Write writes one exchange, of which nothing is kept. One that the format cannot hold is counted (LeftOut).
func (w *Writer) Write(x *traffic.Exchange) error {
	if !w.format.exchange(w.w, x) {
		w.leftOut++
	}
	return w.err()
}

// LeftOut is how many exchanges had no form in this format: requests that are not known whole, or are none of their own.
func (w *Writer) LeftOut() int64 { return w.leftOut }

// Close ends the output and flushes it. It does not close the writer beneath.
func (w *Writer) Close() error {
	w.format.end(w.w)
	return w.w.Flush()
}

// err is the first error of the buffer.
func (w *Writer) err() error {
	_, err := w.w.Write(nil)
	return err
}

// sendable reports whether a request is known whole, so that it may be sent again.
func sendable(x *traffic.Exchange) bool {
	r := &x.Request
	return x.Flags.Unreplayable() == 0 && len(r.Method) > 0 && int64(len(r.Body)) >= r.BodySize
}

// address returns where a request went, or is to go: scheme and authority, and its target in origin form. Without an authority it
// went nowhere that is known.
func address(r *traffic.Request, target string) (base string, path []byte) {
	path = origin(r.Target)
	switch {
	case target != "":
		return strings.TrimSuffix(target, "/"), path
	case len(r.Authority) == 0:
		return "", path
	}
	scheme := string(r.Scheme)
	if scheme == "" {
		scheme = "http"
	}
	return scheme + "://" + latin(r.Authority), path
}

// origin makes origin form of a target in absolute form.
func origin(target []byte) []byte {
	if len(target) > 0 && (target[0] == '/' || target[0] == '*') {
		return target
	}
	_, rest, found := bytes.Cut(target, []byte("://"))
	if !found {
		return target
	}
	i := bytes.IndexAny(rest, "/?")
	switch {
	case i < 0:
		return []byte("/")
	case rest[i] == '?':
		return append([]byte("/"), rest[i:]...)
	}
	return rest[i:]
}

// framing are fields that belong to the connection, or that whoever sends a request again makes for itself.
var framing = []string{ //nolint:gochecknoglobals // constant
	"connection", "content-length", "expect", "host", "http2-settings", "keep-alive", "proxy-connection", "te", "trailer",
	"transfer-encoding", "upgrade",
}

// own returns the fields that a request is to be sent again with.
func own(fields []traffic.Field) []traffic.Field {
	kept := make([]traffic.Field, 0, len(fields))
	for _, f := range fields {
		name := strings.ToLower(string(f.Name))
		if name == "" || name[0] == ':' || slices.Contains(framing, name) {
			continue
		}
		kept = append(kept, f)
	}
	return kept
}

// has reports whether there is a field of that name, whatever its case.
func has(fields []traffic.Field, name string) bool {
	_, ok := traffic.Get(fields, name)
	return ok
}

// latin makes text of bytes from the wire: those that are no UTF-8 become U+0000 to U+00FF.
func latin(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var s strings.Builder
	for _, c := range b {
		s.WriteRune(rune(c))
	}
	return s.String()
}
