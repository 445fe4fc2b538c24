package filter

import (
	"cmp"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/reprise-io/reprise/internal/traffic"
)

// Set is a list of includes and a list of excludes: wanted is what an include matches, or everything when there is none,
// unless an exclude matches it. What cannot be evaluated is not wanted. A Set counts what each of its rules has
// decided. A nil Set wants everything.
type Set struct{ include, exclude []*Rule }

// Rule is a filter in a Set.
type Rule struct {
	Name string // for counters; empty: its place in the list, from 1
	*Filter

	decided atomic.Uint64
}

// Count is how many exchanges a rule of a Set has decided about.
type Count struct {
	List    string // "include" or "exclude"
	Rule    string
	Decided uint64
}

// NewSet makes a set of compiled rules.
func NewSet(include, exclude []*Rule) *Set { return &Set{include, exclude} }

// CompileSet compiles both lists. Errors are *fault.Error with code Usage.
func CompileSet(include, exclude []string) (*Set, error) {
	var s Set
	for _, list := range []struct {
		sources []string
		to      *[]*Rule
	}{{include, &s.include}, {exclude, &s.exclude}} {
		for _, src := range list.sources {
			f, err := Compile(src)
			if err != nil {
				return nil, err
			}
			*list.to = append(*list.to, &Rule{Filter: f})
		}
	}
	return &s, nil
}

// Keep reports whether x is wanted, and the source of the rule that decided; "" when no rule matched.
func (s *Set) Keep(x *traffic.Exchange) (bool, string) {
	keep, r := s.decide(func(f *Filter) (bool, error) { return f.Match(x) })
	return keep, r.count()
}

// HeaderOnly reports whether KeepHeaders decides.
func (s *Set) HeaderOnly() bool {
	if s == nil {
		return true
	}
	for _, list := range [][]*Rule{s.include, s.exclude} {
		for _, f := range list {
			if !f.HeaderOnly() {
				return false
			}
		}
	}
	return true
}

// KeepHeaders decides from the Kafka headers; only where HeaderOnly says so. What it wants is not counted: Keep follows.
func (s *Set) KeepHeaders(m Meta) (bool, string) {
	keep, r := s.decide(func(f *Filter) (bool, error) { return f.MatchHeaders(m) })
	if !keep {
		return false, r.count()
	}
	return true, ""
}

// decide also returns the rule that decided; nil: none did.
func (s *Set) decide(match func(*Filter) (bool, error)) (bool, *Rule) {
	if s == nil {
		return true, nil
	}
	for _, r := range s.exclude {
		if ok, err := match(r.Filter); ok || err != nil {
			return false, r
		}
	}
	for _, r := range s.include {
		if ok, err := match(r.Filter); ok && err == nil {
			return true, r
		}
	}
	return len(s.include) == 0, nil
}

// count notes that the rule has decided, and returns its source.
func (r *Rule) count() string {
	if r == nil {
		return ""
	}
	r.decided.Add(1)
	return r.src
}

// Decision is which rule of a Set decided, for people. The zero value: none did.
type Decision struct {
	List   string // "include" or "exclude"
	Rule   string // its name, else its place in the list, from 1
	Source string
}

// Decide is Keep, uncounted, with all about the rule that decided.
func (s *Set) Decide(x *traffic.Exchange) (bool, Decision) {
	keep, r := s.decide(func(f *Filter) (bool, error) { return f.Match(x) })
	if r == nil {
		return keep, Decision{}
	}
	list, name := s.nameOf(r)
	return keep, Decision{list, name, r.src}
}

func (s *Set) nameOf(r *Rule) (list, name string) {
	list, i := "include", slices.Index(s.include, r)
	if i < 0 {
		list, i = "exclude", slices.Index(s.exclude, r)
	}
	return list, cmp.Or(r.Name, strconv.Itoa(i+1))
}

// Uncounted returns a set that decides the same, for a look ahead that is not to show in s.
func (s *Set) Uncounted() *Set {
	if s == nil {
		return nil
	}
	again := func(rules []*Rule) (all []*Rule) {
		for _, r := range rules {
			all = append(all, &Rule{Name: r.Name, Filter: r.Filter})
		}
		return all
	}
	return NewSet(again(s.include), again(s.exclude))
}

// Counts returns what each rule has decided, in order.
func (s *Set) Counts() (all []Count) {
	if s == nil {
		return nil
	}
	for _, rules := range [][]*Rule{s.include, s.exclude} {
		for _, r := range rules {
			list, name := s.nameOf(r)
			all = append(all, Count{list, name, r.decided.Load()})
		}
	}
	return all
}
