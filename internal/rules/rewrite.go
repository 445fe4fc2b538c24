package rules

import (
	"regexp"
	"strings"

	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/rewrite"
	"github.com/reprise-io/reprise/internal/yamlfile"
)

// Rewrite is the section that changes requests. All of it speaks of the recorded request; filters and guards judged that one too.
type Rewrite struct {
	Host     string        `yaml:"host" doc:"Host header: recorded, or a name; --host is stronger. Default: the target's"`
	BasePath string        `yaml:"base-path" doc:"put before every path: /v2"`
	Path     []PathRewrite `yaml:"path" doc:"paths to replace, before base-path is added"`
	Query    []NameRewrite `yaml:"query" doc:"query parameters to set or remove"`
	Headers  []NameRewrite `yaml:"headers" doc:"headers to set or remove; not Host, nor those of the connection, nor the marks of a replay"`
	Body     []BodyRewrite `yaml:"body" doc:"values of a JSON body or a form to set, and text of any body to replace; also inside gzip, deflate and zstd"`
	Fresh    []string      `yaml:"fresh" doc:"idempotency keys, such as header Idempotency-Key: others in each run, the same when a crash repeats a request"`
}

// PathRewrite replaces what matches of a path.
type PathRewrite struct {
	From  string `yaml:"from,required" doc:"regular expression for the path without its query"`
	To    string `yaml:"to" doc:"what stands there instead, with $1 for the first group"`
	Where string `yaml:"where" doc:"filter: only in requests that match"`
}

// NameRewrite sets or removes one header or parameter.
type NameRewrite struct {
	Name   string `yaml:"name,required" doc:"which"`
	Value  string `yaml:"value" doc:"what it is set to"`
	Remove bool   `yaml:"remove" doc:"take it away"`
	Where  string `yaml:"where" doc:"filter: only in requests that match"`
}

// BodyRewrite changes a body in one of three ways.
type BodyRewrite struct {
	JSON  string `yaml:"json" doc:"path of a value to set: $.tenant"`
	Form  string `yaml:"form" doc:"form field to set"`
	Match string `yaml:"match" doc:"regular expression for text to replace"`
	Value string `yaml:"value" doc:"what is set, or what stands in the place of match, with $1 for the first group"`
	Where string `yaml:"where" doc:"filter: only in requests that match"`
}

// Check implements yamlfile.Checker.
func (s *Rewrite) Check(f *yamlfile.File) {
	if s.BasePath != "" && (!strings.HasPrefix(s.BasePath, "/") || strings.HasSuffix(s.BasePath, "/") || strings.ContainsAny(s.BasePath, " ?#\r\n\t")) {
		f.At(&s.BasePath, "base-path cannot be %q: want a path such as /v2", s.BasePath)
	}
	for i := range s.Fresh {
		checkPlace(f, &s.Fresh[i], rewrite.Place.InRequest)
	}
	for i := range s.Query {
		s.Query[i].check(f, "query")
	}
	for i := range s.Headers {
		s.Headers[i].check(f, "header")
	}
}

func (n *NameRewrite) check(f *yamlfile.File, kind string) {
	checkFilter(f, &n.Where)
	if _, err := rewrite.ParsePlace(kind + " " + n.Name); err != nil {
		f.At(&n.Name, "%s", err)
	}
	if n.Remove && n.Value != "" {
		f.At(&n.Value, "%s: either value or remove", n.Name)
	}
	if strings.ContainsAny(n.Value, "\r\n\x00") {
		f.At(&n.Value, "%s: the value holds CR, LF or NUL", n.Name)
	}
}

// Check implements yamlfile.Checker.
func (p *PathRewrite) Check(f *yamlfile.File) {
	checkFilter(f, &p.Where)
	if _, err := regexp.Compile(p.From); err != nil {
		f.At(&p.From, "%s", err)
	}
}

// Check implements yamlfile.Checker.
func (b *BodyRewrite) Check(f *yamlfile.File) {
	checkFilter(f, &b.Where)
	given := 0
	for _, s := range []string{b.JSON, b.Form, b.Match} {
		if s != "" {
			given++
		}
	}
	if given != 1 {
		f.At(b, "want one of json, form and match")
		return
	}
	if b.Match != "" {
		if _, err := regexp.Compile(b.Match); err != nil {
			f.At(&b.Match, "%s", err)
		}
	}
	if b.JSON != "" {
		if _, err := rewrite.ParsePath(b.JSON); err != nil {
			f.At(&b.JSON, "%s", err)
		}
	}
}

// checkFilter checks a filter, which may be absent.
func checkFilter(f *yamlfile.File, text *string) {
	if *text == "" {
		return
	}
	if _, err := filter.Compile(*text); err != nil {
		f.Wrong(text, err)
	}
}

func checkPlace(f *yamlfile.File, text *string, fits func(rewrite.Place) error) {
	p, err := rewrite.ParsePlace(*text)
	if err == nil {
		err = fits(p)
	}
	if err != nil {
		f.At(text, "%s", err)
	}
}

// matcher compiles a filter; nil: it is absent, and everything matches.
func matcher(text string) (rewrite.Matcher, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // no filter is one
	}
	return filter.Compile(text)
}

// Rules are what the section comes to, without its host.
func (s *Rewrite) Rules() (r rewrite.Rules, err error) {
	r.BasePath = s.BasePath
	for _, p := range s.Path {
		one := rewrite.PathRule{To: p.To}
		if one.Where, err = matcher(p.Where); err != nil {
			return r, err
		}
		if one.From, err = regexp.Compile(p.From); err != nil {
			return r, err
		}
		r.Paths = append(r.Paths, one)
	}
	for _, n := range s.Query {
		if err = edit(&r, "query "+n.Name, n.Value, n.Remove, n.Where); err != nil {
			return r, err
		}
	}
	for _, n := range s.Headers {
		if err = edit(&r, "header "+n.Name, n.Value, n.Remove, n.Where); err != nil {
			return r, err
		}
	}
	for _, b := range s.Body {
		switch {
		case b.JSON != "":
			err = edit(&r, "json "+b.JSON, b.Value, false, b.Where)
		case b.Form != "":
			err = edit(&r, "form "+b.Form, b.Value, false, b.Where)
		default:
			one := rewrite.BodyRule{To: []byte(b.Value)}
			if one.Where, err = matcher(b.Where); err == nil {
				one.From, err = regexp.Compile(b.Match)
			}
			r.Bodies = append(r.Bodies, one)
		}
		if err != nil {
			return r, err
		}
	}
	for _, text := range s.Fresh {
		p, err := rewrite.ParsePlace(text)
		if err != nil {
			return r, err
		}
		r.Fresh = append(r.Fresh, p)
	}
	return r, nil
}

func edit(r *rewrite.Rules, place, value string, remove bool, where string) (err error) {
	e := rewrite.Edit{Value: []byte(value), Remove: remove}
	if e.Where, err = matcher(where); err != nil {
		return err
	}
	if e.Place, err = rewrite.ParsePlace(place); err != nil {
		return err
	}
	r.Edits = append(r.Edits, e)
	return nil
}
