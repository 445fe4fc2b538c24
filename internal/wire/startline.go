package wire

import "bytes"

// Method is what framing an answer needs to know of the request's method.
type Method uint8

// The methods that change where an answer ends.
const (
	MethodOther Method = iota
	MethodHead
	MethodConnect
)

// MethodOf classifies a method, which is case-sensitive.
func MethodOf(method []byte) Method {
	switch string(method) {
	case "HEAD":
		return MethodHead
	case "CONNECT":
		return MethodConnect
	}
	return MethodOther
}

const tlsHandshake = 0x16

// unlikely says what bytes are that cannot begin a request, while their first line is still coming; 0: they may.
func unlikely(line []byte) Fault {
	if line[0] == tlsHandshake {
		switch {
		case len(line) < 3:
			return 0
		case line[1] == 3 && line[2] <= 4:
			return TLS
		}
		return NotHTTP
	}
	switch n := tokenLength(line[:min(len(line), maxMethod+1)]); {
	case n > maxMethod, n == 0, n < len(line) && line[n] != ' ' && line[n] != '\r':
		return NotHTTP
	}
	return 0
}

// requestLine reads the start line at block[:to].
func (h *Head) requestLine(block []byte, to int) Fault {
	const proto = len("HTTP/1.1")
	line := block[:to]
	if string(line) == "PRI * HTTP/2.0" {
		return HTTP2
	}
	if fault := unlikely(line); fault != 0 {
		return fault
	}
	end := to - proto
	if end < 1 || !isHTTP1(line[end:]) || line[end-1] != ' ' {
		if bytes.Contains(line, []byte(" HTTP/")) {
			return Malformed
		}
		return NotHTTP
	}
	method := tokenLength(line)
	target := line[min(method+1, end-1) : end-1]
	if line[method] != ' ' || len(target) == 0 || bytes.IndexByte(target, ' ') >= 0 || hasControl(target) ||
		bytes.IndexByte(target, '\t') >= 0 {
		return Malformed
	}
	h.Method = Span{0, uint32(method)}
	h.Target = Span{uint32(method + 1), uint32(end - 1)}
	h.Protocol = Span{uint32(end), uint32(to)}
	h.http10 = line[to-1] == '0'
	return 0
}

// simpleLine reads the whole request of HTTP/0.9, and reports whether line is one. Some servers still answer it.
func (h *Head) simpleLine(line []byte) bool {
	const method = len("GET")
	if !bytes.HasPrefix(line, []byte("GET /")) || hasControl(line) || bytes.ContainsAny(line[method+1:], " \t") {
		return false
	}
	h.Method, h.Target = Span{0, uint32(method)}, Span{uint32(method + 1), uint32(len(line))}
	h.simple, h.http10 = true, true
	return true
}

// statusLine reads the start line at block[:to].
func (h *Head) statusLine(block []byte, to int) Fault {
	const proto, status = len("HTTP/1.1"), len("HTTP/1.1 200")
	line := block[:to]
	if len(line) < proto || !isHTTP1(line[:proto]) {
		return NotHTTP
	}
	if len(line) < status || line[proto] != ' ' || len(line) > status && line[status] != ' ' ||
		bytes.IndexByte(line, '\r') >= 0 {
		return Malformed
	}
	n, ok := digits(line[proto+1 : status])
	if !ok || n < 100 {
		return Malformed
	}
	h.Status = int(n)
	h.Protocol = Span{0, uint32(proto)}
	h.http10 = line[proto-1] == '0'
	return 0
}

// isHTTP1 reports whether b is HTTP/1. and a digit.
func isHTTP1(b []byte) bool {
	return string(b[:len(b)-1]) == "HTTP/1." && '0' <= b[len(b)-1] && b[len(b)-1] <= '9'
}
