package rewrite

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of a path and of what it is looked for in.
const (
	maxSteps = 32
	maxDepth = 128
)

// Path names one value of a JSON document: $.user.roles[0]['x-y'], or $..id, the first of that name anywhere below. At most one
// step may be of the second kind. The zero value is the whole document.
type Path struct {
	text  string
	steps []step
}

type step struct {
	name  string
	index int // when name is not one
	deep  bool
	array bool
}

// ParsePath reads a path.
func ParsePath(s string) (Path, error) {
	p := Path{text: s}
	rest, ok := strings.CutPrefix(s, "$")
	if !ok {
		return p, fmt.Errorf("JSON path %q: want it to begin with $, as in $.user.id", s)
	}
	deep := false
	for rest != "" {
		var one step
		var err error
		if one, rest, err = parseStep(rest); err != nil {
			return p, fmt.Errorf("JSON path %q: %w", s, err)
		}
		if deep && one.deep {
			return p, fmt.Errorf("JSON path %q: .. may stand once", s)
		}
		deep = deep || one.deep
		if p.steps = append(p.steps, one); len(p.steps) > maxSteps {
			return p, fmt.Errorf("JSON path %q: more than %d steps", s, maxSteps)
		}
	}
	return p, nil
}

func parseStep(s string) (one step, rest string, err error) {
	switch {
	case strings.HasPrefix(s, "['"), strings.HasPrefix(s, `["`):
		end := strings.Index(s[2:], s[1:2]+"]")
		if end < 0 {
			return one, "", fmt.Errorf("%s is not closed", s)
		}
		return step{name: s[2 : 2+end]}, s[end+4:], nil
	case s[0] == '[':
		inside, rest, ok := strings.Cut(s[1:], "]")
		n, err := strconv.ParseUint(inside, 10, 31)
		if !ok || err != nil {
			return one, "", fmt.Errorf("want a number, or a name in quotes, in %s", s)
		}
		return step{index: int(n), array: true}, rest, nil
	case s[0] == '.':
		s = s[1:]
		if one.deep = strings.HasPrefix(s, "."); one.deep {
			s = s[1:]
		}
		end := strings.IndexAny(s, ".[")
		if end < 0 {
			end = len(s)
		}
		if one.name = s[:end]; one.name == "" || one.name == "*" {
			return one, "", fmt.Errorf("want a name behind the dot: a path leads to one value")
		}
		return one, s[end:], nil
	}
	return one, "", fmt.Errorf("want . or [ before %q", s)
}

// String returns the path as it was written.
func (p Path) String() string { return p.text }

// Find returns where the value stands in doc, the first one if there are several. doc need not be valid JSON behind it.
func (p Path) Find(doc []byte) (from, to int, ok bool) {
	from, to, _ = find(doc, space(doc, 0), p.steps, 0)
	return from, to, from >= 0
}

// Value returns the value as text: a string without quotes and escapes, anything else as it stands.
func (p Path) Value(doc []byte) ([]byte, bool) {
	from, to, ok := p.Find(doc)
	if !ok {
		return nil, false
	}
	return scalar(doc[from:to]), true
}

// Put returns doc with the value replaced; where only the last name is missing it is added. As a string, or as a number where one
// stands there and value is one.
func (p Path) Put(doc, value []byte) ([]byte, bool) {
	if from, to, ok := p.Find(doc); ok {
		return splice(doc, from, to, appendLike(nil, doc[from:to], value)), true
	}
	if len(p.steps) == 0 {
		return doc, false
	}
	last := p.steps[len(p.steps)-1]
	if last.array || last.deep {
		return doc, false
	}
	from, to, ok := (Path{steps: p.steps[:len(p.steps)-1]}).Find(doc)
	if !ok || doc[from] != '{' {
		return doc, false
	}
	member := append(appendText(nil, []byte(last.name)), ':')
	member = appendText(member, value)
	if doc[space(doc, from+1)] != '}' {
		member = append([]byte{','}, member...)
	}
	return splice(doc, to-1, to-1, member), true
}

// PutJSON is Put of a value that is JSON itself.
func (p Path) PutJSON(doc, value []byte) ([]byte, bool) {
	const mark = "\x00"
	doc, ok := p.Put(doc, []byte(mark))
	if !ok {
		return doc, false
	}
	from, to, ok := p.Find(doc)
	if !ok {
		return doc, false
	}
	return splice(doc, from, to, value), true
}

func splice(b []byte, from, to int, with []byte) []byte {
	out := make([]byte, 0, len(b)-(to-from)+len(with))
	return append(append(append(out, b[:from]...), with...), b[to:]...)
}

// find returns where the value of steps stands in the one at i, from -1 when it does not, and then where that one ends; -1:
// that is no JSON.
func find(doc []byte, i int, steps []step, depth int) (from, to, end int) {
	if len(steps) == 0 {
		if end = skip(doc, i, depth); end < 0 {
			return -1, -1, -1
		}
		return i, end, end
	}
	if depth > maxDepth || i >= len(doc) {
		return -1, -1, -1
	}
	if doc[i] != '{' && doc[i] != '[' {
		return -1, -1, skip(doc, i, depth)
	}
	object, closing := doc[i] == '{', doc[i]+2
	i = space(doc, i+1)
	for n := 0; i < len(doc) && doc[i] != closing; n++ {
		at, deeper := steps[0], false
		hit := at.array && n == at.index && !object
		if object {
			keyEnd := textEnd(doc, i)
			if keyEnd < 0 {
				return -1, -1, -1
			}
			hit = !at.array && isText(doc[i:keyEnd], at.name)
			if i = space(doc, keyEnd); i >= len(doc) || doc[i] != ':' {
				return -1, -1, -1
			}
			i = space(doc, i+1)
		}
		deeper = at.deep
		if hit {
			if from, to, end = find(doc, i, steps[1:], depth+1); from >= 0 || end < 0 {
				return from, to, end
			}
		}
		switch {
		case deeper:
			if from, to, end = find(doc, i, steps, depth+1); from >= 0 || end < 0 {
				return from, to, end
			}
		case !hit:
			end = skip(doc, i, depth+1)
		}
		if end < 0 {
			return -1, -1, -1
		}
		if i = space(doc, end); i < len(doc) && doc[i] == ',' {
			i = space(doc, i+1)
		} else if i < len(doc) && doc[i] != closing {
			return -1, -1, -1
		}
	}
	if i >= len(doc) {
		return -1, -1, -1
	}
	return -1, -1, i + 1
}

// skip returns where the value at i ends; -1: it does not.
func skip(doc []byte, i, depth int) int {
	open := 0
	for {
		i = space(doc, i)
		if i >= len(doc) || open+depth > maxDepth {
			return -1
		}
		switch c := doc[i]; c {
		case '{', '[':
			open++
			i++
			continue
		case '}', ']':
			if open == 0 {
				return -1
			}
			open--
			i++
		case ',', ':':
			if open == 0 {
				return -1
			}
			i++
			continue
		case '"':
			if i = textEnd(doc, i); i < 0 {
				return -1
			}
		default:
			from := i
			for i < len(doc) && bytes.IndexByte([]byte(" \t\r\n,:]}[{\""), doc[i]) < 0 {
				i++
			}
			if i == from {
				return -1
			}
		}
		if open == 0 {
			return i
		}
	}
}

func space(doc []byte, i int) int {
	for i < len(doc) && (doc[i] == ' ' || doc[i] == '\n' || doc[i] == '\t' || doc[i] == '\r') {
		i++
	}
	return i
}

// textEnd returns the index behind the string at i; -1: there is none.
func textEnd(doc []byte, i int) int {
	if i >= len(doc) || doc[i] != '"' {
		return -1
	}
	for i++; i < len(doc); i++ {
		switch doc[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

func isText(quoted []byte, want string) bool {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1:len(quoted)-1]) == want
	}
	return string(scalar(quoted)) == want
}

// scalar returns the text of a string, anything else as it is.
func scalar(v []byte) []byte {
	if len(v) < 2 || v[0] != '"' {
		return v
	}
	inside := v[1 : len(v)-1]
	if bytes.IndexByte(inside, '\\') < 0 {
		return inside
	}
	var s string
	if json.Unmarshal(v, &s) != nil {
		return inside
	}
	return []byte(s)
}

// appendLike appends value as JSON of the type that stands there: what is no number becomes a string.
func appendLike(to, was, value []byte) []byte {
	if len(was) > 0 && was[0] != '"' && isNumber(value) {
		return append(to, value...)
	}
	return appendText(to, value)
}

func isNumber(v []byte) bool {
	return len(v) > 0 && (v[0] == '-' || v[0]-'0' < 10) && v[len(v)-1] > ' ' && json.Valid(v) // which takes space around it
}

// appendText appends value as a JSON string.
func appendText(to, value []byte) []byte {
	const digits = "0123456789abcdef"
	to = append(to, '"')
	for _, r := range string(value) {
		switch {
		case r == '"' || r == '\\':
			to = append(to, '\\', byte(r))
		case r < ' ':
			to = append(to, '\\', 'u', '0', '0', digits[r>>4], digits[r&15])
		default:
			to = utf8.AppendRune(to, r)
		}
	}
	return append(to, '"')
}

// scalars replaces strings and numbers of doc, but no names: with is asked for each and says whether to.
func scalars(doc []byte, with func(value []byte) ([]byte, bool)) (out []byte, changed bool) {
	done := 0
	for i := 0; i < len(doc); {
		from := i
		switch c := doc[i]; {
		case c == '"':
			if i = textEnd(doc, i); i < 0 {
				i = len(doc)
				continue
			}
			if after := space(doc, i); after < len(doc) && doc[after] == ':' {
				continue
			}
		case c == '-' || c-'0' < 10:
			for i < len(doc) && bytes.IndexByte([]byte(" \t\r\n,:]}[{\""), doc[i]) < 0 {
				i++
			}
		default:
			i++
			continue
		}
		if value, ok := with(scalar(doc[from:i])); ok {
			out = appendLike(append(out, doc[done:from]...), doc[from:i], value)
			done, changed = i, true
		}
	}
	if !changed {
		return doc, false
	}
	return append(out, doc[done:]...), true
}
