package redact

// keyMatcher finds the rule for a key by walking a trie of reversed names from the key's end: most keys are turned away
// at their second letter.
type keyMatcher struct {
	rules   []KeyRule
	nodes   []keyNode
	foreign map[string]int // whole names with letters outside ASCII → rule
	tails   [26]uint32     // by last letter: the letters before it, as bits, with which a name may end
}

type keyNode struct {
	next [26]uint16 // 0: none
	mode keyMode    // 0: no name ends here
	rule uint16
}

type keyMode uint8

const (
	matchWord keyMode = 1 << iota
	matchGlued
	matchExact
	matchText
)

// keyHit is a matched rule; rule is nil for none.
type keyHit struct {
	rule     *KeyRule
	textOnly bool
}

// drops reports whether the value is taken out with its name.
func (h keyHit) drops() bool { return h.rule != nil && h.rule.Action == Drop }

// rewrites reports whether another text is put in the value's place, which has to be escaped.
func (h keyHit) rewrites() bool { return h.rule != nil && h.rule.Action == Replace }

// chosen reports whether a selector chose it: that is said by a person, and counts more than a name.
func (h keyHit) chosen() bool { return h.rule != nil && h.rule.selected }

func newKeyMatcher(rules []KeyRule) *keyMatcher {
	m := &keyMatcher{rules: rules, nodes: make([]keyNode, 1), foreign: map[string]int{}}
	for i := range rules {
		r := &rules[i]
		m.add(r.Words, i, matchWord)
		m.add(r.Glued, i, matchGlued)
		m.add(r.Exact, i, matchExact)
		m.add(r.TextOnly, i, matchWord|matchText)
	}
	for last, at := range m.nodes[0].next {
		if at == 0 {
			continue
		}
		if m.nodes[at].mode != 0 {
			m.tails[last] = ^uint32(0) // a name of one letter
		}
		for before, at := range m.nodes[at].next {
			if at != 0 {
				m.tails[last] |= 1 << before
			}
		}
	}
	return m
}

// noEnd reports that no name ends before b[end], for the most usual end of a key: two letters and a quote. In any other case,
// and where a name may end, it is false.
func (m *keyMatcher) noEnd(b []byte, end int) bool {
	if end < 3 {
		return false
	}
	tail := b[end-3 : end : end]
	before, last := tail[0]|0x20-'a', tail[1]|0x20-'a'
	return tail[2] == '"' && before < 26 && last < 26 && m.tails[last]>>before&1 == 0
}

// add puts names into the trie; a name that an earlier rule has stays with that rule.
func (m *keyMatcher) add(names []string, rule int, mode keyMode) {
	for _, name := range names {
		at := 0
		for i := len(name) - 1; i >= 0 && at >= 0; i-- {
			if !isLetter(name[i]) {
				at = -1
				break
			}
			c := name[i] | 0x20 - 'a'
			if m.nodes[at].next[c] == 0 {
				m.nodes[at].next[c] = uint16(len(m.nodes))
				m.nodes = append(m.nodes, keyNode{})
			}
			at = int(m.nodes[at].next[c])
		}
		if at <= 0 {
			if _, ok := m.foreign[name]; !ok && name != "" {
				m.foreign[name] = rule
			}
			continue
		}
		n := &m.nodes[at]
		if n.mode == 0 {
			n.rule = uint16(rule)
		}
		if int(n.rule) == rule {
			n.mode |= mode
		}
	}
}

// match returns the rule for a key as it was sent (decoded). What stands behind the last letter is ignored, as in
// password2, phone[] and user[password]. Of several rules the first in the set counts.
func (m *keyMatcher) match(key []byte) keyHit {
	i := len(key) - 1
	for i >= 0 && !isLetter(key[i]) {
		if key[i] >= 0x80 {
			if rule, ok := m.foreign[string(key)]; ok {
				return keyHit{rule: &m.rules[rule]}
			}
			return keyHit{}
		}
		i--
	}
	var best keyHit
	first, node := len(m.rules), &m.nodes[0]
	for ; i >= 0; i-- {
		c := key[i] | 0x20 - 'a'
		if c >= 26 {
			if key[i] >= 0x80 {
				break
			}
			continue // separators and digits
		}
		next := node.next[c]
		if next == 0 {
			break
		}
		node = &m.nodes[next]
		if node.mode == 0 || int(node.rule) > first || !node.mode.here(key, i) {
			continue
		}
		text := node.mode&matchText != 0 && node.mode&(matchGlued|matchExact) == 0
		if text && int(node.rule) == first {
			continue // a name that matches numbers too has been found
		}
		first = int(node.rule)
		best = keyHit{rule: &m.rules[first], textOnly: text}
	}
	return best
}

// here reports whether a name may begin at i.
func (mode keyMode) here(key []byte, i int) bool {
	return mode&matchGlued != 0 || mode&matchWord != 0 && wordStart(key, i) || mode&matchExact != 0 && !hasLetter(key[:i])
}

// wordStart reports whether a word of the key begins at i: behind a separator or digit, or at a capital that ends a run
// of small letters or begins a capitalised word (the T of XToken).
func wordStart(key []byte, i int) bool {
	if i == 0 || !isLetter(key[i-1]) {
		return true
	}
	if !isUpper(key[i]) {
		return false
	}
	return !isUpper(key[i-1]) || i+1 < len(key) && isLetter(key[i+1]) && !isUpper(key[i+1])
}

func hasLetter(b []byte) bool {
	for _, c := range b {
		if isLetter(c) || c >= 0x80 {
			return true
		}
	}
	return false
}

func isLetter(c byte) bool { return c|0x20-'a' < 26 }
func isUpper(c byte) bool  { return c-'A' < 26 }
func isDigit(c byte) bool  { return c-'0' < 10 }
func isHex(c byte) bool    { return isDigit(c) || c|0x20-'a' < 6 }
