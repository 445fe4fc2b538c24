// Package redact replaces secrets and personal data in recorded exchanges by keyed pseudonyms before anything is
// stored. A pseudonym keeps the type, the shape and the length of its value, and is the same wherever the value stands,
// so that sessions and logins still join. What is redacted is listed in the record by location; a second redaction
// skips what is listed.
//
// It fails closed: a body that cannot be redacted is removed, and an exchange whose headers cannot be is not to be
// stored. It knows no names of protobuf fields, reads no archives and no attachments in base64, and leaves client addresses
// as they are.
package redact

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/reprise-io/reprise/internal/traffic"
)

// ShortestKey is how many bytes a key has at least.
const ShortestKey = 16

// Options configure a Redactor.
type Options struct {
	Key   []byte // pseudonym key; empty: a random one, so that nothing joins with another process
	KeyID string // name of the key in the record; empty: derived from the key, which it does not reveal
	Rules *Rules // nil: DefaultRules
}

// Redactor redacts exchanges. It is safe for concurrent use.
type Redactor struct {
	rules   *Rules
	key     []byte
	keyID   string
	digest  []byte
	keys    *keyMatcher
	words   *keyMatcher
	headers map[string]headerAction
	detect  detector
	passes  sync.Pool
	rekey   bool // it is a Rekeyer's
	paths   [][]string

	selectors []*selector
	known     map[string]bool // names of rules; empty without selectors of ours or, maybe, of others
}

// meaning is raised whenever the same rules find more than before, or replace it otherwise: what an older tap has redacted by them
// is then redacted again by a newer replayer, whose digest is another.
const meaning = 3

// New compiles a rule set. Without a key it takes a random one.
func New(o Options) (*Redactor, error) {
	r := &Redactor{rules: o.Rules, key: bytes.Clone(o.Key), keyID: o.KeyID, headers: map[string]headerAction{}}
	if r.rules == nil {
		r.rules = DefaultRules()
	}
	if len(r.key) == 0 {
		r.key = make([]byte, 32)
		rand.Read(r.key) // never fails
	}
	if r.keyID == "" {
		mac := hmac.New(sha256.New, r.key)
		mac.Write([]byte("key id"))
		r.keyID = hex.EncodeToString(mac.Sum(nil)[:4])
	}
	canonical, err := json.Marshal(r.rules)
	if err != nil {
		return nil, fmt.Errorf("redaction rules: %w", err)
	}
	sum := sha256.Sum256(fmt.Appendf(canonical, "%s%d", r.keyID, meaning))
	r.digest = sum[:16]
	if err := r.compile(); err != nil {
		return nil, err
	}
	r.keys = newKeyMatcher(r.rules.Keys)
	r.words = newKeyMatcher([]KeyRule{r.rules.Words})
	r.detect = newDetector(r.rules.Detectors)
	for _, h := range r.rules.Headers {
		for _, name := range h.Names {
			r.headers[name] = headerAction{h.Action, h.Name}
		}
	}
	r.passes.New = func() any { return newPass(r) }
	return r, nil
}

// compile makes the selectors, and the names of all rules.
func (r *Redactor) compile() error {
	if len(r.rules.Selectors) > maxSelectors {
		return fmt.Errorf("redaction rules: %d selectors, at most %d are possible", len(r.rules.Selectors), maxSelectors)
	}
	detect := newDetector(r.rules.Detectors)
	r.known = map[string]bool{inUserinfo.String(): true, r.rules.Words.Name: true}
	for i := range r.rules.Selectors {
		s, err := compileSelector(&r.rules.Selectors[i])
		if err != nil {
			return fmt.Errorf("redaction rules: %w", err)
		}
		if _, found := detect.next([]byte(s.With), 0); found {
			return fmt.Errorf("redaction rules: rule %s: the text to put in would itself be redacted", s.Name)
		}
		r.selectors = append(r.selectors, s)
		r.known[s.Name] = true
	}
	for i := range r.rules.Keys {
		r.known[r.rules.Keys[i].Name] = true
	}
	for _, h := range r.rules.Headers {
		r.known[h.Name] = true
	}
	for k := Secret; k <= lastKind; k++ {
		r.known[k.String()] = true
	}
	return nil
}

// Digest identifies the rules and the key: records with the same digest need no second redaction. It must not be
// written to.
func (r *Redactor) Digest() []byte { return r.digest }

// KeyID is the name of the key as it stands in every redaction.
func (r *Redactor) KeyID() string { return r.keyID }

// Exchange redacts x in place: it replaces slices and never writes into them. It appends to x.Redactions, skips the
// locations that are listed there, and sets x.RulesDigest. A body that cannot be redacted is removed, its size kept and
// x flagged. With an error the exchange must not be stored: its headers, or redaction itself, failed.
func (r *Redactor) Exchange(x *traffic.Exchange) error {
	return r.run(func(p *pass) error {
		p.list(x.Redactions)
		q := &x.Request
		p.method, p.route = q.Method, PathOf(q.Target)
		p.enter("request")
		p.authority(q.Authority, 0)
		q.Authority = p.apply(q.Authority)
		p.target(q.Target, string(q.Method) == "CONNECT")
		q.Target = p.apply(q.Target)
		coded := q.Headers // as they came
		q.Headers = p.fields(q.Headers, inHeader)
		q.Trailers = p.fields(q.Trailers, inTrailer)
		body, ok := p.body(q.Body, coded)
		if !ok {
			x.Flags |= traffic.RedactionFailed | traffic.RedactionFailedRequest
			q.BodySize = max(q.BodySize, int64(len(q.Body)))
		} else {
			q.Headers, q.BodySize = resized(q.Headers, q.BodySize, len(q.Body), len(body))
		}
		q.Body = body
		if x.Response != nil {
			x.Flags |= p.response(x.Response)
		}
		if p.err != nil {
			return p.err
		}
		if len(p.found) > 0 {
			x.Redactions = append(slices.Clip(x.Redactions), p.found...)
		}
		x.RulesDigest = r.digest
		return nil
	})
}

// Response redacts an answer in place, as Exchange does, and returns the flags that it earned: RedactionFailed when its
// body was removed. q is what it answers; nil: not known, and rules that are for some requests are for it too. With an
// error the answer must not be stored or shown.
func (r *Redactor) Response(q *traffic.Request, res *traffic.Response) (flags traffic.Flags, err error) {
	err = r.run(func(p *pass) error {
		if q != nil {
			p.method, p.route = q.Method, PathOf(q.Target)
		}
		flags = p.response(res)
		return p.err
	})
	return flags, err
}

func (p *pass) response(res *traffic.Response) (flags traffic.Flags) {
	p.enter("response")
	coded := res.Headers
	res.Headers = p.fields(res.Headers, inHeader)
	res.Trailers = p.fields(res.Trailers, inTrailer)
	body, ok := p.body(res.Body, coded)
	if !ok {
		flags = traffic.RedactionFailed
		res.BodySize = max(res.BodySize, int64(len(res.Body)))
	} else {
		res.Headers, res.BodySize = resized(res.Headers, res.BodySize, len(res.Body), len(body))
	}
	res.Body = body
	return flags
}

// resized makes the length that a message declares, and its size, those of the body as stored, if the whole of it was there.
func resized(fields []traffic.Field, size int64, was, is int) ([]traffic.Field, int64) {
	if was == is || size > int64(was) {
		return fields, size
	}
	for i := range fields {
		if traffic.EqualName(fields[i].Name, "Content-Length") {
			fields = slices.Clone(fields)
			fields[i].Value = strconv.AppendInt(nil, int64(is), 10)
		}
	}
	return fields, int64(is)
}

// Text returns v, or a copy with the values replaced that stand in it, for snippets outside an exchange: as a JSON or URL
// value, else by the detectors.
func (r *Redactor) Text(v []byte) []byte {
	return r.alone(v, func(p *pass) {
		p.push(scope{kind: inText, index: -1})
		p.value(v, 0)
	})
}

// Path returns the redacted path of a raw request target, without its query: the same that Exchange leaves in the
// target. Call it before Exchange, or use PathOf on the redacted target: a pseudonym would be replaced again.
func (r *Redactor) Path(target []byte) []byte {
	path := PathOf(target)
	return r.alone(path, func(p *pass) { p.path(path, 0) })
}

// PathOf returns the path of a request target, without query and fragment; "*" and authority forms stay whole.
func PathOf(target []byte) []byte {
	for _, end := range [...]byte{'?', '#'} {
		if i := bytes.IndexByte(target, end); i >= 0 {
			target = target[:i]
		}
	}
	if path := pathStart(target); path < len(target) {
		return target[path:]
	} else if path > 0 {
		return []byte("/")
	}
	return target
}

// alone runs walk over a value that is no part of an exchange. When that fails nothing of the value is left.
func (r *Redactor) alone(v []byte, walk func(*pass)) (out []byte) {
	err := r.run(func(p *pass) error {
		p.enter("text")
		walk(p)
		if p.err == nil {
			out = p.apply(v)
		}
		return p.err
	})
	if err != nil {
		return nil
	}
	return out
}

// Pseudonym returns the pseudonym of a value in a domain. In the domains of the kinds ("secret", "cn-mobile", "cn-id",
// "card", "email", "cn-landline", "iban", "passport") it has the value's shape; the value must then be of that kind. In any other it is 32 hexadecimal
// digits, so that short values do not collide.
func (r *Redactor) Pseudonym(domain string, value []byte) (out []byte) {
	if len(value) == 0 {
		return nil
	}
	err := r.run(func(p *pass) error {
		for k := Secret; k <= lastKind; k++ {
			if k.domain() != domain {
				continue
			}
			switch k {
			case Mobile, IDNumber, Card, Landline, IBAN:
				if s, ok := newDetector([]Kind{k}).next(value, 0); !ok || s.from != 0 || s.to != len(value) {
					k = Secret
				}
			}
			out = make([]byte, len(value))
			p.write(out, k, value)
			return nil
		}
		out = p.opaque(domain, value)
		return nil
	})
	if err != nil {
		return nil
	}
	return out
}

// run gives work a pass. A panic in it is an error: what was being redacted must not be stored.
func (r *Redactor) run(work func(*pass) error) (err error) {
	p := r.passes.Get().(*pass)
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("redact: internal error: %v", v) // and the pass is not used again
			return
		}
		p.rest()
		r.passes.Put(p)
	}()
	p.begin()
	return work(p)
}

// rest drops what points into the exchange that was redacted.
func (p *pass) rest() {
	clear(p.scopes[:cap(p.scopes)])
	clear(p.frames[:cap(p.frames)])
	clear(p.edits[:cap(p.edits)])
	clear(p.tree[:cap(p.tree)])
	p.method, p.route = nil, nil
	if cap(p.edits) > 1024 {
		p.edits = nil
	}
	if cap(p.found) > 1024 {
		p.found = nil
	}
	if p.codecs.plain.Cap() > 1<<20 {
		p.codecs = codecs{}
	}
}
