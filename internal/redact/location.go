package redact

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"unicode/utf8"

	"github.com/reprise-io/reprise/internal/traffic"
)

// A location is a string such as
//
//	request.header:Authorization#0        the first field of that name
//	request.cookie:sid#2                  the third cookie of the message
//	request.path#3~@0                     a value at byte 0 of the fourth path segment
//	request.query:phone#1                 the second parameter
//	request.query:q#0~json:/user/phone    JSON inside a parameter
//	response.json:/items/4/note~@12       a value at byte 12 of a string
//	request.json:/query~graphql:pin#4     the fifth named value in the text of a GraphQL query
//	request.xml:/a#0/card#2/@no           an attribute of an element, by the elements before it in the same one
//	request.message#0~proto:/1/3          a field of a gRPC message
//	response.text~@1022                   a value in any other body
//	request.query:debug#2~-               a parameter that stood there and was dropped
//
// Names are as stored. In them ~ is written ~0, a slash in a JSON key ~1, a byte that is no printable UTF-8 ~%XX, and a
// name longer than maxName is ~! and its hash; ~@ is an offset into the decoded value as stored, ~# counts what would otherwise
// have the same location (a JSON key that stands twice), ~$ the documents of a stream of JSON. So ~ always begins a mark,
// and no name that a client chooses can pass for another location.

// scopeKind is a part of a message that has a name or number of its own.
type scopeKind uint8

const (
	inHeader scopeKind = iota
	inTrailer
	inCookie
	inSetCookie
	inAuthority
	inUserinfo
	inPath
	inPathParam
	inQuery
	inFragment
	inForm
	inPart
	inPartHead
	inLine
	inJSON
	inText
	inXML
	inMessage
	inProto
	inPattern
	inGraphQL
)

func (k scopeKind) String() string {
	return [...]string{
		"header", "trailer", "cookie", "set-cookie", "authority", "userinfo", "path", "path-param", "query", "fragment",
		"form", "part", "part-head", "line", "json", "text", "xml", "message", "proto", "body", "graphql",
	}[k]
}

// scope is one step of a location.
type scope struct {
	kind   scopeKind
	name   []byte // as stored; for JSON see frames
	index  int    // the how-manieth; JSON: its first frame. -1: none
	fields []traffic.Field
	hashed bool // name is already ~! and its hash
}

// maxName is the length in bytes up to which a name is written out in a location.
const maxName = 128

// locate writes the location of the current scope into p.loc. offset is -1 for a whole value.
func (p *pass) locate(mark string, offset int) {
	p.loc = append(p.loc[:0], p.message...)
	for i := range p.scopes {
		s := &p.scopes[i]
		if i == 0 {
			p.loc = append(p.loc, '.')
		} else {
			p.loc = append(p.loc, '~')
		}
		p.loc = append(p.loc, s.kind.String()...)
		switch s.kind {
		case inJSON:
			p.loc = append(p.loc, ':')
			p.pointer(p.frames[s.index:p.end(inJSON, i, len(p.frames))])
			continue
		case inXML:
			p.elements(s, i)
			continue
		case inProto:
			p.loc = append(p.loc, ':')
			for _, n := range p.numbers[s.index:p.end(inProto, i, len(p.numbers))] {
				p.loc = strconv.AppendUint(append(p.loc, '/'), n, 10)
			}
			continue
		case inHeader, inTrailer, inSetCookie:
			p.name(&s.name, &s.hashed)
			p.loc = strconv.AppendInt(append(p.loc, '#'), int64(s.occurrence()), 10)
			continue
		case inCookie, inPathParam, inQuery, inFragment, inForm, inPart:
			p.name(&s.name, &s.hashed)
		case inGraphQL:
			if s.index >= 0 {
				p.name(&s.name, &s.hashed)
			}
		}
		if s.index >= 0 {
			p.loc = strconv.AppendInt(append(p.loc, '#'), int64(s.index), 10)
		}
	}
	p.loc = append(p.loc, mark...)
	if offset >= 0 {
		p.loc = strconv.AppendInt(append(p.loc, "~@"...), int64(offset), 10)
	}
}

// end returns where the steps end that belong to scope i: where those of the next scope of its kind begin, which is in it.
func (p *pass) end(kind scopeKind, i, all int) int {
	for _, inner := range p.scopes[i+1:] {
		if inner.kind == kind {
			return inner.index
		}
	}
	return all
}

// occurrence counts the fields of the same name before this one. In a block of more than 256 fields it is the position,
// so that no block costs quadratic time.
func (s *scope) occurrence() int {
	if len(s.fields) > 256 || s.index < 0 || s.index >= len(s.fields) {
		return s.index
	}
	n := 0
	for i := range s.fields[:s.index] {
		if sameName(s.fields[i].Name, s.fields[s.index].Name) {
			n++
		}
	}
	return n
}

func sameName(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] && !(isLetter(a[i]) && a[i]|0x20 == b[i]|0x20) {
			return false
		}
	}
	return true
}

// pointer writes frames as a JSON pointer.
func (p *pass) pointer(frames []frame) {
	for i := range frames {
		f := &frames[i]
		switch {
		case i == 0 && f.index > 0:
			p.loc = strconv.AppendInt(append(p.loc, "~$"...), int64(f.index), 10)
		case f.array:
			p.loc = strconv.AppendInt(append(p.loc, '/'), int64(f.index), 10)
			continue
		}
		if f.keyed {
			if f.escaped {
				f.key, f.escaped = unescapeJSON(p.take(len(f.key))[:0], f.key), false
			}
			p.loc = append(p.loc, '/')
			p.escape(&f.key, &f.hashed, true)
		}
	}
}

func (p *pass) name(name *[]byte, hashed *bool) {
	p.loc = append(p.loc, ':')
	p.escape(name, hashed, false)
}

// escape writes a name. A long one is hashed once and then remembered as its hash.
func (p *pass) escape(name *[]byte, hashed *bool, pointer bool) {
	if len(*name) > maxName {
		sum := sha256.Sum256(*name)
		short := p.take(2 + 2*8)
		hex.Encode(short[copy(short, "~!"):], sum[:8])
		*name, *hashed = short, true
	}
	if *hashed {
		p.loc = append(p.loc, *name...)
		return
	}
	for v := *name; len(v) > 0; {
		c := v[0]
		switch {
		case c == '~':
			p.loc = append(p.loc, "~0"...)
		case c == '/' && pointer:
			p.loc = append(p.loc, "~1"...)
		case c >= 0x20 && c < 0x7f:
			p.loc = append(p.loc, c)
		default:
			if r, n := utf8.DecodeRune(v); c >= 0x80 && (r != utf8.RuneError || n > 1) {
				p.loc = append(p.loc, v[:n]...)
				v = v[n:]
				continue
			}
			p.loc = append(p.loc, '~', '%', "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15])
		}
		v = v[1:]
	}
}

// place is a location as a string, and what the current pass knows about it.
type place struct {
	text         string
	seen, listed uint32 // number of the pass in which it was met, or listed in the record
	again        int    // times it was met again in that pass
}

// maxPlaces bounds the locations that are remembered between exchanges.
const maxPlaces = 2048

// at returns the place for p.loc.
func (p *pass) at() *place {
	if pl, ok := p.places[string(p.loc)]; ok {
		return pl
	}
	pl := &place{text: string(p.loc)}
	p.places[pl.text] = pl
	return pl
}

// list remembers the locations that the record says are pseudonyms already.
func (p *pass) list(redactions []traffic.Redaction) {
	for i := range redactions {
		text := redactions[i].Location
		p.eager = p.eager || len(p.r.known) > 0 && !p.r.known[redactions[i].Rule]
		pl, ok := p.places[text]
		if !ok {
			pl = &place{text: text}
			p.places[text] = pl
		}
		pl.listed = p.number
	}
}

// dropped marks the place of what is there no more.
const dropped = "~-"

// listed reports whether the value at the current scope is in the record's list as a whole.
func (p *pass) listed() bool {
	p.locate("", -1)
	pl, ok := p.places[string(p.loc)]
	if !ok {
		return false
	}
	if pl.seen == p.number {
		pl.again++
		p.loc = strconv.AppendInt(append(p.loc, "~#"...), int64(pl.again), 10)
		if pl, ok = p.places[string(p.loc)]; !ok {
			return false
		}
	}
	pl.seen, pl.again = p.number, 0
	return pl.listed == p.number
}

// claim decides about one value at the current scope: false when it is a listed pseudonym, or when the exchange has too
// many. Otherwise the redaction is recorded and the caller replaces the value. A Rekeyer's pass is the other way round:
// what is listed is replaced, beside identities, and nothing is recorded.
func (p *pass) claim(rule, mark string, offset int) bool {
	if p.err != nil {
		return false
	}
	p.locate(mark, offset)
	pl := p.at()
	if pl.seen == p.number {
		pl.again++
		p.loc = strconv.AppendInt(append(p.loc, "~#"...), int64(pl.again), 10)
		pl = p.at()
	}
	pl.seen, pl.again = p.number, 0
	if p.r.rekey {
		return p.anew(rule, pl.listed == p.number)
	}
	if pl.listed == p.number {
		return false
	}
	if len(p.found) >= maxRedactions || p.foundBytes+len(pl.text) > maxLocationBytes {
		p.err = errTooMany
		return false
	}
	p.foundBytes += len(pl.text)
	p.found = append(p.found, traffic.Redaction{
		Rule: rule, Version: p.r.rules.Version, KeyID: p.r.keyID, Location: pl.text,
	})
	return true
}
