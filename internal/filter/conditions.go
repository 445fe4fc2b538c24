package filter

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/size"
	"github.com/reprise-io/reprise/internal/traffic"
)

// Conditions are a filter written key by key: what is given must all hold, of a list one entry. The zero value matches all.
type Conditions struct {
	Methods []string          // "GET"
	Hosts   []string          // globs over the whole host, without its port unless they name one: "*.shop.example"
	Paths   []string          // globs as in a shorthand: "/api/**"
	Headers map[string]string // of the request: a glob over the value of one field of that name
	Status  []string          // "404", "2xx", "200-399"; an exchange without an answer has none
	Size    string            // of the request's body: "<64KiB", ">1MiB", "1KiB-64KiB"
	Sources []string          // "proxy", "mirror" …
	Expr    string            // an expression
}

// Compile compiles the conditions. The error joins a *fault.Error for each that is bad, which Field names.
func (c *Conditions) Compile() (*Filter, error) {
	f := &Filter{src: c.String(), methods: c.Methods, rest: &rest{sources: c.Sources}}
	var wrong []error
	note := func(field string, err error) {
		if err != nil {
			wrong = append(wrong, &FieldError{field, err})
		}
	}
	for _, m := range c.Methods {
		if !regexp.MustCompile(`^[A-Z][A-Z-]*$`).MatchString(m) {
			note("method", fmt.Errorf("%q is no method: want GET, POST …", m))
		}
	}
	for _, h := range c.Hosts {
		note("host", checkGlob(h))
		f.rest.hosts = append(f.rest.hosts, strings.ToLower(h))
	}
	for _, p := range c.Paths {
		if !strings.HasPrefix(p, "/") {
			note("path", fmt.Errorf("%q is no path: it begins with a slash, as /api/**", p))
			continue
		}
		f.paths = append(f.paths, newGlob(p))
	}
	for name, value := range c.Headers {
		note("header", checkHeader(name, value))
		f.rest.headers = append(f.rest.headers, headerGlob{name, value})
	}
	for _, s := range c.Status {
		span, err := parseStatus(s)
		note("status", err)
		f.rest.statuses = append(f.rest.statuses, span)
	}
	if c.Size != "" {
		span, err := parseSize(c.Size)
		note("size", err)
		f.rest.size = &span
	}
	for _, s := range c.Sources {
		if !slices.Contains(sourceNames(), s) {
			note("source", fmt.Errorf("%q is no source: want %s", s, strings.Join(sourceNames(), ", ")))
		}
	}
	if c.Expr != "" {
		var err error
		f.expr, err = compile(c.Expr)
		note("expr", err)
	}
	if len(c.String()) > maxSource {
		note("", fault.BadUsage("a filter is too long", fmt.Sprintf("at most %d bytes are read", maxSource), "several filters"))
	}
	return f, errors.Join(wrong...)
}

// FieldError is what is wrong with one of the Conditions.
type FieldError struct {
	Field string // "method", "host", "path", "header", "status", "size", "source", "expr"; empty: with all together
	Err   error
}

func (e *FieldError) Error() string { return e.Err.Error() }

// Unwrap returns the wrapped error.
func (e *FieldError) Unwrap() error { return e.Err }

// FieldErrors are those that Compile joined.
func FieldErrors(err error) (all []*FieldError) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			if f, ok := errors.AsType[*FieldError](e); ok {
				all = append(all, f)
			}
		}
	}
	return all
}

// String writes the conditions in one line, for people.
func (c *Conditions) String() string {
	var parts []string
	put := func(name string, values ...string) {
		if text := strings.Join(values, ","); text != "" {
			parts = append(parts, name+"="+text)
		}
	}
	put("method", c.Methods...)
	put("host", c.Hosts...)
	put("path", c.Paths...)
	var headers []string
	for name, value := range c.Headers {
		headers = append(headers, name+":"+value)
	}
	slices.Sort(headers)
	put("header", headers...)
	put("status", c.Status...)
	put("size", c.Size)
	put("source", c.Sources...)
	put("expr", c.Expr)
	return strings.Join(parts, " ")
}

// rest is what the Kafka headers do not tell, and the status.
type rest struct {
	hosts    []string // nil: any, as for all below
	headers  []headerGlob
	statuses []span
	size     *span
	sources  []string
}

type headerGlob struct{ name, value string }

// span is a range with both its ends.
type span struct{ from, to int64 }

func within(spans []span, n int64) bool {
	return spans == nil || slices.ContainsFunc(spans, func(s span) bool { return s.from <= n && n <= s.to })
}

func (r *rest) headerOnly() bool {
	return r.hosts == nil && r.headers == nil && r.size == nil && r.sources == nil
}

func (r *rest) match(x *traffic.Exchange) bool {
	status := 0
	if x.Response != nil {
		status = x.Response.Status
	}
	switch {
	case !within(r.statuses, int64(status)),
		r.size != nil && !within([]span{*r.size}, x.Request.BodySize),
		r.sources != nil && !slices.Contains(r.sources, x.Source.Kind.String()),
		r.hosts != nil && !r.matchHost(x.Request.Authority):
		return false
	}
	for _, h := range r.headers {
		if !slices.ContainsFunc(x.Request.Headers, func(f traffic.Field) bool {
			return traffic.EqualName(f.Name, h.name) && matchSegment(h.value, string(f.Value))
		}) {
			return false
		}
	}
	return true
}

func (r *rest) matchHost(authority []byte) bool {
	whole := strings.ToLower(string(bytes.TrimSuffix(authority, []byte("."))))
	host := whole
	if colon := strings.LastIndexByte(whole, ':'); colon > strings.LastIndexByte(whole, ']') {
		host = strings.TrimSuffix(whole[:colon], ".")
	}
	return slices.ContainsFunc(r.hosts, func(glob string) bool { return matchSegment(glob, host) || matchSegment(glob, whole) })
}

func checkGlob(s string) error {
	if s == "" || strings.ContainsAny(s, " /\t") {
		return fmt.Errorf("%q is no host: want a name, an address or *.shop.example", s)
	}
	return nil
}

func checkHeader(name, value string) error {
	if !regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$").MatchString(name) {
		return fmt.Errorf("%q is no name of a header", name)
	}
	if value == "" {
		return fmt.Errorf("header %s has an empty value: * is any", name)
	}
	return nil
}

func parseStatus(s string) (span, error) {
	if class, ok := strings.CutSuffix(strings.ToLower(s), "xx"); ok && len(class) == 1 && class[0] >= '1' && class[0] <= '5' {
		from := int64(class[0]-'0') * 100
		return span{from, from + 99}, nil
	}
	from, to, ranged := strings.Cut(s, "-")
	if !ranged {
		to = from
	}
	a, errA := strconv.Atoi(strings.TrimSpace(from))
	b, errB := strconv.Atoi(strings.TrimSpace(to))
	if errA != nil || errB != nil || a < 100 || b > 999 || a > b {
		return span{}, fmt.Errorf("%q is no status: want 404, 2xx or 200-399", s)
	}
	return span{int64(a), int64(b)}, nil
}

func parseSize(s string) (span, error) {
	bad := fmt.Errorf("%q is no range of sizes: want <64KiB, >1MiB or 1KiB-64KiB", s)
	text := strings.TrimSpace(s)
	open := span{0, math.MaxInt64}
	for _, form := range []struct {
		sign     string
		to       *int64
		adjusted int64
	}{{"<=", &open.to, 0}, {">=", &open.from, 0}, {"<", &open.to, -1}, {">", &open.from, 1}} {
		number, ok := strings.CutPrefix(text, form.sign)
		if !ok {
			continue
		}
		n, err := size.Parse(strings.TrimSpace(number))
		if err != nil || n+form.adjusted < 0 {
			return span{}, bad
		}
		*form.to = n + form.adjusted
		return open, nil
	}
	from, to, ranged := strings.Cut(text, "-")
	if !ranged {
		to = from
	}
	a, errA := size.Parse(strings.TrimSpace(from))
	b, errB := size.Parse(strings.TrimSpace(to))
	if errA != nil || errB != nil || a > b {
		return span{}, bad
	}
	return span{a, b}, nil
}

func sourceNames() (names []string) {
	for _, k := range []traffic.SourceKind{traffic.Proxy, traffic.Mirror, traffic.ExtProc, traffic.Ingest, traffic.Sniff, traffic.Import} {
		names = append(names, k.String())
	}
	return names
}
