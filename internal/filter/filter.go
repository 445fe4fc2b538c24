// Package filter decides which exchanges are wanted. One language is used everywhere: expressions over an exchange
// (`method == "POST" && path startsWith "/api"`), and the shorthand 'POST /api/**' for the most frequent ones.
//
// Expressions know these names:
//
//	method path status flags time            also told by a record's Kafka headers, so no decoding is needed
//	host query target source session client server body   text
//	size duration_ms                         bytes of the request body; milliseconds to the last response byte
//	header("name") response_header("name")   first value of that field, "" without one
//
// A shorthand is METHOD[,METHOD…], a path glob, or both. In a glob * stands for anything within a segment, ? for one
// character of it, and ** for any number of segments, none included: /api/** matches /api and /api/a/b. It is compared
// with the path as it was sent, after dot segments are resolved as a server would: /api/../admin is /admin.
//
// Conditions are the same written key by key, for files.
package filter

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
)

// Meta is what the Kafka headers of a record tell.
type Meta struct {
	Method, Path string
	Status       int // 0: no response
	Flags        traffic.Flags
	Time         time.Time
}

// Filter is one compiled rule; safe for concurrent use.
type Filter struct {
	src     string
	methods []string // nil: any
	paths   []glob   // one of them must match; nil: any
	rest    *rest    // what is neither shorthand nor expression; nil: nothing
	expr    *expression
}

// maxSource bounds a rule's length, in bytes.
const maxSource = 16 << 10

// Compile compiles an expression or a shorthand. Errors are *fault.Error with code Usage.
func Compile(src string) (*Filter, error) {
	src = strings.TrimSpace(src)
	switch {
	case src == "":
		return nil, fault.BadUsage("empty filter", "", `'GET /api/**', or an expression such as 'status >= 500'`)
	case len(src) > maxSource:
		return nil, fault.BadUsage(fmt.Sprintf("filter of %d bytes is too long", len(src)), fmt.Sprintf("at most %d are read", maxSource), "several filters")
	}
	f := &Filter{src: src}
	if f.shorthand() {
		return f, nil
	}
	var err error
	if f.expr, err = compile(src); err != nil {
		if meant := mistaken(src); meant != nil {
			err = meant
		}
		return nil, err
	}
	return f, nil
}

// shorthand reads src as one, if it has the form of one.
func (f *Filter) shorthand() bool {
	// Compiled here and not once: filters are compiled at the start only.
	form := regexp.MustCompile(`^(?:(\*|[A-Z]+(?:,[A-Z]+)*)(?:\s+|$))?(/\S*)?$`)
	m := form.FindStringSubmatch(f.src)
	if m == nil {
		return false
	}
	if m[1] != "" && m[1] != "*" {
		f.methods = strings.Split(m[1], ",")
	}
	if m[2] != "" {
		f.paths = []glob{newGlob(m[2])}
	}
	return true
}

// Match reports whether x is matched. An error means that the expression cannot be evaluated for x.
func (f *Filter) Match(x *traffic.Exchange) (bool, error) {
	if !f.matchBytes(x.Request.Method, pathOf(x.Request.Target)) || f.rest != nil && !f.rest.match(x) {
		return false, nil
	}
	if f.expr != nil {
		return f.expr.match(x)
	}
	return true, nil
}

// HeaderOnly reports whether MatchHeaders decides.
func (f *Filter) HeaderOnly() bool {
	return (f.rest == nil || f.rest.headerOnly()) && (f.expr == nil || f.expr.headerOnly())
}

// MatchHeaders decides from the Kafka headers; only where HeaderOnly says so.
func (f *Filter) MatchHeaders(m Meta) (bool, error) {
	if !f.matchBytes([]byte(m.Method), []byte(m.Path)) || f.rest != nil && !within(f.rest.statuses, int64(m.Status)) {
		return false, nil
	}
	if f.expr != nil {
		return f.expr.matchMeta(m)
	}
	return true, nil
}

func (f *Filter) matchBytes(method, path []byte) bool {
	if f.methods != nil && !contains(f.methods, method) {
		return false
	}
	if f.paths == nil {
		return true
	}
	for _, g := range f.paths {
		if g.match(string(path)) {
			return true
		}
	}
	return false
}

// contains compares without allocating.
func contains(methods []string, method []byte) bool {
	for _, m := range methods {
		if m == string(method) {
			return true
		}
	}
	return false
}

// String returns the source.
func (f *Filter) String() string { return f.src }
