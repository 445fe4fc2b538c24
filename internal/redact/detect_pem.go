package redact

import "bytes"

// maxPEM bounds a key in bytes.
const maxPEM = 64 << 10

// privateKeyAt knows the content of a PEM block whose label says PRIVATE KEY; of one that was cut, as far as it looks like one.
func privateKeyAt(v []byte, j int) (span, bool) {
	const dashes, begin, secret = "-----", "-----BEGIN ", "PRIVATE KEY"
	if !bytes.HasPrefix(v[j:], []byte(begin)) {
		return span{}, false
	}
	label := v[j+len(begin) : min(len(v), j+len(begin)+64)]
	end := bytes.Index(label, []byte(dashes))
	if end < 0 || !bytes.Contains(label[:end], []byte(secret)) {
		return span{}, false
	}
	from := j + len(begin) + end + len(dashes)
	content := v[from:min(len(v), from+maxPEM)]
	if n := bytes.Index(content, []byte("-----END")); n >= 0 {
		content = content[:n]
	} else {
		n := 0
		for n < len(content) && (isBase64(content[n]) || isSpace(content[n]) || content[n] == '\\') {
			n++
		}
		content = content[:n]
	}
	for len(content) > 0 && (isSpace(content[0]) || isBreak(content)) {
		n := 1
		if content[0] == '\\' {
			n = 2
		}
		from, content = from+n, content[n:]
	}
	for len(content) > 0 && !isBase64(content[len(content)-1]) {
		content = content[:len(content)-1]
	}
	return span{PrivateKey, from, from + len(content)}, len(content) >= 16
}

// isBreak reports whether v begins with an escaped line end.
func isBreak(v []byte) bool { return len(v) > 1 && v[0] == '\\' && (v[1] == 'n' || v[1] == 'r') }
