package fire

import (
	"bytes"

	"github.com/reprise-io/reprise/internal/traffic"
)

// fieldKind says what becomes of a recorded field.
type fieldKind uint8

const (
	kept        fieldKind = iota
	stripped              // hop-by-hop, or put there by a gateway on the way
	hostField             // written anew
	lengthMark            // Content-Length and Transfer-Encoding: the body's length is written there
	trailerMark           // Trailer: only where trailers are sent
	expectMark            // Expect: only "100-continue", before a body, and over HTTP/1.1
	teMark                // TE: only "trailers", and only over HTTP/2
	trace                 // of production's tracing: one fresh traceparent takes its place
	ours                  // of an earlier replay
)

// kindOf classifies a field name. It runs for every field of every request, hence the switch on the first letter.
func kindOf(name []byte) fieldKind {
	if len(name) == 0 {
		return kept
	}
	switch name[0] | 0x20 {
	case 'b':
		if is(name, "b3") {
			return trace
		}
	case 'c':
		if is(name, "content-length") {
			return lengthMark
		}
		if is(name, "connection") {
			return stripped
		}
	case 'e':
		if is(name, "expect") {
			return expectMark
		}
	case 'f':
		if is(name, "forwarded") {
			return stripped
		}
	case 'h':
		if is(name, "host") {
			return hostField
		}
		if is(name, "http2-settings") {
			return stripped
		}
	case 'k':
		if is(name, "keep-alive") {
			return stripped
		}
	case 'p':
		if begins(name, "proxy-") {
			return stripped
		}
	case 'r':
		if begins(name, "reprise-") {
			return ours
		}
	case 's':
		if is(name, "sw8") {
			return trace
		}
	case 't':
		switch {
		case is(name, "transfer-encoding"):
			return lengthMark
		case is(name, "te"):
			return teMark
		case is(name, "trailer"):
			return trailerMark
		case is(name, "traceparent"), is(name, "tracestate"):
			return trace
		}
	case 'u':
		if is(name, "upgrade") {
			return stripped
		}
		if is(name, "uber-trace-id") {
			return trace
		}
	case 'x':
		return kindOfX(name)
	}
	return kept
}

func kindOfX(name []byte) fieldKind {
	if len(name) < len("x-tap-") {
		return kept
	}
	switch name[2] | 0x20 {
	case 'a':
		if is(name, "x-amzn-trace-id") {
			return trace
		}
	case 'b':
		if begins(name, "x-b3-") {
			return trace
		}
	case 'c':
		if is(name, "x-cloud-trace-context") {
			return trace
		}
	case 'd':
		if is(name, "x-datadog-trace-id") || is(name, "x-datadog-parent-id") || is(name, "x-datadog-sampling-priority") {
			return trace
		}
	case 'e':
		if begins(name, "x-envoy-") {
			return stripped
		}
	case 'f':
		if begins(name, "x-forwarded-") {
			return stripped
		}
	case 'o':
		if begins(name, "x-original-") {
			return stripped
		}
	case 'r':
		if is(name, "x-request-id") || is(name, "x-rewrite-url") {
			return stripped
		}
	case 't':
		if begins(name, "x-tap-") {
			return stripped
		}
	}
	return kept
}

func is(name []byte, want string) bool { return traffic.EqualName(name, want) }

func begins(name []byte, prefix string) bool {
	return len(name) >= len(prefix) && traffic.EqualName(name[:len(prefix)], prefix)
}

// perHop appends the names that Connection fields list, beside those that are stripped anyway.
func perHop(names [][]byte, fields []traffic.Field) [][]byte {
	for i := range fields {
		if !is(fields[i].Name, "connection") {
			continue
		}
		for name := range bytes.SplitSeq(fields[i].Value, []byte(",")) {
			name = bytes.Trim(name, " \t")
			if len(name) > 0 && !is(name, "keep-alive") && !is(name, "close") && kindOf(name) == kept {
				names = append(names, name)
			}
		}
	}
	return names
}

// named reports whether name is one of names, compared without case.
func named(names [][]byte, name []byte) bool {
	for _, n := range names {
		if bytes.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// token reports whether b is a method or a field name: a token of RFC 9110.
func token(b []byte) bool {
	for _, c := range b {
		if c < 64 && tokenLow>>c&1 == 0 || c >= 64 && (c >= 128 || tokenHigh>>(c-64)&1 == 0) {
			return false
		}
	}
	return len(b) > 0
}

// The characters of a token, a bit each: below 64, and from 64.
const (
	tokenLow = 1<<'!' | 1<<'#' | 1<<'$' | 1<<'%' | 1<<'&' | 1<<'\'' | 1<<'*' | 1<<'+' | 1<<'-' | 1<<'.' | (1<<10-1)<<'0'

	tokenHigh = (1<<26-1)<<('A'-64) | 1<<('^'-64) | 1<<('_'-64) | 1<<('`'-64) | (1<<26-1)<<('a'-64) |
		1<<('|'-64) | 1<<('~'-64)
)

// fieldValue reports whether b can stand in a field without ending it.
func fieldValue(b []byte) bool {
	return bytes.IndexByte(b, '\n') < 0 && bytes.IndexByte(b, '\r') < 0 && bytes.IndexByte(b, 0) < 0
}

// visible reports whether b can stand in a request line without ending its target.
func visible(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}
