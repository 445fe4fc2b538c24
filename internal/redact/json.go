package redact

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// maxJSONDepth bounds the objects and arrays inside each other; what is deeper is not redacted but removed.
const maxJSONDepth = 512

// frame is an open object or array. The first frame of a document stands for what is around it.
type frame struct {
	key     []byte // of the current member
	index   int    // of the current item; first frame: of the document in a stream
	rule    keyHit // for the current value
	outer   keyHit // for every value inside
	array   bool
	keyed   bool
	escaped bool // key is raw
	hashed  bool // key is ~! and its hash
	kept    bool // a member or item stands before the current one
	comma   int  // behind which the current one stands
	gone    int  // items before the current one that a rule has dropped
	live    int  // where its positions in the paths of selectors begin in pass.live; -1: it is none of JSON's
}

// json walks src, which begins at base, in one pass over its bytes. It asks for no valid JSON: a document may be cut
// anywhere, there may be several, keys may stand twice, without quotes or in single ones, and bytes may be no UTF-8. All
// that is not punctuation goes through the detectors. outer is the rule for the document as a whole.
func (p *pass) json(src []byte, base int, outer keyHit) {
	first, live := len(p.frames), len(p.live)
	p.frames = append(p.frames, frame{index: -1, rule: outer, outer: outer})
	p.push(scope{kind: inJSON, index: first})
	w := walker{pass: p, base: base, first: first}
	w.src = src
	if len(p.chosen.json) > 0 {
		w.begin()
	}
	w.send(outer)
	w.run()
	p.pop()
	p.frames, p.live = p.frames[:first], p.live[:live]
}

// walker is the state of one walk.
type walker struct {
	*pass
	base  int
	first int
	paths bool // there are selectors
	scout
}

func (w *walker) run() {
	src := w.src
	top := &w.frames[len(w.frames)-1]
	for i := 0; i < len(src); {
		if w.on && (i > w.next || w.next == len(src)) && w.done(i, top.rule.rule != nil || top.outer.rule != nil) {
			return
		}
		switch c := src[i]; c {
		case ' ', '\t', '\n', '\r', ':':
			i++
		case ',':
			if top.array {
				top.index++
			}
			top.keyed, top.rule = false, top.outer
			top.kept, top.comma = true, i
			i++
		case '{', '[':
			if w.paths {
				if next, done := w.item(top, i); done {
					i = next
					continue
				}
			}
			if len(w.frames)-w.first > maxJSONDepth {
				w.err = errTooDeep
				return
			}
			w.count(top)
			w.frames = append(w.frames, frame{rule: top.rule, outer: top.rule, array: c == '['})
			if w.paths {
				w.open()
			}
			top = &w.frames[len(w.frames)-1]
			i++
		case '}', ']':
			if len(w.frames) > w.first+1 {
				if w.paths {
					w.live = w.live[:top.live]
				}
				w.frames = w.frames[:len(w.frames)-1]
				top = &w.frames[len(w.frames)-1]
			}
			i++
		case '"':
			i = w.text(top, i, c)
			top = &w.frames[len(w.frames)-1] // a document inside the string may have moved the frames
		default:
			if c == '\'' && opensString(src, i) {
				i = w.text(top, i, c)
				top = &w.frames[len(w.frames)-1]
				continue
			}
			i = w.bare(top, i)
		}
	}
}

// count numbers the documents of a stream.
func (w *walker) count(top *frame) {
	if len(w.frames) == w.first+1 && !top.keyed {
		top.index++
	}
}

// text handles a string that begins with the quote at i, and returns where it ends.
func (w *walker) text(top *frame, i int, quote byte) int {
	i++
	end, escaped := stringEnd(w.src, i, quote)
	s := w.src[i:end]
	next := end + 1
	after := next
	for after < len(w.src) && isSpace(w.src[after]) {
		after++
	}
	if after < len(w.src) && w.src[after] == ':' {
		if after < w.next {
			top.key, top.keyed, top.escaped, top.hashed, top.rule = s, true, escaped, false, top.outer
			return after + 1
		}
		return w.key(top, s, i, escaped, i-1, after+1)
	}
	if w.paths {
		if end, done := w.item(top, i-1); done {
			return end
		}
	}
	w.count(top)
	if end < w.next && top.rule.rule == nil {
		return next
	}
	if len(s) == 0 || top.rule.rule == nil && len(s) < shortestNested && !w.eager {
		return next
	}
	if !escaped {
		w.leaf(top, s, w.base+i)
		return next
	}
	mark, floor := w.inner()
	v := unescapeJSON(w.take(len(s))[:0], s)
	w.leaf(top, v, 0)
	w.encodeJSON(s, w.base+i, mark, v)
	w.floor = floor
	return next
}

func (w *walker) leaf(top *frame, v []byte, base int) {
	if top.rule.rule != nil {
		w.secret(top.rule, v, base)
		return
	}
	if !w.strange(v, base) {
		w.value(v, base)
	}
}

// key makes s, which begins at i, the key of the current member; quotes are from start on, and the value from after on.
// It returns where to go on.
func (w *walker) key(top *frame, s []byte, i int, escaped bool, start, after int) int {
	top.key, top.keyed, top.escaped, top.hashed = s, true, escaped, false
	top.rule = top.outer
	v := s
	if escaped {
		v = unescapeJSON(w.take(len(s))[:0], s)
		top.key, top.escaped = v, false
	}
	if hit := w.r.keys.match(v); hit.rule != nil && !top.outer.chosen() {
		top.rule = hit
	}
	if w.paths {
		if hit := w.choose(top, v, -1); hit.drops() && w.claim(hit.rule.Name, dropped, -1) {
			return w.cut(top, start, after)
		} else if hit.rule != nil && !hit.drops() {
			top.rule = hit
		}
	}
	if len(v) >= shortest {
		if !escaped {
			w.ownName(&top.key, &top.hashed, w.base+i)
		} else {
			mark, floor := w.inner()
			w.ownName(&top.key, &top.hashed, 0)
			w.encodeJSON(s, w.base+i, mark, v)
			w.floor = floor
		}
	}
	if top.rule.rewrites() {
		return w.rewrite(top, after)
	}
	return after
}

// bare handles what stands outside strings: numbers, literals, keys without quotes, comments and what is no JSON.
func (w *walker) bare(top *frame, i int) int {
	src := w.src
	end := bareEnd(src, i+1)
	comment := src[i] == '/' && i+1 < len(src) && (src[i+1] == '/' || src[i+1] == '*')
	if comment {
		end = commentEnd(src, i)
	}
	v := src[i:end]
	for len(v) > 1 && isSpace(v[len(v)-1]) {
		v = v[:len(v)-1]
	}
	if comment {
		w.scan(v, w.base+i)
		return end
	}
	if end < len(src) && src[end] == ':' && !isDigit(v[0]) && len(v) <= maxName {
		return w.key(top, v, i, false, i, end+1)
	}
	if w.paths {
		if next, done := w.item(top, i); done {
			return next
		}
	}
	w.count(top)
	if top.rule.rule == nil && (len(v) < shortest && !w.eager || end <= w.next) {
		return end
	}
	number := isNumber(v)
	if top.rule.rule == nil || number && top.rule.textOnly {
		if !w.strange(v, w.base+i) {
			w.scan(v, w.base+i)
		}
		return end
	}
	switch string(v) {
	case "true", "false", "null", "undefined", "NaN":
		return end
	}
	if number && top.rule.rule.Action == Mask {
		w.maskNumber(top, v, w.base+i)
		return end
	}
	if e := bytes.IndexAny(v, "eE"); number && e > 0 {
		v = v[:e] // the exponent stays
	}
	w.secret(top.rule, v, w.base+i)
	return end
}

// bareEnd returns where what stands outside strings ends: at punctuation or a quote.
func bareEnd(src []byte, i int) int {
	for ; i < len(src); i++ {
		switch src[i] {
		case ',', '}', ']', ':', '"', '{', '[', '\n':
			return i
		}
	}
	return i
}

// opensString reports whether the single quote at i begins a string: it stands where a key or value may, and one line
// holds all of it. Otherwise it is an apostrophe.
func opensString(src []byte, i int) bool {
	end, _ := stringEnd(src, i+1, '\'')
	if end == len(src) || bytes.IndexByte(src[i:end], '\n') >= 0 {
		return false
	}
	for i--; i >= 0 && isSpace(src[i]); i-- {
	}
	return i < 0 || bytes.IndexByte([]byte("{[(,:"), src[i]) >= 0
}

func commentEnd(src []byte, i int) int {
	end, skip := []byte("\n"), 1
	if src[i+1] == '*' {
		end, skip = []byte("*/"), 2
	}
	if n := bytes.Index(src[i+2:], end); n >= 0 {
		return i + 2 + n + skip
	}
	return len(src)
}

// stringEnd returns where the quote that ends a string stands (len(src) when it was cut) and whether there are
// backslashes before it.
func stringEnd(src []byte, i int, quote byte) (end int, escaped bool) {
	quotes, backslashes := uint64(quote)*ones, uint64('\\')*ones
	for i < len(src) {
		if i+8 <= len(src) {
			word := binary.LittleEndian.Uint64(src[i:])
			hit := zeroBytes(word^quotes) | zeroBytes(word^backslashes)
			if hit == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(hit) / 8
		}
		switch src[i] {
		case quote:
			return i, escaped
		case '\\':
			escaped = true
			i++
		}
		i++
	}
	return len(src), escaped
}

const ones = 0x0101010101010101

// zeroBytes sets the high bit of the lowest zero byte in w; bits above it mean nothing.
func zeroBytes(w uint64) uint64 { return (w - ones) &^ w & (ones << 7) }

// allZeroBytes sets the high bit of every zero byte in w, and no other.
func allZeroBytes(w uint64) uint64 {
	const low = 0x7f * ones
	return ^((w&low + low) | w | low)
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
