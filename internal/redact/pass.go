package redact

import (
	"bytes"
	"errors"

	"github.com/reprise-io/reprise/internal/traffic"
)

// Bounds of one exchange. Beyond them it fails closed.
const (
	maxRedactions    = 10_000
	maxLocationBytes = 512 << 10
	maxNesting       = 4 // JSON in a parameter of a URL in a string …
)

var (
	errTooMany = errors.New("too many values to redact")
	errTooDeep = errors.New("nested too deep")
)

// edit replaces a part of a value by as many bytes: a body's length, Content-Length and all offsets stay right.
type edit struct {
	from, to int
	with     []byte
	kind     Kind
}

// pass redacts one exchange at a time; a Redactor keeps a pool of them. Scanners walk a value without changing it and
// leave edits; whoever decoded the value maps the edits back to its raw form; the top applies them to a copy.
type pass struct {
	*pseudonyms
	r       *Redactor
	number  uint32 // of the exchange, so that places need no clearing
	message string // "request" or "response"

	scopes []scope
	frames []frame
	edits  []edit
	depth  int

	arena []byte // scratch until the end of the exchange
	kept  []byte // chunk for small values that outlive it

	loc        []byte
	places     map[string]*place
	found      []traffic.Redaction
	foundBytes int
	actions    map[string]headerAction
	cookies    int // of the current message
	codecs     codecs
	err        error

	// A Rekeyer's.
	who, request uint64 // the clone, and the clone in its loop
	identity     bool   // what is being replaced is no pseudonym
	swaps        []Swap
}

func newPass(r *Redactor) *pass {
	return &pass{
		pseudonyms: newPseudonyms(r.key),
		r:          r,
		places:     map[string]*place{},
		actions:    map[string]headerAction{},
	}
}

// begin makes p ready for the next exchange.
func (p *pass) begin() {
	p.number++
	if p.number == 0 || len(p.places) > maxPlaces {
		clear(p.places)
		p.number = 1
	}
	if cap(p.arena) > 1<<20 {
		p.arena = nil
	}
	p.arena = p.arena[:0]
	p.scopes, p.frames, p.edits = p.scopes[:0], p.frames[:0], p.edits[:0]
	clear(p.found)
	p.found, p.foundBytes, p.depth, p.err = p.found[:0], 0, 0, nil
}

// take returns n bytes of scratch.
func (p *pass) take(n int) []byte {
	if cap(p.arena)-len(p.arena) < n {
		p.arena = make([]byte, 0, max(4096, 2*n, min(2*cap(p.arena), 64<<10)))
	}
	at := len(p.arena)
	p.arena = p.arena[:at+n]
	return p.arena[at : at+n : at+n]
}

// keep returns n bytes that outlive the pass.
func (p *pass) keep(n int) []byte {
	if n > 512 {
		return make([]byte, n)
	}
	if cap(p.kept)-len(p.kept) < n {
		p.kept = make([]byte, 0, 4096)
	}
	at := len(p.kept)
	p.kept = p.kept[:at+n]
	return p.kept[at : at+n : at+n]
}

// apply returns v with the edits made, v itself when there are none, and forgets them.
func (p *pass) apply(v []byte) []byte {
	if len(p.edits) == 0 {
		return v
	}
	out := p.keep(len(v))
	copy(out, v)
	for i := range p.edits {
		e := &p.edits[i]
		if len(e.with) != e.to-e.from {
			panic("redact: an edit changes the length")
		}
		copy(out[e.from:e.to], e.with)
	}
	clear(p.edits)
	p.edits = p.edits[:0]
	return out
}

func (p *pass) push(s scope) *scope {
	p.scopes = append(p.scopes, s)
	return &p.scopes[len(p.scopes)-1]
}

func (p *pass) pop() { p.scopes = p.scopes[:len(p.scopes)-1] }

// replace puts the pseudonym of v[from:to] in its place; v begins at base.
func (p *pass) replace(kind Kind, v []byte, from, to, base int) {
	with := p.take(to - from)
	p.write(with, kind, v[from:to])
	if p.identity {
		p.swap(v[from:to], with)
	}
	p.edits = append(p.edits, edit{base + from, base + to, with, kind})
}

// scan replaces what the detectors find in v.
func (p *pass) scan(v []byte, base int) { p.scanFrom(v, 0, base) }

// scanFrom is scan for the part of v that begins at i.
func (p *pass) scanFrom(v []byte, i, base int) {
	for len(v)-i >= shortest {
		s, ok := p.r.detect.next(v, i)
		if !ok {
			return
		}
		if p.claim(s.kind.String(), "", s.from) {
			p.replace(s.kind, v, s.from, s.to, base)
		}
		i = s.to
	}
}

// prose is scan for text in which URLs may stand: their queries have named values.
func (p *pass) prose(v []byte, base int) {
	from := 0
	for {
		mark := bytes.IndexByte(v[from:], '?')
		if mark < 0 {
			p.scanFrom(v, from, base)
			return
		}
		query := from + mark + 1
		end, pairs := query, false
		for end < len(v) && v[end] > ' ' && bytes.IndexByte([]byte("\"'<>()?"), v[end]) < 0 {
			pairs = pairs || v[end] == '='
			end++
		}
		if !pairs {
			p.scanFrom(v[:end], from, base)
		} else {
			p.scanFrom(v[:query], from, base)
			p.params(v[query:end], base+query, inQuery, '&')
		}
		from = end
	}
}

// value looks into a decoded value: JSON or a URL with its named values, else what the detectors know.
func (p *pass) value(v []byte, base int) {
	if len(v) < shortestNested {
		return
	}
	switch v[0] {
	case '{', '[':
		if p.depth < maxNesting && bytes.IndexByte(v, ':') > 0 {
			p.depth++
			p.json(v, base, keyHit{})
			p.depth--
			return
		}
	case 'h', 'H', 'w', 'W', '/', '?':
		if p.depth < maxNesting && looksLikeURL(v) {
			p.depth++
			p.url(v, base)
			p.depth--
			return
		}
	}
	if p.depth >= maxNesting {
		p.scan(v, base)
		return
	}
	p.depth++
	p.prose(v, base)
	p.depth--
}

// shortestNested is the length of the shortest value that can hold a named one: {"pin":1}.
const shortestNested = 9

// secret replaces a whole decoded value that stands under a named key.
func (p *pass) secret(hit keyHit, v []byte, base int) {
	if len(bytes.TrimSpace(v)) == 0 {
		return
	}
	if p.claim(hit.rule.Name, "", -1) {
		p.whole(hit.rule.Kind, v, base)
	}
}

// whole replaces all of v. What a detector knows as a whole is replaced as that, so that a phone number is the same
// under "phone" and in a path.
func (p *pass) whole(kind Kind, v []byte, base int) {
	if s, ok := p.r.detect.next(v, 0); ok && s.to == len(v) && isCountryCode(v[:s.from]) {
		p.replace(s.kind, v, s.from, s.to, base)
		return
	}
	if kind != Email || bytes.IndexByte(v, '@') < 0 {
		kind = Secret
	}
	p.replace(kind, v, 0, len(v), base)
}

// isCountryCode reports whether nothing but +86 in one of its spellings stands in v.
func isCountryCode(v []byte) bool {
	for _, c := range v {
		if c != '+' && c != '0' && c != '8' && c != '6' && c != '(' && c != ')' && !isSeparator(c) {
			return false
		}
	}
	return len(v) <= 8
}

func isNumber(v []byte) bool {
	for _, c := range v {
		if !isDigit(c) && c != '-' && c != '+' && c != '.' && c|0x20 != 'e' {
			return false
		}
	}
	return true
}

// ownName replaces what the detectors find in a name itself: a JSON key or a parameter can be a phone number. name is
// what the current scope shows, so that locations hold the stored form.
func (p *pass) ownName(name *[]byte, hashed *bool, base int) {
	if len(*name) < shortest || p.err != nil {
		return
	}
	v, mark := *name, len(p.edits)
	p.identity, p.clone = false, p.who
	var stored []byte
	for i := 0; ; {
		s, ok := p.r.detect.next(v, i)
		if !ok {
			break
		}
		i = s.to
		p.locate("~name", s.from)
		if (p.at().listed == p.number) != p.r.rekey || p.r.rekey && p.who == 0 {
			continue
		}
		if stored == nil {
			stored = append(p.take(len(v))[:0], v...)
		}
		p.replace(s.kind, v, s.from, s.to, base)
		copy(stored[s.from:s.to], p.edits[len(p.edits)-1].with)
	}
	if stored == nil || p.r.rekey { // the list has the name as it was
		return
	}
	*name, *hashed = stored, false
	for i := mark; i < len(p.edits); i++ {
		p.claim(p.edits[i].kind.String(), "~name", p.edits[i].from-base)
	}
}
