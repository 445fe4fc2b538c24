package importer

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/traffic"
)

// entryReader turns the entries of a HAR into exchanges.
type entryReader struct {
	file  *File
	hash  [16]byte
	index uint64    // of the last entry that was a request
	last  time.Time // capture time of the last entry; at first the file's own time
}

var (
	errNotHTTP   = errors.New("not a request on the wire")
	errNoRequest = errors.New("entry has no request")
	errLongURL   = errors.New("request has a URL of many MiB")
	errNoMethod  = errors.New("request has no method, or one with white space in it")
)

func (r *entryReader) exchange(e *harEntry) (*traffic.Exchange, error) {
	if e.Request != nil && isLocalURL(e.Request.URL.text) {
		return nil, errNotHTTP
	}
	r.index++
	if e.Request == nil {
		return nil, errNoRequest
	}
	x := r.file.newExchange(r.hash, r.index)
	x.CaptureTime = r.time(e.Started.text)
	if err := r.request(x, e.Request); err != nil {
		return nil, err
	}
	if err := r.response(x, e); err != nil {
		return nil, err
	}
	x.Connection = traffic.Connection{ID: []byte(e.Connection.text), Server: serverAddress(e.Server.text, &x.Request)}
	if e.FromCache.text != "" {
		x.Flags |= traffic.LocalReply // production did not answer this
	}
	return x, nil
}

// time is when an entry started. One that does not say gets 1 ms more than the one before it, and the first the time the
// file was written: files made by hand have no times, and their order is what counts.
func (r *entryReader) time(started string) time.Time {
	t, ok := harTime(started)
	switch {
	case ok:
	case r.index == 1:
		t = r.last
	default:
		t = r.last.Add(time.Millisecond)
	}
	r.last = t
	return t.UTC()
}

func (r *entryReader) request(x *traffic.Exchange, sent *harSent) error {
	q := &x.Request
	q.Method = []byte(sent.Method.text)
	if len(q.Method) == 0 || bytes.ContainsFunc(q.Method, isSpaceOrControl) {
		return errNoMethod
	}
	if sent.URL.cut {
		return errLongURL
	}
	var err error
	if q.Scheme, q.Authority, q.Target, err = splitURL(sent.URL.text); err != nil {
		return err
	}
	q.Protocol = protocol(sent.Version.text)
	if q.Headers, err = harFields(sent.Headers); err != nil {
		return err
	}
	if string(q.Method) == "CONNECT" {
		x.Flags |= traffic.Connect
	}
	if (&traffic.Request{Headers: q.Headers}).HostInDoubt() { // the URL's host may be a browser's idea, not the wire's
		x.Flags |= traffic.AmbiguousFraming
	}
	body, known := []byte(nil), false
	b := sent.Body
	if b != nil && (b.Text.text != "" || b.Text.has && !bool(b.Params)) {
		body, known = b.bytes(b.mediaType(q.Headers), sent.BodySize.size(), uncodedLength(q.Headers))
	}
	switch {
	case known:
		q.BodySize = int64(len(body))
		q.Headers = b.withoutCoding(q.Headers, body, sent.BodySize.size())
		if b.Text.cut {
			q.BodySize = max(q.BodySize, sent.BodySize.size(), contentLength(q.Headers))
			x.Flags |= traffic.TruncatedRequest
		}
		if q.Body = body; len(body) > r.file.bodyMax {
			q.Body = bytes.Clone(body[:r.file.bodyMax])
			x.Flags |= traffic.TruncatedRequest
		}
	case b != nil && (bool(b.Params) || b.Text.has) || sent.BodySize.size() > 0 || contentLength(q.Headers) > 0:
		// There was a body, and the file does not have its bytes: form fields or a size are not what was sent.
		q.BodySize = max(sent.BodySize.size(), contentLength(q.Headers))
		x.Flags |= traffic.TruncatedRequest
	}
	return nil
}

func (r *entryReader) response(x *traffic.Exchange, e *harEntry) error {
	got := e.Response
	if got == nil || !got.Status.has {
		x.Flags |= traffic.RequestOnly
		return nil
	}
	status := int(got.Status.number)
	if got.Status.number > 999 {
		return fmt.Errorf("response has status %v", got.Status.number)
	}
	if status <= 0 { // the browser got no answer: blocked, cancelled or failed; below 0 are creators' own codes of why
		x.Response = &traffic.Response{}
		x.Flags |= traffic.NoResponse
		return nil
	}
	p := &traffic.Response{Status: status, Protocol: protocol(got.Version.text), Duration: e.Time.milliseconds()}
	x.Response = p
	if e.Timings != nil {
		p.TTFB = e.Timings.Wait.milliseconds()
	}
	if status == 101 {
		x.Flags |= traffic.Upgraded
	}
	var err error
	if p.Headers, err = harFields(got.Headers); err != nil {
		return err
	}
	body, known := []byte(nil), false
	if got.Content != nil && got.Content.Text.has {
		body, known = got.Content.bytes(got.Content.mediaType(p.Headers), got.Content.Size.size(), uncodedLength(p.Headers))
	}
	switch {
	case known && len(body) > 0:
		p.BodySize = int64(len(body))
		p.Headers = got.Content.withoutCoding(p.Headers, body, got.BodySize.size())
		if got.Content.Text.cut {
			p.BodySize = max(p.BodySize, got.Content.Size.size())
			x.Flags |= traffic.TruncatedResponse
		}
		if p.Body = body; len(body) > r.file.bodyMax {
			p.Body = bytes.Clone(body[:r.file.bodyMax])
			x.Flags |= traffic.TruncatedResponse
		}
	case got.Content != nil && (!known && got.Content.Text.has || got.Content.Size.size() > 0):
		p.BodySize = got.Content.Size.size()
		if string(x.Request.Method) != "HEAD" {
			x.Flags |= traffic.TruncatedResponse
		}
	}
	return nil
}

// harFields reads headers. Pseudo headers of HTTP/2 are left out: the URL and the method have them, and so is the request
// line. A value with line breaks is how browsers write several fields of one name.
func harFields(list []harField) ([]traffic.Field, error) {
	fields := make([]traffic.Field, 0, len(list))
	for i, f := range list {
		name := f.Name.text
		if strings.HasPrefix(name, ":") || i == 0 && isRequestLine(name, f.Value.text) || name == "" && f.Value.text == "" {
			continue
		}
		if name == "" || strings.ContainsFunc(name, isSpaceOrControl) || strings.Contains(name, ":") {
			return nil, fmt.Errorf("header has name %q", clip([]byte(name)))
		}
		if f.Value.cut {
			return nil, fmt.Errorf("header %s has a value of many MiB", clip([]byte(name)))
		}
		for value := range strings.SplitSeq(f.Value.text, "\n") {
			value = strings.Map(func(r rune) rune {
				if r == '\r' || r == 0 {
					return -1
				}
				return r
			}, value)
			fields = append(fields, traffic.Field{Name: []byte(name), Value: []byte(value)})
		}
	}
	return fields, nil
}

// isRequestLine reports whether a creator took the request line for a field, cut at a colon in its target (WebPageTest).
func isRequestLine(name, value string) bool {
	return strings.Contains(name, " ") && (strings.HasSuffix(value, " HTTP/1.1") || strings.HasSuffix(value, " HTTP/1.0"))
}

// isLocalURL reports whether a browser finds what a URL names without a request.
func isLocalURL(url string) bool {
	for _, scheme := range [...]string{
		"data:", "blob:", "about:", "javascript:", "file:", "chrome:", "chrome-extension:", "moz-extension:", "safari-web-extension:",
	} {
		if len(url) >= len(scheme) && strings.EqualFold(url[:len(scheme)], scheme) {
			return true
		}
	}
	return false
}

// splitURL cuts a URL where its delimiters are, whatever stands between them: files have ${proto}://host too. User and
// password never were in a request line or Host header, and a fragment is not sent.
func splitURL(url string) (scheme, authority, target []byte, err error) {
	s, rest, ok := strings.Cut(url, "://")
	if !ok {
		return nil, nil, nil, fmt.Errorf("request has URL %q, want SCHEME://HOST", clip([]byte(url)))
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host, path := rest[:end], rest[end:]
	host = host[strings.LastIndexByte(host, '@')+1:]
	if host == "" || strings.ContainsFunc(host, isSpaceOrControl) {
		return nil, nil, nil, errors.New("request has a URL without a host")
	}
	path, _, _ = strings.Cut(path, "#")
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return []byte(s), []byte(host), escapeTarget(path), nil
}

// escapeTarget escapes what cannot stand on a request line; browsers show some URLs unescaped.
func escapeTarget(path string) []byte {
	if !strings.ContainsFunc(path, isSpaceOrControl) {
		return []byte(path)
	}
	var b []byte
	for i := range len(path) {
		if c := path[i]; c <= ' ' || c == 0x7f {
			b = fmt.Appendf(b, "%%%02X", c)
		} else {
			b = append(b, c)
		}
	}
	return b
}

func isSpaceOrControl(r rune) bool { return r <= ' ' || r == 0x7f }

// protocol writes the many spellings of a version in one way, that of the other sources. An unknown one is left out.
func protocol(version string) []byte {
	switch v := strings.ToLower(strings.TrimSpace(version)); v {
	case "http/1.0", "http/1.1":
		return []byte(strings.ToUpper(v))
	case "http/2.0", "http/2", "h2", "h2c":
		return []byte("HTTP/2.0")
	case "http/3.0", "http/3", "h3":
		return []byte("HTTP/3.0")
	case "http/0.9":
		return []byte("HTTP/0.9")
	}
	return nil
}

// serverAddress joins the server's address with the port of the URL.
func serverAddress(ip string, r *traffic.Request) []byte {
	ip = strings.Trim(ip, "[]")
	if net.ParseIP(ip) == nil {
		return nil
	}
	_, port, err := net.SplitHostPort(string(r.Authority))
	switch {
	case err == nil && port != "":
	case string(r.Scheme) == "https" || string(r.Scheme) == "wss":
		port = "443"
	default:
		port = "80"
	}
	return []byte(net.JoinHostPort(ip, port))
}
