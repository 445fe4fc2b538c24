package rules

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/reprise-io/reprise/internal/compare"
	"github.com/reprise-io/reprise/internal/rewrite"
	"github.com/reprise-io/reprise/internal/yamlfile"
)

// Compare is the section that says what counts as the same. What is not there is no part of the digest, which so is the one
// that files had before there were these keys.
type Compare struct {
	Ignore  []ComparePlace  `yaml:"ignore" json:",omitempty" doc:"what is not compared: $..requestId, or the path that a report shows (/items/*/at); $ is the whole body"`
	Arrays  []CompareArray  `yaml:"arrays" json:",omitempty" doc:"arrays in which the order says nothing; all others are compared in their order"`
	Numbers []CompareNumber `yaml:"numbers" json:",omitempty" doc:"numbers that need not be equal; all others are compared by value, 1 as 1.0"`
	Types   []ComparePlace  `yaml:"types" json:",omitempty" doc:"places where 12 counts as \"12\", and null as a member that is not there; elsewhere that is another type"`
	Headers []CompareHeader `yaml:"headers" json:",omitempty" doc:"header fields of answers that are compared too: Location; none without"`
}

// ComparePlace is a path, or keys.
type ComparePlace struct {
	Text  string `yaml:",text" json:",omitempty" doc:"path: $.items[*].at, $..requestId or /items/*/at"`
	Path  string `yaml:"path" json:",omitempty" doc:"the same"`
	Where string `yaml:"where" json:",omitempty" doc:"filter: only in answers to requests that match"`
}

// CompareArray is an array in which the order says nothing.
type CompareArray struct {
	Path  string `yaml:"path,required" doc:"path of the array: $.items, $..tags"`
	Key   string `yaml:"key" json:",omitempty" doc:"member that tells its items apart: id; none: items that are equal belong together"`
	Where string `yaml:"where" json:",omitempty" doc:"filter: only in answers to requests that match"`
}

// CompareNumber is numbers that need not be equal.
type CompareNumber struct {
	Path      string `yaml:"path,required" doc:"path of the numbers: $..price"`
	Tolerance string `yaml:"tolerance,required" doc:"how far apart they may be: 0.01, or 1% of the larger one"`
	Where     string `yaml:"where" json:",omitempty" doc:"filter: only in answers to requests that match"`
}

// CompareHeader is a name, or keys.
type CompareHeader struct {
	Text  string `yaml:",text" json:",omitempty" doc:"name of a header"`
	Name  string `yaml:"name" json:",omitempty" doc:"the same"`
	Where string `yaml:"where" json:",omitempty" doc:"filter: only in answers to requests that match"`
}

// maxCompareRules bounds each list: its rules are asked for every value.
const maxCompareRules = 256

// Check implements yamlfile.Checker.
func (c *Compare) Check(f *yamlfile.File) {
	for _, list := range []struct {
		at any
		n  int
	}{{&c.Ignore, len(c.Ignore)}, {&c.Arrays, len(c.Arrays)}, {&c.Numbers, len(c.Numbers)}, {&c.Types, len(c.Types)}, {&c.Headers, len(c.Headers)}} {
		if list.n > maxCompareRules {
			f.At(list.at, "%d are too many: at most %d are read", list.n, maxCompareRules)
		}
	}
}

// path returns the one that is given, and where it stands.
func (p *ComparePlace) path() *string {
	if p.Text != "" {
		return &p.Text
	}
	return &p.Path
}

// Check implements yamlfile.Checker.
func (p *ComparePlace) Check(f *yamlfile.File) {
	if *p.path() == "" {
		f.At(p, "path is missing")
		return
	}
	checkComparePath(f, p.path())
	checkFilter(f, &p.Where)
}

// Check implements yamlfile.Checker.
func (a *CompareArray) Check(f *yamlfile.File) {
	checkComparePath(f, &a.Path)
	checkFilter(f, &a.Where)
}

// Check implements yamlfile.Checker.
func (n *CompareNumber) Check(f *yamlfile.File) {
	checkComparePath(f, &n.Path)
	checkFilter(f, &n.Where)
	if _, _, err := n.bounds(); err != nil {
		f.At(&n.Tolerance, "%s", err)
	}
}

// name returns the one that is given, and where it stands.
func (h *CompareHeader) name() *string {
	if h.Text != "" {
		return &h.Text
	}
	return &h.Name
}

// Check implements yamlfile.Checker.
func (h *CompareHeader) Check(f *yamlfile.File) {
	checkFilter(f, &h.Where)
	if *h.name() == "" {
		f.At(h, "name is missing")
		return
	}
	if _, err := rewrite.ParsePlace("header " + *h.name()); err != nil {
		f.At(h.name(), "%s", err)
	}
}

func checkComparePath(f *yamlfile.File, path *string) {
	if _, err := compare.ParsePath(*path); err != nil {
		f.At(path, "%s", err)
	}
}

func (n *CompareNumber) bounds() (absolute, relative float64, err error) {
	digits, percent := strings.CutSuffix(n.Tolerance, "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if err != nil || v < 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return 0, 0, fmt.Errorf("tolerance cannot be %q: want a number such as 0.01, or a share such as 1%%", n.Tolerance)
	}
	if percent {
		return 0, v / 100, nil
	}
	return v, 0, nil
}

// Rules are what the section comes to; nil: nothing but what is equal counts as the same.
func (c *Compare) Rules() (*compare.Rules, error) {
	if len(c.Ignore)+len(c.Arrays)+len(c.Numbers)+len(c.Types)+len(c.Headers) == 0 {
		return nil, nil //nolint:nilnil // no rules are none
	}
	r := new(compare.Rules)
	for _, list := range []struct {
		from []ComparePlace
		to   *[]compare.Place
	}{{c.Ignore, &r.Ignore}, {c.Types, &r.Types}} {
		for i := range list.from {
			p, err := comparePlace(*list.from[i].path(), list.from[i].Where)
			if err != nil {
				return nil, err
			}
			*list.to = append(*list.to, p)
		}
	}
	for _, a := range c.Arrays {
		p, err := comparePlace(a.Path, a.Where)
		if err != nil {
			return nil, err
		}
		r.Arrays = append(r.Arrays, compare.Array{Place: p, Key: a.Key})
	}
	for _, n := range c.Numbers {
		p, err := comparePlace(n.Path, n.Where)
		if err != nil {
			return nil, err
		}
		one := compare.Number{Place: p}
		if one.Absolute, one.Relative, err = n.bounds(); err != nil {
			return nil, err
		}
		r.Numbers = append(r.Numbers, one)
	}
	for i := range c.Headers {
		h := &c.Headers[i]
		where, err := matcher(h.Where)
		if err != nil {
			return nil, err
		}
		r.Fields = append(r.Fields, compare.FieldPlace{Name: *h.name(), Where: where})
	}
	return r, nil
}

func comparePlace(path, where string) (p compare.Place, err error) {
	if p.Path, err = compare.ParsePath(path); err != nil {
		return p, err
	}
	p.Where, err = matcher(where)
	return p, err
}
