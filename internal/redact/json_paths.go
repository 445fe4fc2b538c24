package redact

// begin puts the positions of a document's root.
func (w *walker) begin() {
	w.paths = true
	top := &w.frames[w.first]
	top.live = len(w.live)
	for range w.chosen.json {
		w.live = append(w.live, 1, 1) // of the frame, of its current value
	}
}

// positions are those of a frame: of itself, and of its current value.
func (w *walker) positions(f *frame) (own, value []uint64) {
	n := len(w.chosen.json)
	return w.live[f.live : f.live+n], w.live[f.live+n : f.live+2*n]
}

// open gives the frame that was opened last the positions of the value that it is.
func (w *walker) open() {
	outer, f := &w.frames[len(w.frames)-2], &w.frames[len(w.frames)-1]
	f.live = len(w.live)
	n := len(w.chosen.json)
	for range 2 * n {
		w.live = append(w.live, 0)
	}
	_, value := w.positions(outer)
	own, _ := w.positions(f)
	copy(own, value)
}

// choose finds the first selector for the value with that key or index.
func (w *walker) choose(top *frame, key []byte, index int) (found keyHit) {
	if top == &w.frames[w.first] {
		return found // a key outside of any object
	}
	own, value := w.positions(top)
	for i, s := range w.chosen.json {
		next, hit := advance(s.steps, own[i], key, index, sameText)
		if value[i] = next; hit && found.rule == nil {
			found.rule = &s.rule
		}
	}
	return found
}

// item handles the selectors for an item of an array that begins at i. done is true when it was dropped or replaced; next is
// then where to go on.
func (w *walker) item(top *frame, i int) (next int, done bool) {
	if !top.array || top.keyed {
		return i, false
	}
	top.keyed = true // seen
	switch hit := w.choose(top, nil, top.index+top.gone); {
	case hit.rule == nil:
	case !hit.drops():
		if top.rule = hit; hit.rewrites() {
			return w.rewrite(top, i), true
		}
	case w.claim(hit.rule.Name, dropped, -1):
		return w.cut(top, i, i), true
	}
	return i, false
}

// cut takes out a member or item that begins at start, with its value at value and the comma before or behind it.
func (w *walker) cut(top *frame, start, value int) int {
	_, end := valueAt(w.src, value)
	if top.array {
		top.gone++
	}
	switch next := skipSpaces(w.src, end); {
	case top.kept:
		start = top.comma
		if top.array {
			top.index-- // the next comma counts
		}
	case next < len(w.src) && w.src[next] == ',':
		end = next + 1
	}
	w.put(w.base+start, w.base+end, nil)
	top.keyed, top.rule = false, top.outer
	return end
}

// rewrite puts a rule's text in the place of the value at i: as a string, unless both are none.
func (w *walker) rewrite(top *frame, i int) int {
	from, end := valueAt(w.src, i)
	if end == from || !w.claim(top.rule.rule.Name, "", -1) {
		return end
	}
	with := []byte(top.rule.rule.With)
	bare := w.src[from] != '"' && w.src[from] != '\'' && w.src[from] != '{' && w.src[from] != '['
	if !bare || !isScalar(with) {
		with = append(appendJSON([]byte{'"'}, with), '"')
	}
	w.put(w.base+from, w.base+end, with)
	return end
}

// maskNumber writes ones: stars would be no number.
func (w *walker) maskNumber(top *frame, v []byte, base int) {
	if !w.claim(top.rule.rule.Name, "", -1) {
		return
	}
	w.ones(v, base)
}

// ones puts ones in place of a number's digits.
func (p *pass) ones(v []byte, base int) {
	with := append(p.take(len(v))[:0], v...)
	for i, c := range with {
		if isDigit(c) {
			with[i] = '1'
		}
	}
	p.put(base, base+len(v), with)
}

// isScalar reports whether v is a JSON number or literal.
func isScalar(v []byte) bool {
	switch string(v) {
	case "true", "false", "null":
		return true
	}
	digits := 0
	for i, c := range v {
		if isDigit(c) {
			digits++
		} else if c != '.' && (c != '-' || i > 0) {
			return false
		}
	}
	return digits > 0 && (v[0] != '0' || len(v) == 1) && v[len(v)-1] != '.' && v[0] != '.'
}

func skipSpaces(src []byte, i int) int {
	for i < len(src) && isSpace(src[i]) {
		i++
	}
	return i
}

// valueAt returns where the value behind i begins and ends, len(src) when it was cut.
func valueAt(src []byte, i int) (from, end int) {
	from = skipSpaces(src, i)
	depth := 0
	for i = from; i < len(src); {
		switch c := src[i]; {
		case c == '"', c == '\'' && opensString(src, i):
			i, _ = stringEnd(src, i+1, c)
			i = min(i+1, len(src))
		case c == '{', c == '[':
			depth++
			i++
		case c == '}', c == ']':
			if depth == 0 {
				return from, i
			}
			depth--
			i++
		case c == ',' && depth == 0:
			return from, i
		case depth > 0:
			i++
		default:
			for i = bareEnd(src, i+1); i > from && isSpace(src[i-1]); i-- {
			}
		}
		if depth == 0 {
			return from, i
		}
	}
	return from, len(src)
}
