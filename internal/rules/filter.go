package rules

import (
	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/yamlfile"
)

// Filter is the section that chooses exchanges.
type Filter struct {
	Include []Match `yaml:"include" doc:"only what one of these matches; none: everything"`
	Exclude []Match `yaml:"exclude" doc:"nothing that one of these matches; stronger than include"`
}

// Match is one filter.
type Match struct {
	Text string `yaml:",text" doc:"METHOD and path ('GET /api/**') or an expression (status >= 500)"`
}

// Check implements yamlfile.Checker.
func (m *Match) Check(f *yamlfile.File) {
	if _, err := filter.Compile(m.Text); err != nil {
		f.At(&m.Text, "%s", err)
	}
}

// Set compiles the section; nil: everything is wanted.
func (s *Filter) Set() (*filter.Set, error) {
	if len(s.Include)+len(s.Exclude) == 0 {
		return nil, nil //nolint:nilnil // no filter is one
	}
	include, err := compile(s.Include)
	if err != nil {
		return nil, err
	}
	exclude, err := compile(s.Exclude)
	if err != nil {
		return nil, err
	}
	return filter.NewSet(include, exclude), nil
}

func compile(matches []Match) (all []*filter.Rule, err error) {
	for i := range matches {
		f, err := filter.Compile(matches[i].Text)
		if err != nil {
			return nil, err
		}
		all = append(all, &filter.Rule{Filter: f})
	}
	return all, nil
}
