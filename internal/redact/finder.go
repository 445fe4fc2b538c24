package redact

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/reprise-io/reprise/internal/traffic"
)

// Finder looks in stored exchanges for what redaction should have caught. It is not safe for concurrent use.
type Finder struct {
	r      *Redactor
	kinds  map[string]Kind // of a rule
	codecs codecs
}

// Finding is a value that a rule would have replaced: what kind of value, and where it stands in the words of traffic.Redaction. It never
// holds the value.
type Finding struct{ Rule, Kind, Location string }

// NewFinder returns one for a rule set; nil stands for DefaultRules.
func NewFinder(rules *Rules) (*Finder, error) {
	r, err := New(Options{Rules: rules})
	if err != nil {
		return nil, err
	}
	f := &Finder{r: r, kinds: map[string]Kind{}}
	for k := Secret; k <= lastKind; k++ {
		f.kinds[k.String()] = k
	}
	for _, rule := range r.rules.Keys {
		f.kinds[rule.Name] = rule.Kind
	}
	for i := range r.rules.Selectors {
		f.kinds[r.rules.Selectors[i].Name] = r.rules.Selectors[i].Kind
	}
	return f, nil
}

// Find returns what the rules would still replace in x, which is left as it is. What the record lists as redacted is skipped, and nothing
// else. unread names the bodies that cannot be looked into.
func (f *Finder) Find(x *traffic.Exchange) (found []Finding, unread []string, err error) {
	again := *x
	again.Flags = 0
	again.Request.Headers, again.Request.Trailers = slices.Clone(x.Request.Headers), slices.Clone(x.Request.Trailers)
	if x.Response != nil {
		p := *x.Response
		p.Headers, p.Trailers = slices.Clone(p.Headers), slices.Clone(p.Trailers)
		again.Response = &p
	}
	if err := f.r.Exchange(&again); err != nil {
		return nil, nil, fmt.Errorf("look for secrets: %w", err)
	}
	for _, r := range again.Redactions[len(x.Redactions):] {
		found = append(found, Finding{Rule: r.Rule, Kind: f.kind(r.Rule), Location: r.Location})
	}
	if len(x.Request.Body) > 0 && len(again.Request.Body) == 0 {
		unread = append(unread, "request.body")
	}
	if x.Response != nil && len(x.Response.Body) > 0 && len(again.Response.Body) == 0 {
		unread = append(unread, "response.body")
	}
	return found, unread, nil
}

func (f *Finder) kind(rule string) string {
	if k, ok := f.kinds[rule]; ok {
		return k.String()
	}
	return Secret.String()
}

// Holds reports whether the rules would replace something in a value that stands by itself.
func (f *Finder) Holds(v []byte) bool { return !bytes.Equal(f.r.Text(v), v) }

// Hide returns a value that stands by itself with what the rules replace in it replaced.
func (f *Finder) Hide(v []byte) []byte { return f.r.Text(v) }

// Plain returns a body without its content coding, valid until the next call; the body itself when it has none or cannot be decoded.
func (f *Finder) Plain(body []byte, headers []traffic.Field) []byte {
	plain, _, err := f.codecs.undo(body, headers)
	if err != nil {
		return body
	}
	return plain
}
