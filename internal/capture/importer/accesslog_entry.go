package importer

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/capture/importer/logformat"
	"github.com/reprise-io/reprise/internal/traffic"
)

// logEntry is what one line of an access log says; nil and 0 are not said.
type logEntry struct {
	line, method, target, path, query []byte
	protocol, scheme                  []byte
	authority, serverName             []byte
	https                             bool
	status                            int
	bodySize, sentSize                int64
	layout, text                      []string
	stamp, fraction, took             time.Duration
	atEnd                             bool
	clientIP, clientPort              []byte
	serverIP, serverPort              []byte
	connection                        []byte
	sequence                          uint64
	headers, answered                 []traffic.Field
	cookies                           [][]byte
	body                              []byte
	saysBody, saysLength              bool
	left                              bool // the client went away
}

// set takes one value, unescaped; nil where the log has "-" or nothing.
func (e *logEntry) set(f logformat.Field, v []byte) {
	switch f.Kind {
	case logformat.RequestBody:
		e.saysBody, e.body = true, v
	case logformat.RequestHeader:
		e.header(f.Name, v)
	case logformat.TimeText:
		e.layout, e.text = append(e.layout, f.Name), append(e.text, string(v))
		e.atEnd = f.End
	case logformat.TimeNumber:
		e.stamp, e.atEnd = units(v, f.Unit), f.End
	case logformat.Completion:
		e.left = string(v) == "X"
	}
	if v == nil {
		return
	}
	switch f.Kind {
	case logformat.RequestLine:
		e.line = v
	case logformat.Method:
		e.method = v
	case logformat.Target:
		e.target = v
	case logformat.Path:
		e.path = v
	case logformat.PathAndQuery:
		e.path, e.query, _ = bytes.Cut(v, []byte("?"))
	case logformat.Query:
		e.query = v
	case logformat.MarkedQuery:
		if q := bytes.TrimPrefix(v, []byte("?")); len(q) > 0 {
			e.query = q
		}
	case logformat.Protocol:
		e.protocol = v
	case logformat.Status:
		e.status, _ = strconv.Atoi(string(v))
	case logformat.BodyBytes:
		e.bodySize, _ = strconv.ParseInt(string(v), 10, 64)
	case logformat.SentBytes:
		e.sentSize, _ = strconv.ParseInt(string(v), 10, 64)
	case logformat.TimeFraction:
		e.fraction = units(v, f.Unit)
	case logformat.Duration:
		e.took = units(v, f.Unit)
	case logformat.ClientAddress:
		e.clientIP = v
	case logformat.ClientPort:
		e.clientPort = v
	case logformat.ServerAddress:
		e.serverIP = v
	case logformat.ServerPort:
		e.serverPort = v
	case logformat.Authority:
		e.authority = v
	case logformat.ServerName:
		e.serverName = v
	case logformat.Scheme:
		e.scheme = v
	case logformat.HTTPS:
		e.https = string(v) == "on"
	case logformat.RequestCookie:
		e.cookies = append(e.cookies, append([]byte(f.Name+"="), v...))
	case logformat.ResponseHeader:
		e.answered = append(e.answered, traffic.Field{Name: []byte(f.Name), Value: v})
	case logformat.Connection:
		e.connection = v
	case logformat.ConnectionNext:
		e.sequence, _ = strconv.ParseUint(string(v), 10, 64)
	case logformat.ConnectionKept:
		if n, err := strconv.ParseUint(string(v), 10, 63); err == nil {
			e.sequence = n + 1
		}
	}
}

func (e *logEntry) header(name string, v []byte) {
	if strings.EqualFold(name, "Content-Length") {
		e.saysLength = true
	}
	if strings.EqualFold(name, "X-Forwarded-For") {
		v = bytes.TrimSuffix(v, []byte(",")) // where the client's own address stands behind the list
	}
	if v != nil {
		e.headers = append(e.headers, traffic.Field{Name: []byte(name), Value: v})
	}
}

// units reads a decimal number of units of so many ns. What is no number is 0.
func units(v []byte, unit int64) time.Duration {
	whole, fraction, _ := strings.Cut(string(v), ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || n < 0 || n > int64(1<<62)/unit {
		return 0
	}
	d := time.Duration(n * unit)
	if f, err := strconv.ParseInt((fraction + "000000000")[:9], 10, 64); err == nil && f > 0 {
		d += time.Duration(float64(f) / 1e9 * float64(unit))
	}
	return d
}

// fill makes an exchange of the line. The error is errNotHTTP when the server saw no request that could be read: "-", the
// beginning of a TLS connection, a malformed request line.
func (e *logEntry) fill(x *traffic.Exchange, bodyMax int) error {
	q := &x.Request
	if !e.request(q) {
		return errNotHTTP
	}
	var ok bool
	if x.CaptureTime, ok = e.time(); !ok {
		return errCannotRead
	}
	q.Headers = e.headers
	if _, said := traffic.Get(q.Headers, "Cookie"); !said && len(e.cookies) > 0 {
		q.Headers = append(q.Headers, traffic.Field{Name: []byte("Cookie"), Value: bytes.Join(e.cookies, []byte("; "))})
	}
	e.place(q)
	x.Connection = traffic.Connection{
		ID: e.connection, Sequence: e.sequence, Client: joinAddress(e.clientIP, e.clientPort), Server: joinAddress(e.serverIP, e.serverPort),
	}
	if string(q.Method) == "CONNECT" {
		x.Flags |= traffic.Connect
	}
	x.Flags |= e.requestBody(q, bodyMax)
	x.Flags |= e.response(x)
	own(q.Headers, nil, &q.Method, &q.Scheme, &q.Authority, &q.Target, &q.Protocol, &q.Body,
		&x.Connection.ID, &x.Connection.Client, &x.Connection.Server)
	if x.Response != nil {
		own(x.Response.Headers, nil, &x.Response.Protocol)
	}
	return nil
}

// request sets the request line.
func (e *logEntry) request(q *traffic.Request) bool {
	q.Method, q.Target, q.Protocol = e.method, e.target, e.protocol
	if e.line != nil {
		parts := bytes.Split(e.line, []byte(" "))
		switch {
		case len(parts) == 3:
			q.Method, q.Target, q.Protocol = parts[0], parts[1], parts[2]
		case len(parts) == 2 && string(parts[0]) == "GET":
			q.Method, q.Target, q.Protocol = parts[0], parts[1], []byte("HTTP/0.9")
		default:
			return false
		}
		if !isVersion(q.Protocol) {
			return false
		}
	}
	if q.Target == nil && e.path != nil {
		q.Target = escapePath(e.path)
		if len(e.query) > 0 {
			q.Target = append(append(q.Target, '?'), e.query...)
		}
	}
	if !isVersion(q.Protocol) {
		q.Protocol = nil
	}
	if usual := protocol(string(q.Protocol)); usual != nil {
		q.Protocol = usual // HTTP/2 is HTTP/2.0 elsewhere
	}
	return isToken(q.Method) && isTarget(q.Method, q.Target)
}

// place tells where the request went: from its own words, not from the server's name if they say it.
func (e *logEntry) place(q *traffic.Request) {
	host, said := traffic.Get(q.Headers, "Host")
	switch {
	case said:
		q.Authority = host
	case len(q.Target) > 0 && q.Target[0] != '/' && bytes.Contains(q.Target, []byte("://")):
		_, q.Authority, _, _ = splitURL(string(q.Target))
	case e.authority != nil:
		q.Authority = e.authority
	case e.serverName != nil && string(e.serverName) != "_" && string(e.serverName) != "localhost":
		q.Authority = e.serverName
	}
	switch {
	case e.scheme != nil:
		q.Scheme = e.scheme
	case e.https:
		q.Scheme = []byte("https")
	}
}

// requestBody sets the body, if the log has it. A log that does not cannot tell what a POST carried: unless it says that
// there was nothing, the request is flagged TRUNCATED_REQUEST, which keeps it from being replayed.
func (e *logEntry) requestBody(q *traffic.Request, bodyMax int) traffic.Flags {
	length := contentLength(q.Headers)
	q.BodySize = max(length, int64(len(e.body)))
	if e.body != nil {
		if q.Body = e.body[:min(len(e.body), bodyMax)]; int64(len(q.Body)) < q.BodySize {
			return traffic.TruncatedRequest
		}
		return 0
	}
	_, said := traffic.Get(q.Headers, "Content-Length")
	switch string(q.Method) {
	case "GET", "HEAD", "OPTIONS", "TRACE", "DELETE", "CONNECT":
		if length == 0 {
			return 0
		}
	default:
		if said && length == 0 {
			return 0
		}
	}
	return traffic.TruncatedRequest
}

// clientClosed is the status that nginx writes when the client left before it was answered.
const clientClosed = 499

func (e *logEntry) response(x *traffic.Exchange) (flags traffic.Flags) {
	if e.status < 100 || e.status > 999 {
		return traffic.NoResponse
	}
	r := &traffic.Response{Status: e.status, Headers: e.answered, BodySize: e.bodySize, Duration: e.took}
	x.Response = r
	if e.status == clientClosed {
		flags |= traffic.NoResponse
		e.left = true
	}
	if e.left {
		flags |= traffic.ClientAborted
	}
	if e.status == 101 {
		flags |= traffic.Upgraded
	}
	if r.BodySize == 0 && e.sentSize > 0 {
		r.BodySize = contentLength(r.Headers) // what was sent has the head in it
		if r.BodySize == 0 && e.status != 204 && e.status != 304 {
			r.BodySize = e.sentSize
		}
	}
	if r.BodySize > 0 && string(x.Request.Method) != "HEAD" {
		flags |= traffic.TruncatedResponse
	}
	return flags
}

// time is that of the first byte of the request, as well as the log can tell: where it gives the time of the end, less how
// long the request took.
func (e *logEntry) time() (time.Time, bool) {
	var t time.Time
	switch {
	case e.stamp > 0:
		t = time.Unix(0, int64(e.stamp))
	case len(e.layout) > 0:
		var err error
		text := strings.Join(e.text, " ")
		if t, err = time.Parse(strings.Join(e.layout, " "), text); err != nil {
			if t, err = time.Parse(time.RFC3339, text); err != nil { // $time_iso8601 where a well-known format has $time_local
				return t, false
			}
		}
	default:
		return t, false
	}
	t = t.Add(e.fraction)
	if e.atEnd {
		t = t.Add(-e.took)
	}
	return t.UTC(), t.Year() >= 1970 && t.Year() < 2262
}

func joinAddress(ip, port []byte) []byte {
	if ip == nil || port == nil {
		return ip
	}
	return []byte(net.JoinHostPort(string(ip), string(port)))
}

func isVersion(v []byte) bool {
	rest, ok := bytes.CutPrefix(v, []byte("HTTP/"))
	return ok && len(rest) > 0 && len(rest) <= 3 && len(bytes.Trim(rest, "0123456789.")) == 0
}

func isToken(s []byte) bool {
	return len(s) > 0 && len(s) <= 64 && !bytes.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	})
}

// isTarget reports whether a request target has one of its forms.
func isTarget(method, target []byte) bool {
	if len(target) == 0 || bytes.ContainsFunc(target, isSpaceOrControl) {
		return false
	}
	switch {
	case target[0] == '/', string(target) == "*" && string(method) == "OPTIONS":
		return true
	case string(method) == "CONNECT":
		return bytes.IndexByte(target, '/') < 0
	}
	_, _, _, err := splitURL(string(target))
	return err == nil
}

// escapePath escapes a path that the server had decoded.
func escapePath(path []byte) []byte {
	var b []byte
	for _, c := range path {
		if c <= ' ' || c >= 0x7f || c == '%' || c == '?' || c == '#' || c == '"' {
			b = fmt.Appendf(b, "%%%02X", c)
		} else {
			b = append(b, c)
		}
	}
	return b
}
