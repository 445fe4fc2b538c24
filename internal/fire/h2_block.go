package fire

import "bytes"

// Header blocks are written with literals alone, and never with the dynamic table: then they do not depend on the
// connection and are made once, before their moment comes. firstOnConnection gives the table up (RFC 7541 6.3), so that a
// peer which allows none is content.
const firstOnConnection = 0x20

// The names of the static table that are used (RFC 7541 appendix A).
const (
	indexAuthority = 1
	indexMethod    = 2
	indexPath      = 4
	indexScheme    = 6
)

// appendBlock makes the header block of what stands in shot.bytes: the head of an HTTP/1.1 request that we wrote.
func (shot *Shot) appendBlock(scheme string) {
	head := shot.bytes
	line := bytes.IndexByte(head, '\n') + 1
	method, rest, _ := bytes.Cut(head[:line], []byte{' '})
	path := rest[:bytes.LastIndexByte(rest, ' ')]
	b := shot.block[:0]
	b = appendString(append(b, indexMethod), method)
	b = append(append(b, indexScheme, byte(len(scheme))), scheme...)
	b = appendString(append(b, indexAuthority), shot.host)
	b = appendString(append(b, indexPath), path)
	for at := line; ; {
		if shot.teAt == at {
			b = appendLiteral(b, []byte("te"), []byte("trailers"))
		}
		end := at + bytes.IndexByte(head[at:], '\n')
		name, value, found := bytes.Cut(head[at:end-1], []byte{':'})
		if !found { // the empty line
			break
		}
		at = end + 1
		switch {
		case is(name, "host"), is(name, "expect"), is(name, "transfer-encoding"), is(name, "content-length") && !shot.hadLength:
		default:
			b = appendLiteral(b, name, value)
		}
	}
	shot.block = b
}

// appendLiteral appends a field that is not to be remembered, its name in lower case and its value without the blanks
// around it, as HTTP/2 wants them.
func appendLiteral(b, name, value []byte) []byte {
	b = appendString(append(b, 0), name)
	for i := len(b) - len(name); i < len(b); i++ {
		if 'A' <= b[i] && b[i] <= 'Z' {
			b[i] |= 0x20
		}
	}
	return appendString(b, bytes.Trim(value, " \t"))
}

// appendString appends a string literal without Huffman coding (RFC 7541 5.2).
func appendString(b, s []byte) []byte {
	if len(s) < 0x7f {
		return append(append(b, byte(len(s))), s...)
	}
	b = append(b, 0x7f)
	n := len(s) - 0x7f
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(append(b, byte(n)), s...)
}
