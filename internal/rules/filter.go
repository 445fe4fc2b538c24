package rules

import (
	"regexp"

	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/yamlfile"
)

// Filter is the section that chooses exchanges.
type Filter struct {
	Include []Match `yaml:"include" doc:"only what one of these matches; none: everything"`
	Exclude []Match `yaml:"exclude" doc:"nothing that one of these matches; stronger than include"`
}

// Match is one filter: a line, or keys that must all hold.
type Match struct {
	Text   string            `yaml:",text" doc:"METHOD and path ('GET /api/**') or an expression (status >= 500)"`
	Name   string            `yaml:"name" doc:"what it is called in metrics and reports; default: its place in the list"`
	Method []string          `yaml:"method" doc:"methods, one of which it is: [GET, HEAD]"`
	Host   []string          `yaml:"host" doc:"hosts, one of which it is for: shop.example, '*.shop.example', shop.example:8443"`
	Path   []string          `yaml:"path" doc:"path globs, one of which matches: /api/**"`
	Header map[string]string `yaml:"header" doc:"request headers and their values, all of which it has; * is any value, prod* a beginning"`
	Status []string          `yaml:"status" doc:"statuses, one of which is the answer's: 404, 5xx, 200-399"`
	Size   string            `yaml:"size" doc:"size of the request's body: <64KiB, >1MiB, 1KiB-64KiB"`
	Source []string          `yaml:"source" doc:"where it was captured: proxy, mirror, extproc, ingest, sniff, import"`
	Expr   string            `yaml:"expr" doc:"an expression: duration_ms > 500 && query contains \"debug\""`
}

// maxFilters bounds a list: each costs time for every exchange.
const maxFilters = 256

// Check implements yamlfile.Checker.
func (s *Filter) Check(f *yamlfile.File) {
	if n := max(len(s.Include), len(s.Exclude)); n > maxFilters {
		f.At(s, "%d filters are too many: at most %d are read; one expression may have several in it, with ||", n, maxFilters)
	}
	for _, list := range [][]Match{s.Include, s.Exclude} {
		names := make(map[string]bool)
		for i := range list {
			if name := list[i].Name; name != "" && names[name] {
				f.At(&list[i].Name, "another filter of the list is named %s", name)
			}
			names[list[i].Name] = true
		}
	}
}

// Check implements yamlfile.Checker.
func (m *Match) Check(f *yamlfile.File) {
	if m.Name != "" && !regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,39}$`).MatchString(m.Name) {
		f.At(&m.Name, "name cannot be %q: it is a label in metrics, want letters, digits, - and _, up to 40", m.Name)
	}
	if m.Text != "" {
		if _, err := filter.Compile(m.Text); err != nil {
			f.Wrong(&m.Text, err)
		}
		return
	}
	c := m.conditions()
	if c.String() == "" {
		f.At(m, "a filter that says nothing: it would match everything, which is path: /**")
		return
	}
	_, err := c.Compile()
	places := map[string]any{
		"method": &m.Method, "host": &m.Host, "path": &m.Path, "header": &m.Header, "status": &m.Status, "size": &m.Size,
		"source": &m.Source, "expr": &m.Expr, "": m,
	}
	for _, wrong := range filter.FieldErrors(err) {
		f.Wrong(places[wrong.Field], wrong)
	}
}

func (m *Match) conditions() filter.Conditions {
	return filter.Conditions{
		Methods: m.Method, Hosts: m.Host, Paths: m.Path, Headers: m.Header, Status: m.Status, Size: m.Size, Sources: m.Source, Expr: m.Expr,
	}
}

func (m *Match) compile() (*filter.Filter, error) {
	if m.Text != "" {
		return filter.Compile(m.Text)
	}
	c := m.conditions()
	return c.Compile()
}

// Set compiles the section; nil: everything is wanted. Each call returns another set, which counts by itself.
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
		f, err := matches[i].compile()
		if err != nil {
			return nil, err
		}
		all = append(all, &filter.Rule{Name: matches[i].Name, Filter: f})
	}
	return all, nil
}
