package redact

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/reprise-io/reprise/internal/traffic"
)

// width is how many bytes characters have.
type width uint8

const (
	narrow   width = iota
	little16       // UTF-16, low byte first
	big16
	unread // UTF-32 and the like
)

// wide tells UTF-16 by its charset, its mark or its first bytes.
func wide(b, charset []byte) width {
	switch {
	case bytes.HasPrefix(b, []byte("\xff\xfe\x00\x00")), bytes.HasPrefix(b, []byte("\x00\x00\xfe\xff")):
		return unread
	case bytes.HasPrefix(b, []byte("\xfe\xff")):
		return big16
	case bytes.HasPrefix(b, []byte("\xff\xfe")):
		return little16
	case len(charset) >= 6 && traffic.EqualName(charset[:6], "utf-32"):
		return unread
	}
	declared := len(charset) >= 6 && traffic.EqualName(charset[:6], "utf-16")
	switch {
	case traffic.EqualName(charset, "utf-16le"):
		return little16
	case traffic.EqualName(charset, "utf-16be"):
		return big16
	case len(b) < 4:
	case b[0] == 0 && (declared || isOpening(b[1])):
		return big16
	case b[1] == 0 && (declared || isOpening(b[0])):
		return little16
	}
	if declared {
		return big16 // RFC 2781
	}
	return narrow
}

func isOpening(c byte) bool { return c == '{' || c == '[' || c == '<' }

// wide redacts UTF-16 as UTF-8. What does not come back as it was, is not read.
func (p *pass) wide(b []byte, base int, contentType []byte, w width) {
	if w == unread || p.depth >= maxNesting {
		p.err = errCharset
		return
	}
	plain := narrowed(b, w)
	if !bytes.Equal(widened(plain, w), b) {
		p.err = errCharset
		return
	}
	p.depth++
	mark, floor := p.inner()
	media, params := cutMediaType(contentType)
	bare := []byte(media) // its charset is none any more
	if boundary := mediaParam(params, "boundary"); len(boundary) > 0 {
		bare = append(append(bare, "; boundary="...), boundary...)
	}
	p.content(plain, 0, bare)
	p.floor = floor
	p.depth--
	if p.err != nil || len(p.edits) == mark {
		return
	}
	plain = p.edited(nil, plain, mark)
	p.edits = p.edits[:mark]
	p.put(base, base+len(b), widened(plain, w))
}

func (w width) order() binary.ByteOrder {
	if w == big16 {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// narrowed is b as UTF-8, its mark too.
func narrowed(b []byte, w width) []byte {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = w.order().Uint16(b[2*i:])
	}
	out := make([]byte, 0, len(units)+len(units)/2)
	for _, r := range utf16.Decode(units) {
		out = utf8.AppendRune(out, r)
	}
	return out
}

func widened(v []byte, w width) []byte {
	out := make([]byte, 0, 2*len(v))
	for _, u := range utf16.Encode([]rune(string(v))) {
		var pair [2]byte
		w.order().PutUint16(pair[:], u)
		out = append(out, pair[:]...)
	}
	return out
}
