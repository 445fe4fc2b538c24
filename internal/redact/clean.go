package redact

import "bytes"

// shortestPlain is the size from which a document is worth a look before it is walked.
const shortestPlain = 256

// hasNothing reports whether a JSON document holds surely nothing for the rules: no key that ends as one of a rule's names,
// nothing for the detectors, and nothing in which more could be hidden. It reads the bytes and no structure, several times as
// fast as a walk; most answers are done with it. False says nothing.
func (p *pass) hasNothing(b []byte) bool {
	if len(b) < shortestPlain || len(p.chosen.json) > 0 || p.eager || p.r.rekey {
		return false
	}
	for _, c := range [...]byte{'\\', '=', '@', '<'} { // escapes, parameters, users of URLs, elements
		if bytes.IndexByte(b, c) >= 0 {
			return false
		}
	}
	for at := 0; ; {
		i := bytes.IndexByte(b[at:], ':')
		if i < 0 {
			break
		}
		if at += i; p.r.keys.mayEnd(b, at) {
			return false
		}
		at++
	}
	_, found := p.r.detect.next(b, 0)
	return !found
}

// maxBack bounds how far mayEnd looks back.
const maxBack = 64

// mayEnd reports whether a name may end before b[end], wherever its key begins; what is no letter does not count.
func (m *keyMatcher) mayEnd(b []byte, end int) bool {
	node := &m.nodes[0]
	for i := end - 1; i >= 0; i-- {
		if i < end-maxBack || b[i] >= 0x80 {
			return true
		}
		c := b[i] | 0x20 - 'a'
		if c >= 26 {
			continue
		}
		next := node.next[c]
		if next == 0 {
			return false
		}
		if node = &m.nodes[next]; node.mode&matchGlued != 0 || node.mode != 0 && wordStart(b, i) {
			return true
		}
	}
	return false
}
