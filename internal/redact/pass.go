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
	maxGrowth        = 64 << 10 // of a body, by what rules put in
	maxNesting       = 4        // JSON in a parameter of a URL in a string …
)

var (
	errTooMany = errors.New("too many values to redact")
	errTooDeep = errors.New("nested too deep")
)

// edit replaces a part of a value, by as many bytes unless a rule of the user's drops or replaces it.
type edit struct {
	from, to int
	with     []byte
	kind     Kind
}

// grows is how many bytes longer it makes the value.
func (e *edit) grows() int { return len(e.with) - (e.to - e.from) }

// pass redacts one exchange at a time; a Redactor keeps a pool of them. Scanners walk a value without changing it and
// leave edits; whoever decoded the value maps the edits back to its raw form; the top applies them to a copy.
type pass struct {
	*pseudonyms
	r       *Redactor
	number  uint32 // of the exchange, so that places need no clearing
	message string // "request" or "response"

	scopes   []scope
	frames   []frame
	edits    []edit
	floor    int  // first edit of the value at hand, when it was decoded
	bent     bool // an edit has changed a length
	depth    int
	chosen   chosen // selectors of the message at hand
	method   []byte // of the request, as it came; nil: not known
	route    []byte // its path
	live     []uint64
	tree     []element
	numbers  []uint64 // of protobuf fields
	messages coding   // of gRPC messages
	eager    bool     // the list has rules that are not ours

	arena []byte // scratch until the end of the exchange
	kept  []byte // chunk for small values that outlive it

	loc        []byte
	places     map[string]*place
	found      []traffic.Redaction
	foundBytes int
	actions    map[string]headerAction
	cookies    int  // of the current message
	agent      bool // in a user agent
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
	p.unwind()
	clear(p.found)
	p.found, p.foundBytes, p.err = p.found[:0], 0, nil
	p.method, p.route, p.eager = nil, nil, false
}

// unwind forgets where p is.
func (p *pass) unwind() {
	clear(p.edits)
	p.scopes, p.frames, p.edits = p.scopes[:0], p.frames[:0], p.edits[:0]
	p.live, p.tree, p.numbers = p.live[:0], p.tree[:0], p.numbers[:0]
	p.floor, p.bent, p.depth, p.agent = 0, false, 0, false
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
	size := len(v)
	if p.bent {
		for i := range p.edits {
			size += p.edits[i].grows()
		}
	}
	out := p.edited(p.keep(size)[:0], v, 0)
	clear(p.edits)
	p.edits, p.bent = p.edits[:0], false
	return out
}

// edited appends v with the edits from mark on made.
func (p *pass) edited(dst, v []byte, mark int) []byte {
	at := 0
	for i := mark; i < len(p.edits); i++ {
		e := &p.edits[i]
		dst = append(append(dst, v[at:e.from]...), e.with...)
		at = e.to
	}
	return append(dst, v[at:]...)
}

// inner begins a value that was decoded: its edits are from mark on, until leave turns them into edits of the raw form.
func (p *pass) inner() (mark, floor int) {
	mark, floor = len(p.edits), p.floor
	p.floor = mark
	return mark, floor
}

// stored returns the offset that from, in a value that begins at base, has in what is stored.
func (p *pass) stored(from, base int) int {
	if !p.bent {
		return from
	}
	offset := from
	for i := p.floor; i < len(p.edits); i++ {
		if e := &p.edits[i]; e.from >= base {
			offset += e.grows()
		}
	}
	return offset
}

// put replaces [from, to) by any other text. Edits that are inside of it are none any more.
func (p *pass) put(from, to int, with []byte) {
	for n := len(p.edits); n > p.floor && p.edits[n-1].from >= from; n-- {
		p.edits = p.edits[:n-1]
	}
	p.bent = p.bent || len(with) != to-from
	p.edits = append(p.edits, edit{from: from, to: to, with: with})
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
		if p.agent && s.kind == Email {
			i = s.to
			continue
		}
		if p.claim(s.kind.String(), "", p.stored(s.from, base)) {
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
		for end < len(v) && !endsURL(v[end]) {
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

// endsURL reports whether a URL in a text ends before c.
func endsURL(c byte) bool {
	switch c {
	case '"', '\'', '<', '>', '(', ')', '?':
		return true
	}
	return c <= ' '
}

// value looks into a decoded value: JSON or a URL with its named values, else what the detectors know.
func (p *pass) value(v []byte, base int) {
	if len(v) < shortestNested {
		return
	}
	switch v[0] {
	case '{', 'q', 'm', 's', 'f', ' ', '\t', '\r', '\n', '#':
		if p.depth < maxNesting && looksLikeGraphQL(v) {
			p.depth++
			p.graphql(v, base)
			p.depth--
			return
		}
	}
	switch v[0] {
	case '{', '[':
		if p.depth < maxNesting && bytes.IndexByte(v, ':') > 0 {
			p.depth++
			p.json(v, base, keyHit{})
			p.depth--
			return
		}
	case '<':
		if p.depth < maxNesting && looksLikeXML(v) {
			p.depth++
			p.xml(v, base)
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

// shortestNested is the length of the shortest value that is looked into: one that a detector knows, or that holds a named one, {"pin":1}.
const shortestNested = shortest

// secret replaces a whole decoded value that stands under a named key.
func (p *pass) secret(hit keyHit, v []byte, base int) {
	if len(bytes.TrimSpace(v)) == 0 {
		return
	}
	if p.claim(hit.rule.Name, "", -1) {
		p.treat(hit.rule, v, base)
	}
}

// treat does to all of v what a rule says.
func (p *pass) treat(rule *KeyRule, v []byte, base int) {
	switch rule.Action {
	case Mask:
		with := p.take(len(v))
		for i := range with {
			with[i] = '*'
		}
		p.put(base, base+len(v), with)
	case Replace:
		p.put(base, base+len(v), []byte(rule.With))
	default:
		p.whole(rule.Kind, v, base)
	}
}

// strange deals with a value that the record lists under a rule that is not ours: it is a pseudonym, or what a mask left.
// A Rekeyer makes another of it.
func (p *pass) strange(v []byte, base int) bool {
	if !p.eager || len(bytes.TrimSpace(v)) == 0 || !p.listed() {
		return false
	}
	if p.r.rekey && p.anew("", true) {
		p.whole(Secret, v, base)
	}
	return true
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
