package export

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/reprise-io/reprise/internal/traffic"
)

// curl writes a command for bash a line. Each sends what was recorded and nothing of curl's own, and marks it, so that a tap
// passes it on without recording it.
type curl struct{ target string }

func (curl) begin(*bufio.Writer) {}
func (curl) end(*bufio.Writer)   {}

// mark is the field that taps know replayed requests by.
const (
	mark   = "Reprise-Replay"
	marked = "export"
)

func (c curl) exchange(w *bufio.Writer, x *traffic.Exchange) bool {
	r := &x.Request
	base, path := address(r, c.target)
	if !sendable(x) || base == "" {
		return false
	}
	var b strings.Builder
	// A body that no argument can hold comes by a pipe.
	binary := bytes.IndexByte(r.Body, 0) >= 0 || !utf8.Valid(r.Body)
	if binary {
		fmt.Fprintf(&b, "printf %%s %s | base64 -d | ", base64.StdEncoding.EncodeToString(r.Body))
	}
	b.WriteString("curl -sS -g --path-as-is")
	switch method := string(r.Method); {
	case method == "HEAD":
		b.WriteString(" -I")
	case method != "GET" || len(r.Body) > 0:
		b.WriteString(" -X " + quote(r.Method))
	}
	fields := own(r.Headers)
	for _, f := range fields {
		if strings.EqualFold(string(f.Name), mark) {
			continue
		}
		line := append(bytes.Clone(f.Name), ": "...)
		if len(f.Value) == 0 {
			line = append(bytes.Clone(f.Name), ';') // so curl writes a field without a value
		} else {
			line = append(line, f.Value...)
		}
		b.WriteString(" -H " + quote(line))
	}
	b.WriteString(" -H " + quote([]byte(mark+": "+marked)))
	for _, of := range []string{"Accept", "User-Agent"} { // which curl adds by itself
		if !has(fields, of) {
			b.WriteString(" -H '" + of + ":'")
		}
	}
	if host, ok := traffic.Get(r.Headers, "Host"); ok && c.target == "" && !bytes.Equal(host, r.Authority) {
		b.WriteString(" -H " + quote(append([]byte("Host: "), host...)))
	}
	if len(r.Body) > 0 {
		if !has(fields, "Content-Type") {
			b.WriteString(" -H 'Content-Type:'")
		}
		if binary {
			b.WriteString(" --data-binary @-")
		} else {
			b.WriteString(" --data-raw " + quote(r.Body))
		}
	}
	if len(path) > 0 && path[0] == '*' {
		b.WriteString(" --request-target '*'")
		path = []byte("/")
	}
	b.WriteString(" " + quote(append([]byte(base), path...)) + "\n")
	_, _ = w.WriteString(b.String())
	return true
}

// quote makes one word of bash: in '…', or in $'…' where there are line ends, controls or bytes that are no UTF-8.
func quote(s []byte) string {
	plain := utf8.Valid(s)
	for _, r := range string(s) {
		plain = plain && strconv.IsPrint(r)
	}
	if plain {
		return "'" + strings.ReplaceAll(string(s), "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for len(s) > 0 {
		r, n := utf8.DecodeRune(s)
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\'' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r != utf8.RuneError && strconv.IsPrint(r):
			b.Write(s[:n])
		default:
			for _, c := range s[:n] {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
		}
		s = s[n:]
	}
	b.WriteByte('\'')
	return b.String()
}
