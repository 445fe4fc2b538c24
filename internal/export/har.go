package export

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/reprise-io/reprise/internal/traffic"
)

// har writes one HTTP Archive 1.2, entry by entry. Fields of our own begin with _, as its definition asks for.
type har struct {
	creator string
	entries int
}

type harPair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type harEntry struct {
	Started    string      `json:"startedDateTime"`
	Time       float64     `json:"time"` // ms
	Request    harRequest  `json:"request"`
	Response   harResponse `json:"response"`
	Cache      struct{}    `json:"cache"`
	Timings    harTimings  `json:"timings"`
	Connection string      `json:"connection,omitempty"`
	ID         string      `json:"_id"`
	Flags      []string    `json:"_flags,omitempty"`
}

type harRequest struct {
	Method      string    `json:"method"`
	URL         string    `json:"url"`
	HTTPVersion string    `json:"httpVersion"`
	Cookies     []harPair `json:"cookies"`
	Headers     []harPair `json:"headers"`
	Query       []harPair `json:"queryString"`
	PostData    *harText  `json:"postData,omitempty"`
	HeadersSize int       `json:"headersSize"` // -1: not known
	BodySize    int64     `json:"bodySize"`
}

type harResponse struct {
	Status      int        `json:"status"` // 0: there was none
	StatusText  string     `json:"statusText"`
	HTTPVersion string     `json:"httpVersion"`
	Cookies     []harPair  `json:"cookies"`
	Headers     []harPair  `json:"headers"`
	Content     harContent `json:"content"`
	RedirectURL string     `json:"redirectURL"`
	HeadersSize int        `json:"headersSize"`
	BodySize    int64      `json:"bodySize"`
}

// harText is a request's body. HAR knows no encoding there; _encoding is how others say it too.
type harText struct {
	MimeType string `json:"mimeType"`
	Text     string `json:"text"`
	Encoding string `json:"_encoding,omitempty"`
}

type harContent struct {
	Size     int64  `json:"size"`
	MimeType string `json:"mimeType"`
	Text     string `json:"text,omitempty"`
	Encoding string `json:"encoding,omitempty"`
}

// harTimings are in ms; -1 is not known.
type harTimings struct {
	Send    float64 `json:"send"`
	Wait    float64 `json:"wait"`
	Receive float64 `json:"receive"`
}

func (h *har) begin(w *bufio.Writer) {
	name, version, _ := strings.Cut(h.creator, " ")
	fmt.Fprintf(w, "{\"log\":{\"version\":\"1.2\",\"creator\":{\"name\":%s,\"version\":%s},\"entries\":[", asJSON(name), asJSON(version))
}

func (h *har) end(w *bufio.Writer) { _, _ = w.WriteString("\n]}}\n") }

func (h *har) exchange(w *bufio.Writer, x *traffic.Exchange) bool {
	e := harEntry{
		Started: x.CaptureTime.UTC().Format(time.RFC3339Nano), Request: harRequestOf(&x.Request), Response: harResponseOf(x),
		Timings: harTimings{0, -1, -1}, Connection: latin(x.Connection.ID), ID: x.ID.String(), Flags: x.Flags.Names(),
	}
	if p := x.Response; p != nil {
		e.Time = millis(p.Duration)
		e.Timings = harTimings{0, millis(p.TTFB), millis(max(0, p.Duration-p.TTFB))}
	}
	if h.entries++; h.entries > 1 {
		_ = w.WriteByte(',')
	}
	_ = w.WriteByte('\n')
	_, _ = w.WriteString(asJSON(e))
	return true
}

func harRequestOf(r *traffic.Request) harRequest {
	base, path := address(r, "")
	q := harRequest{
		Method: latin(r.Method), URL: base + latin(path), HTTPVersion: latin(r.Protocol), Cookies: []harPair{}, Headers: harPairs(r.Headers),
		Query: []harPair{}, HeadersSize: -1, BodySize: r.BodySize,
	}
	if _, query, ok := bytes.Cut(path, []byte("?")); ok {
		q.Query = harQuery(latin(query))
	}
	for _, f := range r.Headers {
		if strings.EqualFold(string(f.Name), "Cookie") {
			q.Cookies = append(q.Cookies, harCookies(latin(f.Value))...)
		}
	}
	if len(r.Body) > 0 {
		q.PostData = &harText{MimeType: contentType(r.Headers)}
		if utf8.Valid(r.Body) {
			q.PostData.Text = string(r.Body)
		} else {
			q.PostData.Text, q.PostData.Encoding = base64.StdEncoding.EncodeToString(r.Body), "base64"
		}
	}
	return q
}

func harResponseOf(x *traffic.Exchange) harResponse {
	p := x.Response
	if p == nil {
		return harResponse{
			HTTPVersion: latin(x.Request.Protocol), Cookies: []harPair{}, Headers: []harPair{}, Content: harContent{MimeType: "x-unknown"},
			HeadersSize: -1, BodySize: -1,
		}
	}
	h := harResponse{
		Status: p.Status, StatusText: http.StatusText(p.Status), HTTPVersion: latin(p.Protocol), Cookies: []harPair{}, Headers: harPairs(p.Headers),
		Content: harContent{MimeType: contentType(p.Headers)}, HeadersSize: -1, BodySize: p.BodySize,
	}
	if h.HTTPVersion == "" {
		h.HTTPVersion = latin(x.Request.Protocol)
	}
	if to, ok := traffic.Get(p.Headers, "Location"); ok {
		h.RedirectURL = latin(to)
	}
	for _, f := range p.Headers {
		if strings.EqualFold(string(f.Name), "Set-Cookie") {
			first, _, _ := strings.Cut(latin(f.Value), ";")
			h.Cookies = append(h.Cookies, harCookies(first)...)
		}
	}
	// Content is the body without its coding, where that can be taken off whole.
	body := p.Body
	if int64(len(body)) >= p.BodySize {
		body = decoded(p.Headers, body)
	}
	h.Content.Size = int64(len(body))
	if int64(len(p.Body)) < p.BodySize {
		h.Content.Size = p.BodySize
	}
	if utf8.Valid(body) {
		h.Content.Text = string(body)
	} else {
		h.Content.Text, h.Content.Encoding = base64.StdEncoding.EncodeToString(body), "base64"
	}
	return h
}

func contentType(fields []traffic.Field) string {
	if t, ok := traffic.Get(fields, "Content-Type"); ok {
		return latin(t)
	}
	return "application/octet-stream"
}

func harPairs(fields []traffic.Field) []harPair {
	pairs := make([]harPair, 0, len(fields))
	for _, f := range fields {
		pairs = append(pairs, harPair{latin(f.Name), latin(f.Value)})
	}
	return pairs
}

func harQuery(query string) []harPair {
	pairs := []harPair{}
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		pairs = append(pairs, harPair{unescape(name), unescape(value)})
	}
	return pairs
}

// unescape leaves what is not escaped well as it stands.
func unescape(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil && utf8.ValidString(plain) {
		return plain
	}
	return s
}

func harCookies(line string) []harPair {
	pairs := []harPair{}
	for part := range strings.SplitSeq(line, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if name != "" {
			pairs = append(pairs, harPair{name, value})
		}
	}
	return pairs
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// asJSON encodes v on one line. Control characters from U+007F to U+009F are escaped too, so that a terminal does not obey them.
func asJSON(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "null" // no value that is given here can fail
	}
	text := strings.TrimSuffix(b.String(), "\n")
	if strings.IndexFunc(text, isControl) < 0 {
		return text
	}
	var out strings.Builder
	for _, r := range text {
		if isControl(r) {
			fmt.Fprintf(&out, `\u%04x`, r)
			continue
		}
		out.WriteRune(r)
	}
	return out.String()
}

func isControl(r rune) bool { return r >= 0x7f && r < 0xa0 }
