package redact

import (
	"encoding/binary"
	"unicode/utf8"
)

// maxMessages bounds protobuf messages inside each other.
const maxMessages = 64

// grpc walks the messages of a gRPC body. A compressed one is decoded and encoded again.
func (p *pass) grpc(b []byte, base int) {
	for n, at := 0, 0; at < len(b) && p.err == nil; n++ {
		if at+5 > len(b) { // cut in a prefix
			return
		}
		size := int(binary.BigEndian.Uint32(b[at+1:]))
		head := at
		at += 5
		end := len(b)
		if size <= end-at {
			end = at + size
		}
		p.push(scope{kind: inMessage, index: n})
		mark := len(p.edits)
		switch {
		case b[head]&0x80 != 0: // gRPC-Web: trailers
			p.text(b[at:end], base+at)
		case b[head]&1 != 0:
			p.compressed(b[at:end], base+at)
		default:
			p.protobuf(b[at:end], base+at)
		}
		if delta := p.growth(mark); delta != 0 {
			prefix := p.take(4)
			binary.BigEndian.PutUint32(prefix, uint32(size+delta))
			p.insert(mark, edit{base + head + 1, base + head + 5, prefix, Secret})
		}
		p.pop()
		at = end
	}
}

// growth is how much longer the edits from mark on make what they are in.
func (p *pass) growth(mark int) (delta int) {
	for i := mark; i < len(p.edits); i++ {
		delta += p.edits[i].grows()
	}
	return delta
}

// insert puts an edit before the one that is at mark.
func (p *pass) insert(mark int, e edit) {
	p.edits = append(p.edits, edit{})
	copy(p.edits[mark+1:], p.edits[mark:])
	p.edits[mark] = e
	p.bent = p.bent || e.grows() != 0
}

// compressed redacts a message that is compressed by itself, as grpc-encoding says.
func (p *pass) compressed(b []byte, base int) {
	if len(b) == 0 {
		return
	}
	if p.messages == identity {
		p.err = errHidden
		return
	}
	var c codecs // the pass's own may hold the body
	plain, as, err := c.decode(p.messages, b)
	if err != nil {
		p.err = errCoding
		return
	}
	mark, floor := p.inner()
	p.protobuf(plain, 0)
	p.floor = floor
	if len(p.edits) == mark || p.err != nil {
		return
	}
	plain = p.edited(nil, plain, mark)
	p.edits = p.edits[:mark]
	coded, err := c.encode(as, plain)
	if err != nil {
		p.err = errCoding
		return
	}
	p.put(base, base+len(b), coded)
}

// protobuf walks a message, or what is left of one. What is none is searched as text.
func (p *pass) protobuf(b []byte, base int) {
	if !wellFormed(b, 0) && !cutMessage(b) {
		p.text(b, base)
		return
	}
	first, live := len(p.numbers), len(p.live)
	p.push(scope{kind: inProto, index: first})
	for range p.chosen.grpc {
		p.live = append(p.live, 1)
	}
	p.fieldsOf(b, base, live, keyHit{}, 0)
	p.pop()
	p.numbers, p.live = p.numbers[:first], p.live[:live]
}

// fieldsOf walks the fields of a message. Their positions in the selectors' paths begin at live.
func (p *pass) fieldsOf(b []byte, base, live int, outer keyHit, depth int) {
	for at := 0; at < len(b) && p.err == nil; {
		f := fieldAt(b, at)
		if f.end < 0 { // the message was cut
			if f.kind == lengthDelimited && f.from >= 0 {
				f.size, f.end = -1, len(b)
				p.fieldValue(b, f, base, live, outer, depth)
				return
			}
			p.scan(b[at:], base+at)
			return
		}
		p.fieldValue(b, f, base, live, outer, depth)
		at = f.end
	}
}

// fieldValue handles one field.
func (p *pass) fieldValue(b []byte, f protoField, base, live int, outer keyHit, depth int) {
	rule, inside := outer, len(p.live)
	for n, s := range p.chosen.grpc {
		var next uint64
		for i, want := range s.numbers {
			if p.live[live+n]>>i&1 == 0 || want != anyNumber && want != f.number {
				continue
			}
			if i+1 < len(s.numbers) {
				next |= 1 << (i + 1)
			} else if !rule.chosen() {
				rule = keyHit{rule: &s.rule}
			}
		}
		p.live = append(p.live, next)
	}
	p.numbers = append(p.numbers, f.number)
	mark := len(p.edits)
	switch {
	case rule.drops() && p.claim(rule.rule.Name, dropped, -1):
		p.put(base+f.start, base+f.end, nil)
	case f.kind == lengthDelimited:
		p.delimited(b[f.from:f.end], base+f.from, inside, rule, depth)
		if delta := p.growth(mark); delta != 0 && f.size >= 0 {
			size := binary.AppendUvarint(p.take(10)[:0], uint64(f.end-f.from+delta))
			p.insert(mark, edit{base + f.size, base + f.from, size, Secret})
		}
	case rule.rule != nil && !rule.drops():
		p.scalar(b[f.from:f.end], base+f.from, f.kind, rule)
	}
	p.numbers, p.live = p.numbers[:len(p.numbers)-1], p.live[:inside]
}

// delimited handles a string, bytes or a message: text that has no control characters is a string.
func (p *pass) delimited(v []byte, base, live int, rule keyHit, depth int) {
	if len(v) == 0 {
		return
	}
	text := isText(v)
	if depth < maxMessages && (!text || len(v) > 33 && onlyDelimited(v)) && wellFormed(v, 0) {
		p.fieldsOf(v, base, live, rule, depth+1)
		return
	}
	switch {
	case rule.rule != nil && !rule.drops():
		p.secret(rule, v, base)
	case p.strange(v, base):
	case text:
		p.value(v, base)
	default:
		p.scan(v, base)
	}
}

// scalar handles a number that a selector chose: it becomes another of as many bytes, or 0.
func (p *pass) scalar(v []byte, base int, kind uint64, rule keyHit) {
	if !p.claim(rule.rule.Name, "", -1) {
		return
	}
	with := p.take(len(v))
	p.start(rule.rule.Kind.String(), v, 0)
	for i := range with {
		with[i] = byte(p.below(128))
		if rule.rule.Action != Hash {
			with[i] = 0
		}
		if kind == varint && i < len(v)-1 {
			with[i] |= 0x80
		}
	}
	if kind == varint && with[len(v)-1] == 0 && len(v) > 1 {
		with[len(v)-1] = 1
	}
	p.edits = append(p.edits, edit{base, base + len(v), with, rule.rule.Kind})
}

// Wire types.
const (
	varint          = 0
	fixed64         = 1
	lengthDelimited = 2
	startGroup      = 3
	endGroup        = 4
	fixed32         = 5
)

// protoField is one of a message. Its value is b[from:end]; size is where its length stands; end is -1 when it is cut or none.
type protoField struct {
	number, kind           uint64
	start, size, from, end int
}

// fieldAt reads the field at i. The marks of a group are fields without a value.
func fieldAt(b []byte, i int) protoField {
	tag, n := binary.Uvarint(b[i:])
	f := protoField{number: tag >> 3, kind: tag & 7, start: i, size: -1, from: -1, end: -1}
	if n <= 0 || f.number == 0 || f.number >= 1<<29 {
		return f
	}
	at := i + n
	switch f.kind {
	case varint:
		if _, n := binary.Uvarint(b[at:]); n > 0 {
			f.from, f.end = at, at+n
		}
	case fixed64:
		if at+8 <= len(b) {
			f.from, f.end = at, at+8
		}
	case fixed32:
		if at+4 <= len(b) {
			f.from, f.end = at, at+4
		}
	case startGroup, endGroup:
		f.from, f.end = at, at
	case lengthDelimited:
		size, n := binary.Uvarint(b[at:])
		if n <= 0 {
			return f
		}
		f.size, f.from = at, at+n
		if size <= uint64(len(b)-f.from) {
			f.end = f.from + int(size)
		}
	}
	return f
}

// wellFormed reports whether b[i:] is a message to its end.
func wellFormed(b []byte, i int) bool {
	for groups := 0; ; {
		if i == len(b) {
			return groups == 0
		}
		f := fieldAt(b, i)
		switch {
		case f.end < 0:
			return false
		case f.kind == startGroup:
			groups++
		case f.kind == endGroup:
			if groups--; groups < 0 {
				return false
			}
		}
		i = f.end
	}
}

// cutMessage reports whether b is a message that was cut in its last field.
func cutMessage(b []byte) bool {
	for i := 0; i < len(b); {
		f := fieldAt(b, i)
		if f.end < 0 {
			return i > 0 && f.from >= 0 || f.kind == lengthDelimited && f.from >= 0
		}
		i = f.end
	}
	return false
}

// onlyDelimited reports whether all fields of v have lengths: a message of strings alone can look like text.
func onlyDelimited(v []byte) bool {
	for i := 0; i < len(v); {
		f := fieldAt(v, i)
		if f.end < 0 || f.kind != lengthDelimited {
			return false
		}
		i = f.end
	}
	return true
}

// isText reports whether v is UTF-8 without control characters.
func isText(v []byte) bool {
	for _, c := range v {
		if c < ' ' && !isSpace(c) {
			return false
		}
	}
	return utf8.Valid(v)
}
