package rules

import (
	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/yamlfile"
)

// Writes is the section that allows writes, and bounds what is sent.
type Writes struct {
	Allow []Match `yaml:"allow" doc:"what is sent beside GET, HEAD and OPTIONS, as --allow-writes has it; none: no writes"`
	Caps  []Cap   `yaml:"caps" doc:"at most so many of a route are sent in a run, by all its replicas and restarts together; the rest is refused"`
	Total int64   `yaml:"total" default:"0" doc:"the run stops when so many requests were sent, reads among them, as with --max-total; 0: no bound"`
}

// Cap bounds how many of a route are sent.
type Cap struct {
	Route string `yaml:"route,required" doc:"METHOD and path ('POST /orders/**') or an expression"`
	Most  int64  `yaml:"most,required" doc:"most that are sent; 0: none"`
}

// Check implements yamlfile.Checker.
func (w *Writes) Check(f *yamlfile.File) {
	for i := range w.Allow {
		if w.Allow[i].Text == "" { // it is compared with those of --allow-writes, and stands in the run's record, as a line
			f.At(&w.Allow[i], "allow wants METHOD and path ('POST /api/**') or an expression, in one line")
		}
	}
	if w.Total < 0 {
		f.At(&w.Total, "total cannot be %d: want a number of requests, 0 for no bound", w.Total)
	}
}

// Check implements yamlfile.Checker.
func (c *Cap) Check(f *yamlfile.File) {
	if _, err := filter.Compile(c.Route); err != nil {
		f.Wrong(&c.Route, err)
	}
	if c.Most < 0 {
		f.At(&c.Most, "most cannot be %d: want a number of requests", c.Most)
	}
}

// Filters are the filters of allow.
func (w *Writes) Filters() []string {
	all := make([]string, 0, len(w.Allow))
	for _, m := range w.Allow {
		all = append(all, m.Text)
	}
	return all
}

// Matchers are the compiled filters of allow.
func (w *Writes) Matchers() (all []fire.Matcher, err error) {
	for i := range w.Allow {
		f, err := w.Allow[i].compile()
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}
