// Package rewrite changes recorded requests into those that a target understands. Rules are the changes that are the same for every
// request: a path, a parameter, a member of a body. Sessions are those that depend on what the target answered before: its cookies,
// its tokens and the ids that it gave. Waits say for which answers a request has to wait.
//
// It sends nothing, reads no clock, and never writes into the recorded exchange. Marks cannot be touched: no rule may name them.
package rewrite

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"

	"github.com/reprise-io/reprise/internal/traffic"
)

// Matcher says which recorded exchanges a rule is for.
type Matcher interface {
	Match(x *traffic.Exchange) (bool, error)
}

func matches(m Matcher, x *traffic.Exchange) (bool, error) {
	if m == nil {
		return true, nil
	}
	return m.Match(x)
}

// Rules are changes that are the same for every request. They are made in the order of the fields.
type Rules struct {
	Paths    []PathRule
	BasePath string // put before every path: "/v2"; empty: none
	Edits    []Edit
	Bodies   []BodyRule
	Fresh    []Place // idempotency keys: others in every run, the same when a crash repeats a request
	Seed     []byte  // of the run, for Fresh
}

// PathRule replaces what matches of a path, without its query.
type PathRule struct {
	From  *regexp.Regexp
	To    string  // with $1
	Where Matcher // nil: everywhere
}

// Edit sets or removes one value.
type Edit struct {
	Place  Place
	Value  []byte
	JSON   bool // Value is JSON itself: for places in JSON
	Remove bool // of headers, cookies and query parameters
	Where  Matcher
}

// BodyRule replaces what matches in a body.
type BodyRule struct {
	From  *regexp.Regexp
	To    []byte // with $1
	Where Matcher
}

// Empty reports whether nothing is changed.
func (r *Rules) Empty() bool {
	return len(r.Paths)+len(r.Edits)+len(r.Bodies)+len(r.Fresh) == 0 && r.BasePath == ""
}

// Apply returns the request of x as the rules want it. copies tells loops and clones of x apart. With an error it must not be sent:
// it would be another request than was asked for.
func (r *Rules) Apply(x *traffic.Exchange, loop, clone uint32) (traffic.Request, error) {
	out := x.Request
	d := &draft{Request: &out}
	if err := r.target(d, x); err != nil {
		return out, err
	}
	for i := range r.Edits {
		e := &r.Edits[i]
		if ok, err := matches(e.Where, x); err != nil {
			return out, err
		} else if !ok {
			continue
		}
		if err := e.apply(d); err != nil {
			return out, err
		}
	}
	for i := range r.Bodies {
		b := &r.Bodies[i]
		if ok, err := matches(b.Where, x); err != nil {
			return out, err
		} else if !ok || len(out.Body) == 0 {
			continue
		}
		plain, err := d.body()
		if err != nil {
			return out, fmt.Errorf("the body cannot be rewritten: %w", err)
		}
		if b.From.Match(plain) {
			d.setBody(b.From.ReplaceAll(plain, b.To))
		}
	}
	for _, p := range r.Fresh {
		if was, ok := p.of(d); ok && len(was) > 0 {
			p.put(d, fresh(r.Seed, was, loop, clone))
		}
	}
	if err := d.close(); err != nil {
		return out, fmt.Errorf("the body cannot be rewritten: %w", err)
	}
	return out, nil
}

// target rewrites the path.
func (r *Rules) target(d *draft, x *traffic.Exchange) error {
	if len(r.Paths) == 0 && r.BasePath == "" || len(d.Target) == 0 || string(d.Target) == "*" {
		return nil
	}
	path, query, _ := cutQuery(d.Target)
	from := pathStart(path)
	was := path[from:]
	now := was
	for i := range r.Paths {
		p := &r.Paths[i]
		if ok, err := matches(p.Where, x); err != nil {
			return err
		} else if ok {
			now = p.From.ReplaceAll(now, []byte(p.To))
		}
	}
	if r.BasePath != "" {
		now = append([]byte(r.BasePath), now...)
	}
	if !bytes.Equal(was, now) {
		d.setTarget(joinQuery(splice(path, from, len(path), now), query))
	}
	return nil
}

func (e *Edit) apply(d *draft) error {
	switch {
	case e.Remove:
		e.Place.remove(d)
		return nil
	case e.Place.kind == inJSON || e.Place.kind == inForm:
		kind := d.kind()
		if len(d.Body) == 0 || e.Place.kind == inForm && kind != 'f' || e.Place.kind == inJSON && kind == 'f' {
			return nil // no such body
		}
		plain, err := d.body()
		if err != nil {
			return fmt.Errorf("the body cannot be rewritten: %w", err)
		}
		if e.JSON {
			if with, ok := e.Place.path.PutJSON(plain, e.Value); ok {
				d.setBody(with)
			}
			return nil
		}
	}
	e.Place.put(d, e.Value)
	return nil
}

// fresh makes another key of one that was recorded: of the same length, and a UUID where that was one. It follows from the seed
// and the recorded key, so that a request that is sent twice has the same, as the client's own repetition had.
func fresh(seed, was []byte, loop, clone uint32) []byte {
	mac := hmac.New(sha256.New, seed)
	mac.Write([]byte("fresh\x00"))
	mac.Write(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, loop), clone))
	mac.Write(was)
	digits := hex.AppendEncode(nil, mac.Sum(nil))
	if len(was) == 36 && was[8] == '-' && was[13] == '-' && was[18] == '-' && was[23] == '-' {
		digits[12], digits[16] = '4', 'a'
		return fmt.Appendf(nil, "%s-%s-%s-%s-%s", digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32])
	}
	return digits[:min(max(len(was), 16), len(digits))]
}
