package redact

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/reprise-io/reprise/internal/traffic"
)

// Selector names values by where they stand. What it says comes before the rules for names, and these before detectors.
type Selector struct {
	Name   string // the rule's name in the record
	Part   Part
	Path   string // which values of that part; see Part
	On     Side
	Where  func(method, path []byte) bool `json:"-"`          // of the request, without its query; nil: every one
	Only   string                         `json:",omitempty"` // what Where was made of
	Action Treatment
	Kind   Kind   // domain and shape of the pseudonyms; 0: Secret
	With   string `json:",omitempty"` // what Replace writes
}

// Part is a part of a message, and how a Selector's path names values in it.
type Part uint8

// The parts. In names * stands for any characters. An answer of which the request is not known is taken for one to every
// request.
const (
	InHeader    Part = iota + 1 // field name, case does not count; trailers too
	InCookie                    // cookie name, in Cookie and Set-Cookie
	InQuery                     // parameter name
	InForm                      // field name of an urlencoded form
	InMultipart                 // field name of a multipart form
	InJSON                      // $.a.b[*].c, $..token, $['x y'], $.list[0]; in every JSON document of the message
	InXML                       // /a/b, //pan, /a/*/@no; names without prefix are local ones
	InGRPC                      // /pkg.Service/Method:1.3: field numbers, * for any
	InBody                      // a regular expression (RE2); of one with a group, what the first group matched
)

// Side says which messages a Selector is for.
type Side uint8

// The sides.
const (
	Both Side = iota
	Requests
	Answers
)

// Treatment is what happens to a value.
type Treatment uint8

// The treatments.
const (
	Hash    Treatment = iota // a pseudonym of the value's type, shape and length
	Mask                     // as many stars; of a JSON number as many ones
	Drop                     // taken out with its name, so that what is left is well formed
	Replace                  // another text
)

// selector is a compiled Selector.
type selector struct {
	*Selector
	rule    KeyRule
	steps   []step // InJSON, InXML
	attr    string // InXML: the attribute at the end; "": none
	method  string // InGRPC
	numbers []uint64
	pattern *regexp.Regexp
}

// step is one of a path.
type step struct {
	name   string // "*": any
	index  int    // of an item; -1: named
	deeper bool   // any number of others may stand before it
}

// anyNumber is * in the numbers of protobuf fields.
const anyNumber = 0

// Bounds of selectors.
const (
	maxSelectors = 256
	maxSteps     = 60
	maxWith      = 1 << 10
	maxPattern   = 1000 // of the instructions of a pattern, and about its memory
)

// framing are the fields that a message cannot do without, or would mean something else with.
func framing() []string {
	return []string{
		"content-length", "transfer-encoding", "content-encoding", "content-type", "connection", "te", "trailer", "upgrade",
		"host", "grpc-encoding", "grpc-status",
	}
}

// Check reports what is wrong with s.
func (s *Selector) Check() error {
	_, err := compileSelector(s)
	return err
}

func compileSelector(s *Selector) (*selector, error) {
	c := &selector{Selector: s, rule: KeyRule{Name: s.Name, Kind: s.Kind, Action: s.Action, With: s.With, selected: true}}
	if c.rule.Kind == 0 {
		c.rule.Kind = Secret
	}
	switch {
	case s.Name == "":
		return nil, fmt.Errorf("a rule needs a name: it stands in the record")
	case s.Path == "":
		return nil, fmt.Errorf("rule %s does not say what it is for", s.Name)
	case len(s.With) > maxWith:
		return nil, fmt.Errorf("rule %s: the text to put in is longer than %d bytes", s.Name, maxWith)
	case s.Action == Replace && strings.IndexFunc(s.With, func(r rune) bool { return r < ' ' || r == 0x7f }) >= 0:
		return nil, fmt.Errorf("rule %s: the text to put in has control characters", s.Name)
	case s.Action == Replace && strings.Contains(s.With, "]]>"):
		return nil, fmt.Errorf("rule %s: the text to put in would end a CDATA section", s.Name)
	}
	var err error
	switch s.Part {
	case InHeader:
		if slices.Contains(framing(), strings.ToLower(s.Path)) {
			err = fmt.Errorf("field %s is part of the message's frame", s.Path)
		}
	case InCookie, InQuery, InForm, InMultipart:
	case InJSON:
		c.steps, err = parseJSONPath(s.Path)
	case InXML:
		c.steps, c.attr, err = parseXMLPath(s.Path)
	case InGRPC:
		c.method, c.numbers, err = parseFieldPath(s.Path)
	case InBody:
		c.pattern, err = compilePattern(s.Path)
	default:
		err = fmt.Errorf("unknown part of a message")
	}
	if err == nil && len(c.steps) > maxSteps {
		err = fmt.Errorf("path %q has more than %d steps", s.Path, maxSteps)
	}
	if err != nil {
		return nil, fmt.Errorf("rule %s: %w", s.Name, err)
	}
	return c, nil
}

// parseJSONPath reads $.a['b c'][0][*]..d.
func parseJSONPath(path string) (steps []step, err error) {
	bad := func(at string) error {
		return fmt.Errorf("JSON path %q: cannot read %q; it looks like $.user.cards[*].no, $..token or $['x y'][0]", path, at)
	}
	rest, ok := strings.CutPrefix(path, "$")
	if !ok || rest == "" {
		return nil, bad(path)
	}
	for rest != "" {
		s := step{index: -1}
		at := rest
		switch {
		case strings.HasPrefix(rest, ".."):
			s.deeper, rest = true, rest[2:]
		case rest[0] == '.':
			rest = rest[1:]
		case rest[0] != '[':
			return nil, bad(at)
		}
		if strings.HasPrefix(rest, "[") {
			end := strings.IndexByte(rest, ']')
			if len(rest) > 1 && (rest[1] == '\'' || rest[1] == '"') {
				if end = strings.Index(rest[2:], rest[1:2]+"]"); end >= 0 {
					s.name, rest = rest[2:2+end], rest[2+end+2:]
					steps = append(steps, s)
					continue
				}
			}
			if end < 0 {
				return nil, bad(at)
			}
			inside := rest[1:end]
			rest = rest[end+1:]
			if inside == "*" {
				s.name = "*"
			} else if s.index, err = strconv.Atoi(inside); err != nil || s.index < 0 {
				return nil, bad(at)
			}
			steps = append(steps, s)
			continue
		}
		end := strings.IndexAny(rest, ".[")
		if end < 0 {
			end = len(rest)
		}
		if s.name, rest = rest[:end], rest[end:]; s.name == "" {
			return nil, bad(at)
		}
		steps = append(steps, s)
	}
	return steps, nil
}

// parseXMLPath reads /a//b/@c.
func parseXMLPath(path string) (steps []step, attr string, err error) {
	bad := func() ([]step, string, error) {
		return nil, "", fmt.Errorf("XML path %q: it looks like /order/card, //pan, /order/*/@no or //@token", path)
	}
	for rest := path; rest != ""; {
		s := step{index: -1}
		switch {
		case strings.HasPrefix(rest, "//"):
			s.deeper, rest = true, rest[2:]
		case rest[0] == '/':
			rest = rest[1:]
		default:
			return bad()
		}
		s.name, rest = rest, ""
		if i := strings.IndexByte(s.name, '/'); i >= 0 {
			s.name, rest = s.name[:i], s.name[i:]
		}
		if at, ok := strings.CutPrefix(s.name, "@"); ok {
			if at == "" || rest != "" {
				return bad()
			}
			if attr = at; s.deeper { // of any element
				s.name = "*"
				steps = append(steps, s)
			}
			break
		}
		if s.name == "" || strings.ContainsAny(s.name, " <>[]@\"'=") {
			return bad()
		}
		steps = append(steps, s)
	}
	if len(steps) == 0 {
		return bad()
	}
	return steps, attr, nil
}

// parseFieldPath reads /pkg.Service/Method:1.3.
func parseFieldPath(path string) (method string, numbers []uint64, err error) {
	i := strings.LastIndexByte(path, ':')
	if i < 0 || path[0] != '/' {
		return "", nil, fmt.Errorf("field path %q: it looks like /shop.Cart/Add:1.3 or /shop.Cart/*:2", path)
	}
	for part := range strings.SplitSeq(path[i+1:], ".") {
		n, err := strconv.ParseUint(part, 10, 29)
		if part == "*" {
			n, err = anyNumber, nil
		} else if n == 0 {
			err = strconv.ErrRange
		}
		if err != nil {
			return "", nil, fmt.Errorf("field path %q: %q is no number of a field", path, part)
		}
		numbers = append(numbers, n)
	}
	return path[:i], numbers, nil
}

func compilePattern(pattern string) (*regexp.Regexp, error) {
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("the pattern is longer than %d bytes", maxPattern)
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	if re.MatchString("") {
		return nil, fmt.Errorf("the pattern %q matches the empty text", pattern)
	}
	return re, nil
}

// chosen are the selectors that are for one message.
type chosen struct {
	header, cookie, query, form, multipart []*selector
	json, xml, grpc, body                  []*selector
}

// params are those for the parameters of one kind.
func (c *chosen) params(kind scopeKind) []*selector {
	if kind == inForm {
		return c.form
	}
	return c.query
}

// enter begins a message: "request", "response" or "text".
func (p *pass) enter(message string) {
	p.message, p.cookies = message, 0
	if len(p.r.selectors) == 0 {
		return
	}
	c := &p.chosen
	for _, list := range [...]*[]*selector{&c.header, &c.cookie, &c.query, &c.form, &c.multipart, &c.json, &c.xml, &c.grpc, &c.body} {
		*list = (*list)[:0]
	}
	for _, s := range p.r.selectors {
		if s.On == Requests && message == "response" || s.On == Answers && message == "request" {
			continue
		}
		if p.method != nil && s.Where != nil && !s.Where(p.method, p.route) {
			continue
		}
		list := [...]*[]*selector{
			InHeader: &c.header, InCookie: &c.cookie, InQuery: &c.query, InForm: &c.form, InMultipart: &c.multipart,
			InJSON: &c.json, InXML: &c.xml, InGRPC: &c.grpc, InBody: &c.body,
		}[s.Part]
		if s.Part == InGRPC && p.method != nil && !glob(s.method, string(p.route)) {
			continue
		}
		*list = append(*list, s)
	}
}

// named returns the rule of the first selector for a name.
func named(list []*selector, name []byte) *KeyRule {
	for _, s := range list {
		if glob(s.Path, string(name)) {
			return &s.rule
		}
	}
	return nil
}

// fieldRule returns the rule of the first selector for a header field.
func (p *pass) fieldRule(name []byte) *KeyRule {
	for _, s := range p.chosen.header {
		if traffic.EqualName(name, s.Path) || strings.Contains(s.Path, "*") && glob(strings.ToLower(s.Path), string(bytes.ToLower(name))) {
			return &s.rule
		}
	}
	return nil
}

// glob reports whether name is pattern, in which * stands for any characters.
func glob(pattern, name string) bool {
	head, rest, more := strings.Cut(pattern, "*")
	if !more {
		return pattern == name
	}
	name, ok := strings.CutPrefix(name, head)
	for ok {
		piece, next, again := strings.Cut(rest, "*")
		if !again {
			return strings.HasSuffix(name, piece)
		}
		i := strings.Index(name, piece)
		if ok = i >= 0; ok {
			name, rest = name[i+len(piece):], next
		}
	}
	return false
}

// advance moves the live positions of a path one step: from those in at to those behind a value that is named name, or is
// the item index (-1: none). hit reports whether the value is the path's end.
func advance(steps []step, at uint64, name []byte, index int, match func(pattern string, name []byte) bool) (next uint64, hit bool) {
	for i := range steps {
		if at>>i&1 == 0 {
			continue
		}
		s := &steps[i]
		if s.deeper {
			next |= 1 << i
		}
		if s.name == "*" || s.index >= 0 && s.index == index || s.index < 0 && index < 0 && match(s.name, name) {
			if i+1 == len(steps) {
				hit = true
			} else {
				next |= 1 << (i + 1)
			}
		}
	}
	return next, hit
}

func sameText(pattern string, name []byte) bool { return pattern == string(name) }
