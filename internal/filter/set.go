package filter

import "github.com/reprise-io/reprise/internal/traffic"

// Set is a list of includes and a list of excludes: wanted is what an include matches, or everything when there is none,
// unless an exclude matches it. What cannot be evaluated is not wanted.
type Set struct{ include, exclude []*Filter }

// CompileSet compiles both lists. Errors are *fault.Error with code Usage.
func CompileSet(include, exclude []string) (*Set, error) {
	var s Set
	for _, list := range []struct {
		sources []string
		to      *[]*Filter
	}{{include, &s.include}, {exclude, &s.exclude}} {
		for _, src := range list.sources {
			f, err := Compile(src)
			if err != nil {
				return nil, err
			}
			*list.to = append(*list.to, f)
		}
	}
	return &s, nil
}

// Keep reports whether x is wanted, and the source of the rule that decided; "" when no rule matched.
func (s *Set) Keep(x *traffic.Exchange) (bool, string) {
	return s.decide(func(f *Filter) (bool, error) { return f.Match(x) })
}

// HeaderOnly reports whether KeepHeaders decides.
func (s *Set) HeaderOnly() bool {
	for _, list := range [][]*Filter{s.include, s.exclude} {
		for _, f := range list {
			if !f.HeaderOnly() {
				return false
			}
		}
	}
	return true
}

// KeepHeaders decides from the Kafka headers; only where HeaderOnly says so.
func (s *Set) KeepHeaders(m Meta) (bool, string) {
	return s.decide(func(f *Filter) (bool, error) { return f.MatchHeaders(m) })
}

func (s *Set) decide(match func(*Filter) (bool, error)) (bool, string) {
	for _, f := range s.exclude {
		if ok, err := match(f); ok || err != nil {
			return false, f.src
		}
	}
	for _, f := range s.include {
		if ok, err := match(f); ok && err == nil {
			return true, f.src
		}
	}
	return len(s.include) == 0, ""
}
