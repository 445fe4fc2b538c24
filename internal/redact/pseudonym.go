package redact

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"hash/maphash"
	"math/rand/v2"
	"unicode/utf8"
)

// pseudonyms makes pseudonyms: HMAC-SHA-256 of domain and value under the key, written in the value's own shape and
// length. It is used by one goroutine at a time.
type pseudonyms struct {
	mac    hash.Hash
	msg    []byte
	sum    [sha256.Size]byte
	used   int // bytes of sum that are spent
	more   rand.ChaCha8
	seeded bool
	seeds  [2]maphash.Seed
	cache  []remembered
	clone  uint64 // whose pseudonyms; 0: nobody's
}

// remembered keeps a pseudonym by keyed hashes of its value, never the value: cookies and tokens repeat with every
// request of a client.
type remembered struct {
	a, b  uint64
	kind  Kind
	clone uint64
	text  []byte
}

const (
	cacheSize     = 256 // power of two
	maxRemembered = 1024
)

func newPseudonyms(key []byte) *pseudonyms {
	return &pseudonyms{
		mac:   hmac.New(sha256.New, key),
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		cache: make([]remembered, cacheSize),
	}
}

// write puts the pseudonym of value into dst, which has the same length.
func (p *pseudonyms) write(dst []byte, kind Kind, value []byte) {
	if len(value) > maxRemembered {
		p.make(dst, kind, value)
		return
	}
	a := maphash.Bytes(p.seeds[0], value)
	slot := &p.cache[(a^uint64(kind)^p.clone)%cacheSize]
	b := maphash.Bytes(p.seeds[1], value)
	if slot.a == a && slot.b == b && slot.kind == kind && slot.clone == p.clone && len(slot.text) == len(value) {
		copy(dst, slot.text)
		return
	}
	p.make(dst, kind, value)
	slot.a, slot.b, slot.kind, slot.clone, slot.text = a, b, kind, p.clone, append(slot.text[:0], dst...)
}

// make never gives the value itself back: it tries again with another attempt number.
func (p *pseudonyms) make(dst []byte, kind Kind, value []byte) {
	for attempt := byte(0); attempt < 64; attempt++ {
		switch kind {
		case Mobile:
			p.mobile(dst, value, attempt)
		case IDNumber:
			p.idNumber(dst, value, attempt)
		case Card:
			p.card(dst, value, attempt)
		case Email:
			p.email(dst, value, attempt)
		case Landline:
			p.landline(dst, value, attempt)
		case IBAN:
			p.iban(dst, value, attempt)
		case Passport, PassportShape:
			p.passport(dst, value, attempt)
		default:
			p.start(kind.domain(), value, attempt)
			p.likeness(dst, value)
		}
		if !bytes.Equal(dst, value) {
			return
		}
	}
	for i, c := range dst { // so little is in it that it came out the same every time
		switch {
		case c == '9', c == 'z', c == 'Z':
			dst[i] = c - 1
		case isDigit(c), isLetter(c):
			dst[i] = c + 1
		}
	}
}

// start begins the stream of bytes for a value.
func (p *pseudonyms) start(domain string, value []byte, attempt byte) {
	p.msg = append(append(p.msg[:0], domain...), 0, attempt)
	if p.clone > 0 {
		p.msg = binary.BigEndian.AppendUint64(p.msg, p.clone)
	}
	p.msg = append(p.msg, value...)
	p.mac.Reset()
	p.mac.Write(p.msg)
	p.mac.Sum(p.sum[:0])
	p.used, p.seeded = 0, false
}

// below returns a number from 0 to n-1, n ≤ 256.
func (p *pseudonyms) below(n int) int {
	if p.used < len(p.sum) {
		p.used++
		return int(p.sum[p.used-1]) * n >> 8
	}
	if !p.seeded {
		p.more.Seed(p.sum)
		p.seeded = true
	}
	return int(p.more.Uint64()>>56) * n >> 8
}

func (p *pseudonyms) digit() byte { return '0' + byte(p.below(10)) }

// mobile keeps separators, so that 138-1234-5678 and 13812345678 get the same digits.
func (p *pseudonyms) mobile(dst, value []byte, attempt byte) {
	var d [11]byte
	n := onlyDigits(d[:], value)
	p.start(Mobile.String(), d[:n], attempt)
	if d[0] == '1' {
		d[1] = '3' + byte(p.below(7))
	} else {
		d[1] = "28"[p.below(2)]
	}
	for i := 2; i < n; i++ {
		d[i] = p.digit()
	}
	putDigits(dst, value, d[:n])
}

// idNumber gives a plausible area and birth date and, for 18 characters, the right check character.
func (p *pseudonyms) idNumber(dst, value []byte, attempt byte) {
	var d [18]byte
	n := onlyDigits(d[:17], value)
	last := value[len(value)-1]
	if n == 17 { // 18 characters in all
		d[17] = last &^ 0x20
		if isDigit(last) {
			d[17] = last
		}
		n = 18
	}
	p.start(IDNumber.String(), d[:n], attempt)
	copy(d[:], provinces[2*p.below(len(provinces)/2):][:2])
	d[2], d[3], d[4], d[5] = '0', '1'+byte(p.below(3)), '0', '1'+byte(p.below(9))
	year, month, day := 1950+p.below(60), 1+p.below(12), 1+p.below(28)
	at := 6
	if n == 18 {
		d[6], d[7] = '0'+byte(year/1000), '0'+byte(year/100%10)
		at = 8
	} else {
		year = year%50 + 50 // all in the 1900s
	}
	for _, two := range [3]int{year % 100, month, day} {
		d[at], d[at+1] = '0'+byte(two/10), '0'+byte(two%10)
		at += 2
	}
	for ; at < min(n, 17); at++ {
		d[at] = p.digit()
	}
	if n == 18 {
		d[17] = checkID(d[:])
		if d[17] == 'X' && last == 'x' {
			d[17] = 'x'
		}
	}
	k := 0
	for i, c := range value {
		if dst[i] = c; isDigit(c) || isLetter(c) {
			dst[i] = d[k]
			k++
		}
	}
}

const provinces = "11121314152122233132333435363741424344454650515253546162636465"

// card keeps the first four digits (the network), the separators and a right Luhn digit.
func (p *pseudonyms) card(dst, value []byte, attempt byte) {
	var d [19]byte
	n := onlyDigits(d[:], value)
	p.start(Card.String(), d[:n], attempt)
	for i := 4; i < n-1; i++ {
		d[i] = p.digit()
	}
	d[n-1] = '0'
	d[n-1] += byte((10 - luhn(d[:n])) % 10)
	putDigits(dst, value, d[:n])
}

// likeness writes a value with the look of v: hexadecimal stays hexadecimal (a UUID keeps its version), a token keeps
// its alphabet, anything else keeps the class of every character. Punctuation keeps its place, unless there is nothing
// else.
func (p *pseudonyms) likeness(dst, v []byte) {
	look := looks(v)
	switch {
	case look.plain == 0 && !look.foreign:
		for i := range v {
			dst[i] = 'a' + byte(p.below(26))
		}
	case look.hex():
		p.hexadecimal(dst, v, look)
	case look.token():
		p.token(dst, v, look)
	default:
		p.classes(dst, v)
	}
}

// look is what a value is made of.
type look struct {
	size, plain, digits, lower, upper int // plain: letters and digits
	notHex, foreign, odd              bool
}

func looks(v []byte) look {
	l := look{size: len(v)}
	for _, c := range v {
		switch {
		case isDigit(c):
			l.digits++
		case c >= 'a' && c <= 'z':
			l.lower++
		case c >= 'A' && c <= 'Z':
			l.upper++
		case c >= 0x80:
			l.foreign = true
			continue
		default:
			l.odd = l.odd || !(c == '-' || c == '_' || c == '.' || c == '+' || c == '/' || c == '=' || c == '~' || c == ':')
			continue
		}
		l.plain++
		l.notHex = l.notHex || !isHex(c)
	}
	return l
}

func (l look) hex() bool {
	return !l.notHex && !l.foreign && !l.odd && l.plain >= 8 && l.digits > 0 && (l.lower > 0) != (l.upper > 0)
}

func (l look) token() bool {
	classes := 0
	for _, n := range [3]int{l.digits, l.lower, l.upper} {
		if n > 0 {
			classes++
		}
	}
	return !l.foreign && !l.odd && l.plain >= 16 && classes >= 2
}

func (p *pseudonyms) hexadecimal(dst, v []byte, l look) {
	alphabet := "0123456789abcdef"
	if l.upper > 0 {
		alphabet = "0123456789ABCDEF"
	}
	uuid := l.plain == 32 && l.size == 36 && v[8] == '-' && v[13] == '-' && v[18] == '-' && v[23] == '-'
	for i, c := range v {
		if dst[i] = c; isHex(c) && !(uuid && (i == 14 || i == 19)) {
			dst[i] = alphabet[p.below(16)]
		}
	}
}

func (p *pseudonyms) token(dst, v []byte, l look) {
	var alphabet [62]byte
	n := 0
	if l.digits > 0 {
		n += copy(alphabet[n:], "0123456789")
	}
	if l.lower > 0 {
		n += copy(alphabet[n:], "abcdefghijklmnopqrstuvwxyz")
	}
	if l.upper > 0 {
		n += copy(alphabet[n:], "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
	}
	for i, c := range v {
		if dst[i] = c; isDigit(c) || isLetter(c) {
			dst[i] = alphabet[p.below(n)]
		}
	}
}

// classes replaces each character by one of its class and size in bytes. A first digit that is not 0 does not become 0,
// and the 0 of 0.5 stays, so that a number stays a number.
func (p *pseudonyms) classes(dst, v []byte) {
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case isDigit(c):
			leads := i == 0 || i == 1 && v[0] == '-'
			switch {
			case leads && c != '0':
				dst[i] = '1' + byte(p.below(9))
			case leads && i+1 < len(v) && v[i+1] == '.':
				dst[i] = '0'
			default:
				dst[i] = p.digit()
			}
		case c >= 'a' && c <= 'z':
			dst[i] = 'a' + byte(p.below(26))
		case c >= 'A' && c <= 'Z':
			dst[i] = 'A' + byte(p.below(26))
		case c >= 0x80:
			i += p.foreign(dst[i:], v[i:]) - 1
		default:
			dst[i] = c
		}
	}
}

// foreign replaces the first character, which is not ASCII, by another of as many bytes, and returns their number: Greek,
// Chinese and pictures for two, three and four; a byte that is no UTF-8 becomes a letter.
func (p *pseudonyms) foreign(dst, v []byte) int {
	r, n := utf8.DecodeRune(v)
	if r == utf8.RuneError && n == 1 {
		dst[0] = 'a' + byte(p.below(26))
		return 1
	}
	switch n {
	case 2:
		r = 0x3b1 + rune(p.below(24))
	case 3:
		r = 0x4e00 + rune(p.below(80))<<8 + rune(p.below(256))
	default:
		r = 0x1f300 + rune(p.below(256))
	}
	return utf8.EncodeRune(dst, r)
}

// opaque returns 32 hexadecimal digits.
func (p *pseudonyms) opaque(domain string, value []byte) []byte {
	p.start(domain, value, 0)
	return hex.AppendEncode(nil, p.sum[:16])
}

func onlyDigits(dst, v []byte) int {
	n := 0
	for _, c := range v {
		if isDigit(c) && n < len(dst) {
			dst[n] = c
			n++
		}
	}
	return n
}

// putDigits writes like with its digits replaced by those of d.
func putDigits(dst, like, d []byte) {
	k := 0
	for i, c := range like {
		if dst[i] = c; isDigit(c) {
			dst[i] = d[k]
			k++
		}
	}
}
