package redact

import (
	"bytes"
	"strconv"
)

// element is an open element of a document.
type element struct {
	raw      []byte // name as it came, with its prefix
	name     []byte // as stored
	hashed   bool   // name is ~! and its hash
	index    int    // of the element in its parent
	children int
	rule     keyHit // for the text in it
	live     int    // where its positions in the paths of selectors begin in pass.live
	bare     bool   // it stands for what is around the document
}

// maxElements bounds the elements inside each other.
const maxElements = 512

// xml walks a document in one pass over its bytes. It asks for no well-formed one: what is no markup is text. Elements and
// attributes have names for rules as JSON's members have; so has <entry key="password">. Comments, instructions and document
// types are searched as text.
func (p *pass) xml(src []byte, base int) {
	first, live := len(p.tree), len(p.live)
	p.tree = append(p.tree, element{bare: true, live: live})
	for range p.chosen.xml {
		p.live = append(p.live, 1)
	}
	p.push(scope{kind: inXML, index: first})
	x := xmlWalker{pass: p, src: src, base: base, first: first}
	x.run()
	p.pop()
	p.tree, p.live = p.tree[:first], p.live[:live]
}

type xmlWalker struct {
	*pass
	src   []byte
	base  int
	first int
}

func (x *xmlWalker) run() {
	for i := 0; i < len(x.src) && x.err == nil; {
		open := bytes.IndexByte(x.src[i:], '<')
		if open < 0 {
			x.text(i, len(x.src), true)
			return
		}
		open += i
		if open > i {
			x.text(i, open, true)
		}
		i = x.markup(open)
	}
}

// markup handles what begins with the < at i, and returns where it ends.
func (x *xmlWalker) markup(i int) int {
	rest := x.src[i:]
	switch {
	case bytes.HasPrefix(rest, []byte("<![CDATA[")):
		end, next := until(x.src, i+9, "]]>")
		x.text(i+9, end, false)
		return next
	case bytes.HasPrefix(rest, []byte("<!--")):
		end, next := until(x.src, i+4, "-->")
		x.prose(x.src[i+4:end], x.base+i+4)
		return next
	case bytes.HasPrefix(rest, []byte("<?")):
		end, next := until(x.src, i+2, "?>")
		x.prose(x.src[i+2:end], x.base+i+2)
		return next
	case bytes.HasPrefix(rest, []byte("<!")):
		end := doctypeEnd(x.src, i+2)
		x.prose(x.src[i+2:end], x.base+i+2)
		return min(end+1, len(x.src))
	case bytes.HasPrefix(rest, []byte("</")):
		end, next := until(x.src, i+2, ">")
		x.close(i+2, nameEnd(x.src, i+2))
		if rest := nameEnd(x.src, i+2); rest < end {
			x.prose(x.src[rest:end], x.base+rest)
		}
		return next
	case len(rest) > 1 && nameStart(rest[1]):
		return x.open(i)
	}
	x.text(i, i+1, true)
	return i + 1
}

// until returns where what ends in mark ends, before and behind the mark; len(src) when it was cut.
func until(src []byte, from int, mark string) (end, next int) {
	from = min(from, len(src))
	if n := bytes.Index(src[from:], []byte(mark)); n >= 0 {
		return from + n, from + n + len(mark)
	}
	return len(src), len(src)
}

// doctypeEnd returns where the > of a declaration stands, behind its subset in brackets.
func doctypeEnd(src []byte, i int) int {
	depth := 0
	for ; i < len(src); i++ {
		switch src[i] {
		case '[':
			depth++
		case ']':
			depth--
		case '>':
			if depth <= 0 {
				return i
			}
		}
	}
	return len(src)
}

func nameStart(c byte) bool { return isLetter(c) || c == '_' || c >= 0x80 }

// nameEnd returns where a name ends that begins at i.
func nameEnd(src []byte, i int) int {
	for ; i < len(src); i++ {
		switch src[i] {
		case ' ', '\t', '\r', '\n', '=', '/', '>', '<', '"', '\'':
			return i
		}
	}
	return i
}

// open handles a start tag.
func (x *xmlWalker) open(i int) int {
	end := nameEnd(x.src, i+1)
	if len(x.tree)-x.first > maxElements || end-i > maxName {
		x.err = errTooDeep
		return len(x.src)
	}
	parent := len(x.tree) - 1
	e := element{raw: x.src[i+1 : end], name: x.src[i+1 : end], index: x.tree[parent].children, rule: x.tree[parent].rule, live: len(x.live)}
	if hit := x.r.keys.match(localName(e.name)); hit.rule != nil && !e.rule.chosen() {
		e.rule = hit
	}
	for n, s := range x.chosen.xml {
		next, hit := advance(s.steps, x.live[x.tree[parent].live+n], e.name, -1, sameElement)
		x.live = append(x.live, next)
		if hit && s.attr == "" && !e.rule.chosen() {
			e.rule = keyHit{rule: &s.rule}
		}
	}
	x.tree = append(x.tree, e)
	if e.rule.drops() && x.claim(e.rule.rule.Name, dropped, -1) {
		next := elementEnd(x.src, i)
		x.put(x.base+i, x.base+next, nil)
		x.shut()
		return next
	}
	x.tree[parent].children++
	x.ownName(&x.tree[len(x.tree)-1].name, &x.tree[len(x.tree)-1].hashed, x.base+i+1)
	next, empty := x.attributes(end)
	if empty {
		x.shut()
		return next
	}
	if r := x.tree[len(x.tree)-1].rule; r.rewrites() && !x.tree[parent].rule.rewrites() {
		inside := max(next, bytes.LastIndex(x.src[:elementEnd(x.src, i)], []byte("</")))
		if x.claim(r.rule.Name, "", -1) {
			x.put(x.base+next, x.base+inside, appendXML(nil, []byte(r.rule.With)))
		}
		return inside
	}
	return next
}

// shut forgets the innermost element.
func (x *xmlWalker) shut() {
	last := len(x.tree) - 1
	x.live = x.live[:x.tree[last].live]
	x.tree = x.tree[:last]
}

// close ends the innermost element of the name at src[from:to], and those in it that were not closed.
func (x *xmlWalker) close(from, to int) {
	name := x.src[from:to]
	for n := len(x.tree) - 1; n > x.first; n-- {
		e := &x.tree[n]
		if !bytes.Equal(e.raw, name) {
			continue
		}
		if !bytes.Equal(e.name, name) { // there was a value in it
			x.edits = append(x.edits, edit{x.base + from, x.base + to, e.name, Secret})
		}
		x.live, x.tree = x.live[:e.live], x.tree[:n]
		return
	}
	x.scan(name, x.base+from)
}

// attributes handles those of the element opened last, up to the end of its tag. empty is true for <a/>.
func (x *xmlWalker) attributes(i int) (next int, empty bool) {
	var named keyHit // <entry key="password" value="…">
	for n := 0; i < len(x.src); {
		gap := i
		i = skipSpaces(x.src, i)
		if i >= len(x.src) {
			break
		}
		switch {
		case x.src[i] == '>':
			return i + 1, false
		case x.src[i] == '<': // the tag was cut
			return i, false
		case x.src[i] == '/':
			if i+1 < len(x.src) && x.src[i+1] == '>' {
				return i + 2, true
			}
			i++
			continue
		}
		end := nameEnd(x.src, i)
		if end == i {
			i++
			continue
		}
		name := x.src[i:end]
		at := skipSpaces(x.src, end)
		if at >= len(x.src) || x.src[at] != '=' {
			x.prose(name, x.base+i)
			i = end
			continue
		}
		from, to, next := attributeValue(x.src, at+1)
		i = next
		if hit, cut := x.attribute(name, from, to, gap, next, named); !cut {
			n++
			if hit.rule != nil {
				named = hit
				if e := &x.tree[len(x.tree)-1]; e.rule.rule == nil {
					e.rule = hit
				}
			}
		}
	}
	return len(x.src), false
}

func attributeValue(src []byte, i int) (from, to, next int) {
	i = skipSpaces(src, i)
	if i < len(src) && (src[i] == '"' || src[i] == '\'') {
		to, next = until(src, i+1, string(src[i:i+1]))
		return i + 1, to, next
	}
	for to = i; to < len(src) && !isSpace(src[to]) && src[to] != '>'; to++ {
	}
	return i, to, to
}

// attribute handles one. hit is the rule that its value, as the name of something, stands for; cut is true when it was
// dropped, with the blank before it.
func (x *xmlWalker) attribute(name []byte, from, to, gap, next int, named keyHit) (hit keyHit, cut bool) {
	e := &x.tree[len(x.tree)-1]
	local := localName(name)
	rule := x.r.keys.match(local)
	if rule.rule == nil && string(local) == "value" {
		rule = named
	}
	parent := &x.tree[len(x.tree)-2]
	if parent.rule.chosen() {
		rule = parent.rule
	}
	for n, s := range x.chosen.xml {
		if s.attr == "" || !sameElement(s.attr, name) {
			continue
		}
		if _, hit := advance(s.steps, x.live[parent.live+n], e.name, -1, sameElement); hit {
			rule = keyHit{rule: &s.rule}
			break
		}
	}
	if isNamespace(name) {
		rule = keyHit{}
	}
	raw := x.src[from:to]
	x.push(scope{kind: inXML, index: len(x.tree), name: name})
	defer x.pop()
	if rule.drops() && x.claim(rule.rule.Name, dropped, -1) {
		x.put(x.base+gap, x.base+next, nil)
		return keyHit{}, true
	}
	if isNaming(local) && rule.rule == nil {
		hit = x.r.keys.match(raw)
	}
	x.leaf(rule, raw, from, true)
	return hit, false
}

// isNamespace reports whether an attribute is about the document, not in it.
func isNamespace(name []byte) bool {
	for _, prefix := range [...]string{"xmlns", "xml:", "xsi:"} {
		if bytes.HasPrefix(name, []byte(prefix)) {
			return true
		}
	}
	return false
}

// isNaming reports whether an attribute names what its element holds.
func isNaming(local []byte) bool {
	switch string(local) {
	case "name", "key", "Name", "Key", "field", "n":
		return true
	}
	return false
}

// text handles what stands between tags; entities are only outside of CDATA.
func (x *xmlWalker) text(from, to int, entities bool) {
	x.leaf(x.tree[len(x.tree)-1].rule, x.src[from:to], from, entities)
}

// leaf handles a text or the value of an attribute that begins at i, apart from the blanks around it.
func (x *xmlWalker) leaf(hit keyHit, raw []byte, i int, entities bool) {
	for len(raw) > 0 && isSpace(raw[0]) {
		raw, i = raw[1:], i+1
	}
	for len(raw) > 0 && isSpace(raw[len(raw)-1]) {
		raw = raw[:len(raw)-1]
	}
	if len(raw) == 0 || hit.rule == nil && len(raw) < shortestNested && !x.eager {
		return
	}
	v, base, mark, floor := raw, x.base+i, len(x.edits), x.floor
	changed := entities && (bytes.IndexByte(raw, '&') >= 0 || hit.rewrites())
	if changed {
		v = unescapeXML(x.take(len(raw))[:0], raw)
		base, x.floor = 0, mark
	}
	switch {
	case hit.rule != nil && !hit.drops():
		x.secret(hit, v, base)
	case !x.strange(v, base):
		x.value(v, base)
	}
	if changed {
		x.encodeXML(raw, x.base+i, mark)
		x.floor = floor
	}
}

// localName is a name without its prefix.
func localName(name []byte) []byte { return name[bytes.LastIndexByte(name, ':')+1:] }

// sameElement reports whether a name in a path means name.
func sameElement(pattern string, name []byte) bool {
	return pattern == string(name) || pattern == string(localName(name))
}

// elementEnd returns the end of the element whose start tag begins at i, len(src) when it was cut.
func elementEnd(src []byte, i int) int {
	for depth := 0; i < len(src); {
		open := bytes.IndexByte(src[i:], '<')
		if open < 0 {
			break
		}
		i += open
		rest := src[i:]
		switch {
		case bytes.HasPrefix(rest, []byte("<![CDATA[")):
			_, i = until(src, i, "]]>")
		case bytes.HasPrefix(rest, []byte("<!--")):
			_, i = until(src, i+4, "-->")
		case bytes.HasPrefix(rest, []byte("<?")), bytes.HasPrefix(rest, []byte("<!")):
			_, i = until(src, i, ">")
		case bytes.HasPrefix(rest, []byte("</")):
			_, i = until(src, i, ">")
			if depth--; depth == 0 {
				return i
			}
		default:
			end := tagEnd(src, i+1)
			if end > 0 && src[end-1] != '/' {
				depth++
			}
			i = min(end+1, len(src))
			if depth == 0 {
				return i
			}
		}
	}
	return len(src)
}

// tagEnd returns where the > of a tag stands, outside of quotes.
func tagEnd(src []byte, i int) int {
	for ; i < len(src); i++ {
		switch c := src[i]; c {
		case '>':
			return i
		case '"', '\'':
			if i, _ = until(src, i+1, string(c)); i == len(src) {
				return i
			}
		}
	}
	return len(src)
}

// looksLikeXML reports whether v, which begins with <, is a document or an element.
func looksLikeXML(v []byte) bool {
	if len(v) < 7 || !nameStart(v[1]) && v[1] != '?' && v[1] != '!' {
		return false
	}
	if isHTML(v[1:]) {
		return false
	}
	if end := nameEnd(v, 2); nameStart(v[1]) && (end == len(v) || v[end] != '>' && !isSpace(v[end]) && !bytes.HasPrefix(v[end:], []byte("/>"))) {
		return false // <https://shop.example/>
	}
	return bytes.Contains(v, []byte("</")) || bytes.Contains(v, []byte("/>"))
}

// isHTML reports whether v begins as what stands behind the first < of a page.
func isHTML(v []byte) bool {
	head := bytes.ToLower(v[:min(len(v), 8)])
	return bytes.HasPrefix(head, []byte("html")) || bytes.HasPrefix(head, []byte("!doctype"))
}

// elements writes the path of a scope in a document into p.loc.
func (p *pass) elements(s *scope, i int) {
	if len(s.name) > 0 { // an attribute
		p.loc = append(p.loc[:len(p.loc)-len("~xml")], "/@"...)
		p.escape(&s.name, &s.hashed, true)
		return
	}
	p.loc = append(p.loc, ':')
	for n := s.index; n < p.endOfTree(i); n++ {
		e := &p.tree[n]
		if e.bare {
			continue
		}
		p.loc = append(p.loc, '/')
		p.escape(&e.name, &e.hashed, true)
		p.loc = strconv.AppendInt(append(p.loc, '#'), int64(e.index), 10)
	}
}

// endOfTree returns where the elements of document i end: those of one inside of it come behind.
func (p *pass) endOfTree(i int) int {
	for _, inner := range p.scopes[i+1:] {
		if inner.kind == inXML && len(inner.name) == 0 {
			return inner.index
		}
	}
	return len(p.tree)
}
