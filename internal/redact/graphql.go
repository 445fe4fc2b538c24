package redact

import "bytes"

// looksLikeGraphQL reports whether v is the text of a GraphQL document that begins with an operation, a fragment, or the fields of a
// query. An object of JavaScript, which begins as fields do, has a colon behind its first name.
func looksLikeGraphQL(v []byte) bool {
	v = skipIgnored(v)
	word := v[:tokenEnd(v, 0)]
	rest := skipIgnored(v[len(word):])
	switch string(word) {
	case "":
		if len(rest) == 0 || rest[0] != '{' {
			return false
		}
		rest = skipIgnored(rest[1:])
		if bytes.HasPrefix(rest, []byte("...")) {
			return true
		}
		field := tokenEnd(rest, 0)
		next := skipIgnored(rest[field:])
		return field > 0 && len(next) > 0 && (bytes.IndexByte([]byte("({}@"), next[0]) >= 0 || tokenEnd(next, 0) > 0)
	case "query", "mutation", "subscription":
		rest = skipIgnored(rest[tokenEnd(rest, 0):])
		if vars, ok := bytes.CutPrefix(rest, []byte("(")); ok {
			return bytes.HasPrefix(skipIgnored(vars), []byte("$"))
		}
		return len(rest) > 0 && (rest[0] == '{' || rest[0] == '@')
	case "fragment":
		name := tokenEnd(rest, 0)
		on := skipIgnored(rest[name:])
		return name > 0 && tokenEnd(on, 0) == 2 && bytes.HasPrefix(on, []byte("on"))
	}
	return false
}

// skipIgnored returns v from its first token on.
func skipIgnored(v []byte) []byte {
	v = bytes.TrimPrefix(v, []byte("\xef\xbb\xbf"))
	for len(v) > 0 {
		switch {
		case isSpace(v[0]) || v[0] == ',':
			v = v[1:]
		case v[0] == '#':
			end := bytes.IndexAny(v, "\r\n")
			if end < 0 {
				return nil
			}
			v = v[end:]
		default:
			return v
		}
	}
	return v
}

// tokenEnd returns where the name that begins at i ends; i: there is none.
func tokenEnd(v []byte, i int) int {
	for from := i; i < len(v); i++ {
		if c := v[i]; !isLetter(c) && c != '_' && (i == from || !isDigit(c)) {
			break
		}
	}
	return i
}

// query is a walk through GraphQL. Like that through JSON it asks for nothing valid. What stands under the name of an argument,
// a variable or a field of an input object is a literal, a name (of a variable, an enum or, behind an alias, a field), a list or
// an object; only literals are values of a client.
type query struct {
	*pass
	src   []byte
	base  int
	args  int    // arguments so far
	named keyHit // rule of the last name with a colon
	rule  keyHit // for the literal that comes next
	open  []keyHit
}

// graphql walks src, which begins at base.
func (p *pass) graphql(src []byte, base int) {
	p.push(scope{kind: inGraphQL, index: -1})
	d := query{pass: p, src: src, base: base}
	d.run()
	p.pop()
}

func (d *query) run() {
	for i := 0; i < len(d.src) && d.err == nil; {
		switch c := d.src[i]; {
		case c == '"':
			i = d.text(i)
		case c == '#':
			end := i + 1
			for end < len(d.src) && d.src[end] != '\n' && d.src[end] != '\r' {
				end++
			}
			d.scan(d.src[i:end], d.base+i)
			i = end
		case c == '(' || c == '{' || c == '[':
			d.enter(c)
			i++
		case c == ')' || c == '}' || c == ']':
			d.leave()
			i++
		case c == '=': // the default of a variable
			d.rule = d.named
			i++
		case c == '-' || isDigit(c):
			i = d.number(i)
		case tokenEnd(d.src, i) > i:
			i = d.name(i)
		default:
			i++
		}
	}
}

// enter begins arguments, a selection, an object or a list. What is in the last two is ruled by the name of all of it.
func (d *query) enter(c byte) {
	if len(d.open) >= maxJSONDepth {
		d.err = errTooDeep
		return
	}
	inner := d.rule
	if c == '(' {
		inner = keyHit{}
	}
	d.open = append(d.open, inner)
	d.rule, d.named = inner, keyHit{}
}

// leave ends them.
func (d *query) leave() {
	d.rule, d.named = keyHit{}, keyHit{}
	if len(d.open) == 0 {
		return
	}
	d.open = d.open[:len(d.open)-1]
	d.rule = d.around()
}

// around is the rule for all that is in the innermost list or object.
func (d *query) around() keyHit {
	if len(d.open) == 0 {
		return keyHit{}
	}
	return d.open[len(d.open)-1]
}

// name handles the name at i: with a colon behind it that of a value, else a value itself, which nobody redacts.
func (d *query) name(i int) (next int) {
	end := tokenEnd(d.src, i)
	v := d.src[i:end]
	for next = end; next < len(d.src) && isSpace(d.src[next]); {
		next++
	}
	if next == len(d.src) || d.src[next] != ':' {
		d.scan(v, d.base+i)
		d.rule = d.around()
		return end
	}
	d.rule = d.around()
	if d.rule.rule == nil {
		d.rule = d.r.keys.match(v)
	}
	d.named = d.rule
	at := &d.scopes[len(d.scopes)-1]
	at.name, at.index, at.hashed = v, d.args, false
	d.args++
	return next + 1
}

// number handles the number at i.
func (d *query) number(i int) (end int) {
	for end = i + 1; end < len(d.src) && isNumber(d.src[end:end+1]); end++ {
	}
	v, base := d.src[i:end], d.base+i
	switch {
	case d.rule.rule == nil || d.rule.textOnly:
		if !d.strange(v, base) {
			d.scan(v, base)
		}
	case d.rule.rule.Action == Mask:
		if d.claim(d.rule.rule.Name, "", -1) {
			d.ones(v, base)
		}
	case d.rule.rewrites():
		if d.claim(d.rule.rule.Name, "", -1) {
			with := []byte(d.rule.rule.With)
			if !isScalar(with) {
				with = append(appendJSON([]byte{'"'}, with), '"')
			}
			d.put(base, base+len(v), with)
		}
	default:
		if e := bytes.IndexAny(v, "eE"); e > 0 {
			v = v[:e] // the exponent stays
		}
		d.secret(d.rule, v, base)
	}
	d.rule = d.around()
	return end
}

// text handles the string at i, which may be a block.
func (d *query) text(i int) (next int) {
	rule := d.rule
	d.rule = d.around()
	if block := []byte(`"""`); bytes.HasPrefix(d.src[i:], block) {
		from := i + len(block)
		end := from
		for end < len(d.src) && !bytes.HasPrefix(d.src[end:], block) {
			if bytes.HasPrefix(d.src[end:], []byte(`\"""`)) {
				end += len(block)
			}
			end++
		}
		end = min(end, len(d.src))
		d.literal(rule, d.src[from:end], d.base+from)
		return min(end+len(block), len(d.src))
	}
	from := i + 1
	end, escaped := stringEnd(d.src, from, '"')
	s := d.src[from:end]
	if !escaped && !rule.rewrites() {
		d.literal(rule, s, d.base+from)
		return min(end+1, len(d.src))
	}
	mark, floor := d.inner()
	v := unescapeJSON(d.take(len(s))[:0], s)
	d.literal(rule, v, 0)
	d.encodeJSON(s, d.base+from, mark, v)
	d.floor = floor
	return min(end+1, len(d.src))
}

// literal handles what a string says.
func (d *query) literal(rule keyHit, v []byte, base int) {
	if rule.rule != nil {
		d.secret(rule, v, base)
		return
	}
	if !d.strange(v, base) {
		d.value(v, base)
	}
}
