package compare

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	maxSteps    = 32
	maxPathText = 512 // bytes of a path as it is written
)

// Path names places in JSON bodies, as a rules file writes them: $.items[*].price, $..token, $['x y'][0]; or as a report
// does: /items/*/price. The zero value is the whole body.
type Path struct {
	text  string
	steps []step
	deep  int // the step that stands any number of levels below the one before it; -1: none
}

// step is a name, an index or any of either.
type step struct {
	name string // of an index its digits
	kind stepKind
}

type stepKind uint8

const (
	named    stepKind = iota // a member
	indexed                  // an item
	either                   // a member or an item of that name, as a report writes both alike
	anyItem                  // [*]
	anything                 // .*
)

// token is where one level of a document is: a member by its name, or an item by its index.
type token struct {
	name string
	item bool
}

// ParsePath reads a path.
func ParsePath(s string) (Path, error) {
	p := Path{text: s, deep: -1}
	bad := func(err error) (Path, error) {
		return p, fmt.Errorf("path %q: %w; it looks like $.items[*].price, $..token or /items/*/price", s, err)
	}
	rest, dollar := strings.CutPrefix(s, "$")
	switch {
	case len(s) > maxPathText:
		return p, fmt.Errorf("a path has more than %d bytes", maxPathText)
	case !dollar && !strings.HasPrefix(s, "/"):
		return bad(errors.New("want it to begin with $ or /"))
	case !dollar:
		if rest = ""; s != "/" { // in a report that is the whole body
			for name := range strings.SplitSeq(s[1:], "/") {
				p.steps = append(p.steps, pointerStep(name))
			}
		}
	}
	for rest != "" {
		var one step
		var deep bool
		var err error
		if one, deep, rest, err = dollarStep(rest); err != nil {
			return bad(err)
		}
		if deep {
			if p.deep >= 0 {
				return bad(errors.New(".. may stand once"))
			}
			p.deep = len(p.steps)
		}
		p.steps = append(p.steps, one)
	}
	if len(p.steps) > maxSteps {
		return bad(fmt.Errorf("more than %d steps", maxSteps))
	}
	return p, nil
}

func pointerStep(name string) step {
	if name == "*" {
		return step{kind: anything}
	}
	return step{kind: either, name: strings.ReplaceAll(strings.ReplaceAll(name, "~1", "/"), "~0", "~")}
}

// dollarStep reads one step and returns what is behind it.
func dollarStep(s string) (one step, deep bool, rest string, err error) {
	switch {
	case strings.HasPrefix(s, "['"), strings.HasPrefix(s, `["`):
		end := strings.Index(s[2:], s[1:2]+"]")
		if end < 0 {
			return one, false, "", fmt.Errorf("%s is not closed", s)
		}
		return step{name: s[2 : 2+end]}, false, s[end+4:], nil
	case strings.HasPrefix(s, "[*]"):
		return step{kind: anyItem}, false, s[3:], nil
	case s[0] == '[':
		inside, rest, ok := strings.Cut(s[1:], "]")
		n, err := strconv.ParseUint(inside, 10, 31)
		if !ok || err != nil {
			return one, false, "", fmt.Errorf("want a number, * or a name in quotes in %s", s)
		}
		return step{kind: indexed, name: strconv.FormatUint(n, 10)}, false, rest, nil
	case s[0] == '.':
		s = s[1:]
		if deep = strings.HasPrefix(s, "."); deep {
			s = s[1:]
		}
		end := strings.IndexAny(s, ".[")
		if end < 0 {
			end = len(s)
		}
		switch name := s[:end]; name {
		case "":
			return one, false, "", errors.New("want a name behind the dot")
		case "*":
			return step{kind: anything}, deep, s[end:], nil
		default:
			return step{name: name}, deep, s[end:], nil
		}
	}
	return one, false, "", fmt.Errorf("want . or [ before %q", s)
}

// String returns the path as it was written.
func (p Path) String() string { return p.text }

// whole reports whether it is the body as a whole.
func (p *Path) whole() bool { return len(p.steps) == 0 }

func (p *Path) matches(at []token) bool {
	if p.whole() {
		return len(at) == 0
	}
	if p.deep < 0 {
		return len(at) == len(p.steps) && fits(p.steps, at)
	}
	behind := p.steps[p.deep:]
	return len(at) >= len(p.steps) && fits(p.steps[:p.deep], at) && fits(behind, at[len(at)-len(behind):])
}

// fits reports whether at begins with the steps.
func fits(steps []step, at []token) bool {
	for i := range steps {
		s, t := &steps[i], &at[i]
		switch s.kind {
		case named:
			if t.item || t.name != s.name {
				return false
			}
		case indexed:
			if !t.item || t.name != s.name {
				return false
			}
		case either:
			if t.name != s.name {
				return false
			}
		case anyItem:
			if !t.item {
				return false
			}
		case anything:
		}
	}
	return true
}
