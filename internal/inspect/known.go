package inspect

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"slices"

	"github.com/reprise-io/reprise/internal/fault"
)

// Bounds of a list of known secrets. What is shorter would be found everywhere.
const (
	leastKnown     = 4
	mostKnown      = 100_000
	mostKnownBytes = 8 << 10 // of one
)

// Known are secrets that somebody knows, and wants to be sure that they were not stored. It is not safe for concurrent use.
type Known struct {
	needles map[uint32][]needle // by their first four bytes
	first   [1 << 13]uint64     // bits for these
	scratch [2][]byte
	hits    []Hit
}

type needle struct {
	text []byte
	hit  Hit
}

// Hit is a secret that was found: the line of its file, and the form in which it stands.
type Hit struct {
	Line int
	Form string
}

// ReadKnown reads secrets, one a line. The error is a *fault.Error and repeats none of them.
func ReadKnown(r io.Reader, name string) (*Known, error) {
	k := &Known{needles: map[uint32][]needle{}}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, mostKnownBytes)
	n := 0
	for line := 1; lines.Scan(); line++ {
		text := bytes.TrimRight(lines.Bytes(), "\r")
		switch {
		case len(bytes.TrimSpace(text)) == 0:
			continue
		case len(text) < leastKnown:
			return nil, fault.BadUsage(fmt.Sprintf("line %d of %s has %d bytes", line, name, len(text)),
				"what is so short stands everywhere", fmt.Sprintf("secrets of at least %d bytes, one a line", leastKnown))
		}
		if n++; n > mostKnown {
			return nil, fault.BadUsage(fmt.Sprintf("%s has more than %d secrets", name, mostKnown), "", "several files, one after another")
		}
		k.add(bytes.Clone(text), line)
	}
	if err := lines.Err(); err != nil {
		return nil, fault.BadUsage("cannot read the secrets of "+name, err.Error(), fmt.Sprintf("one secret a line, of %d bytes at most", mostKnownBytes))
	}
	if n == 0 {
		return nil, fault.BadUsage("there are no secrets in "+name, "", "one secret a line")
	}
	return k, nil
}

// add makes the forms in which a secret is looked for. Percent encoding and JSON escapes can be written in many ways: they are taken off
// what is searched instead.
func (k *Known) add(secret []byte, line int) {
	k.put(secret, Hit{line, "as it is"})
	k.put(hex.AppendEncode(nil, secret), Hit{line, "hexadecimal"})
	k.put(bytes.ToUpper(hex.AppendEncode(nil, secret)), Hit{line, "hexadecimal"})
	for before := range 3 { // bytes in front of it, in the same group of three
		padded := append(make([]byte, before), secret...)
		from, to := (before*8+5)/6, len(padded)*8/6
		for _, alphabet := range [...]*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := alphabet.AppendEncode(nil, padded)[from:to]
			k.put(text, Hit{line, "base64"})
		}
	}
}

// leastEncoded is the length of the shortest encoded form that is looked for.
const leastEncoded = 6

func (k *Known) put(text []byte, hit Hit) {
	if len(text) < leastKnown || hit.Form != "as it is" && len(text) < leastEncoded {
		return
	}
	key := binary.LittleEndian.Uint32(text)
	if slices.ContainsFunc(k.needles[key], func(n needle) bool { return bytes.Equal(n.text, text) }) {
		return
	}
	k.needles[key] = append(k.needles[key], needle{text, hit})
	at := bit(key)
	k.first[at/64] |= 1 << (at % 64)
}

// bit spreads four bytes over the bits of Known.first.
func bit(key uint32) uint32 { return key * 2654435761 >> 13 }

// Search returns the secrets in v: as it is, and with percent encoding and JSON escapes taken off, each once and the result valid until the
// next call.
func (k *Known) Search(v []byte) []Hit {
	k.hits = k.hits[:0]
	k.search(v, "")
	k.layers(v, "", 2)
	return k.hits
}

// layers searches what v is without an encoding, and without a further one in it.
func (k *Known) layers(v []byte, form string, depth int) {
	if depth == 0 {
		return
	}
	scratch := &k.scratch[depth-1]
	if bytes.IndexByte(v, '%') >= 0 || bytes.IndexByte(v, '+') >= 0 {
		*scratch = unpercent((*scratch)[:0], v)
		k.search(*scratch, form+"percent-encoded")
		k.layers(*scratch, form+"percent-encoded, ", depth-1)
	}
	if bytes.IndexByte(v, '\\') >= 0 {
		*scratch = unescape((*scratch)[:0], v)
		k.search(*scratch, form+"JSON-escaped")
		k.layers(*scratch, form+"JSON-escaped, ", depth-1)
	}
}

func (k *Known) search(v []byte, form string) {
	for i := 0; i+leastKnown <= len(v); i++ {
		key := binary.LittleEndian.Uint32(v[i:])
		if at := bit(key); k.first[at/64]>>(at%64)&1 == 0 {
			continue
		}
		for _, n := range k.needles[key] {
			if bytes.HasPrefix(v[i:], n.text) {
				k.hit(n.hit, form)
			}
		}
	}
}

func (k *Known) hit(h Hit, form string) {
	if slices.ContainsFunc(k.hits, func(other Hit) bool { return other.Line == h.Line }) {
		return
	}
	if form != "" && h.Form == "as it is" {
		h.Form = form
	} else if form != "" {
		h.Form = form + ", " + h.Form
	}
	k.hits = append(k.hits, h)
}
