package wire

import (
	"bytes"
	"encoding/binary"
)

// The characters of a token (RFC 9110 5.6.2), a bit each.
const (
	tokensBelow64 = 1<<'!' | 1<<'#' | 1<<'$' | 1<<'%' | 1<<'&' | 1<<'\'' | 1<<'*' | 1<<'+' | 1<<'-' | 1<<'.' |
		(1<<10-1)<<'0'
	tokensFrom64 = (1<<26-1)<<('A'-64) | (1<<26-1)<<('a'-64) | 1<<('^'-64) | 1<<('_'-64) | 1<<('`'-64) |
		1<<('|'-64) | 1<<('~'-64)
)

func isToken(c byte) bool {
	return (uint64(1)<<c&tokensBelow64)|(uint64(1)<<(c-64)&tokensFrom64) != 0
}

// tokenLength is the number of token characters that b begins with.
func tokenLength(b []byte) int {
	for i, c := range b {
		if !isToken(c) {
			return i
		}
	}
	return len(b)
}

// hasControl reports whether b holds a control character other than a tab. It looks at eight bytes at a time.
func hasControl(b []byte) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		below := (x - ones*0x20) &^ x & highs
		del := x ^ ones*0x7f
		if below|(del-ones)&^del&highs != 0 && controlIn(b[:8]) {
			return true
		}
		b = b[8:]
	}
	return controlIn(b)
}

func controlIn(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// trim returns b[from:to] without the blanks around it, as indices.
func trim(b []byte, from, to int) (int, int) {
	for from < to && isBlank(b[from]) {
		from++
	}
	for to > from && isBlank(b[to-1]) {
		to--
	}
	return from, to
}

// equalFold compares b with a lower-case word, ASCII only.
func equalFold(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

// hasMember reports whether a comma-separated list holds a lower-case word.
func hasMember(list []byte, word string) bool {
	for len(list) > 0 {
		member := list
		if i := bytes.IndexByte(list, ','); i >= 0 {
			member, list = list[:i], list[i+1:]
		} else {
			list = nil
		}
		from, to := trim(member, 0, len(member))
		if equalFold(member[from:to], word) {
			return true
		}
	}
	return false
}
