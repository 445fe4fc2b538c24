// Package filter decides which exchanges are wanted.
package filter

import (
	"time"

	"github.com/reprise-io/reprise/internal/traffic"
)

// Meta is what the Kafka headers of a record tell.
type Meta struct {
	Method, Path string
	Status       int
	Flags        traffic.Flags
	Time         time.Time
}

// Filter is one compiled rule; safe for concurrent use.
type Filter struct{ src string }

// Compile compiles an expression or a shorthand.
func Compile(src string) (*Filter, error) { return &Filter{src: src}, nil }

// Match reports whether x is matched.
func (f *Filter) Match(x *traffic.Exchange) (bool, error) { return true, nil }

// HeaderOnly reports whether MatchHeaders decides.
func (f *Filter) HeaderOnly() bool { return false }

// MatchHeaders decides from the Kafka headers.
func (f *Filter) MatchHeaders(m Meta) (bool, error) { return true, nil }

// String returns the source.
func (f *Filter) String() string { return f.src }

// Set is a list of includes and a list of excludes.
type Set struct{ include, exclude []*Filter }

// CompileSet compiles both lists.
func CompileSet(include, exclude []string) (*Set, error) { return &Set{}, nil }

// Keep reports whether x is wanted, and the rule that decided.
func (s *Set) Keep(x *traffic.Exchange) (bool, string) { return true, "" }

// HeaderOnly reports whether KeepHeaders decides.
func (s *Set) HeaderOnly() bool { return false }

// KeepHeaders decides from the Kafka headers.
func (s *Set) KeepHeaders(m Meta) (bool, string) { return true, "" }
