package redact

import "bytes"

// target handles a request target in any of its forms.
func (p *pass) target(v []byte, connect bool) {
	if connect {
		p.authority(v, 0)
		return
	}
	p.url(v, 0)
}

// looksLikeURL reports whether a value that begins with h, w, / or ? may have named values as a URL has them.
func looksLikeURL(v []byte) bool {
	if v[0] != '/' && v[0] != '?' && !bytes.Contains(v[:min(len(v), 12)], []byte("://")) {
		return false
	}
	for _, c := range v {
		switch c {
		case '?', '#', '@', ';':
			return true
		}
	}
	return false
}

// url handles an absolute or relative reference: user information, path, parameters in path, query and fragment. It goes
// from left to right: edits are in order.
func (p *pass) url(v []byte, base int) {
	end := len(v)
	fragment := bytes.IndexByte(v, '#')
	if fragment >= 0 {
		end = fragment
	}
	query := bytes.IndexByte(v[:end], '?')
	if query >= 0 {
		end = query
	}
	path := pathStart(v[:end])
	if i := bytes.Index(v[:path], []byte("//")); i >= 0 {
		p.authority(v[i+2:path], base+i+2)
	}
	p.path(v[path:end], base+path)
	if query >= 0 {
		end = len(v)
		if fragment >= 0 {
			end = fragment
		}
		p.params(v[query+1:end], base+query+1, inQuery, '&')
	}
	if fragment >= 0 { // parameters, as OAuth sends them
		p.params(v[fragment+1:], base+fragment+1, inFragment, '&')
	}
}

// pathStart returns where the path begins: behind scheme and authority when there are any.
func pathStart(v []byte) int {
	at := 0
	if !bytes.HasPrefix(v, []byte("//")) {
		i := bytes.Index(v, []byte("://"))
		if i < 0 || bytes.IndexByte(v[:i], '/') >= 0 {
			return 0
		}
		at = i + 1
	}
	if i := bytes.IndexByte(v[at+2:], '/'); i >= 0 {
		return at + 2 + i
	}
	return len(v)
}

func (p *pass) authority(v []byte, base int) {
	if i := bytes.LastIndexByte(v, '@'); i > 0 {
		p.userinfo(v[:i], base)
		v, base = v[i+1:], base+i+1
	}
	if len(v) >= shortest {
		p.push(scope{kind: inAuthority, index: -1})
		p.scan(v, base)
		p.pop()
	}
}

// userinfo replaces user and password, so that either joins with the same value elsewhere.
func (p *pass) userinfo(v []byte, base int) {
	p.push(scope{kind: inUserinfo, index: -1})
	if p.claim(inUserinfo.String(), "", -1) {
		user, password, _ := bytes.Cut(v, []byte(":"))
		p.percented(user, base)
		p.percented(password, base+len(v)-len(password))
	}
	p.pop()
}

// percented replaces a whole value that may have percent encoding.
func (p *pass) percented(raw []byte, base int) {
	if len(raw) == 0 {
		return
	}
	v, changed := p.decoded(raw, false)
	if !changed {
		p.whole(Secret, raw, base)
		return
	}
	mark, floor := p.inner()
	p.whole(Secret, v, 0)
	p.encodePercent(raw, base, mark, v)
	p.floor = floor
}

// path handles the segments of a path, each with its parameters (/a;jsessionid=…).
func (p *pass) path(v []byte, base int) {
	users := p.r.usersIn(v)
	for n := -1; ; n++ { // the first segment is what stands before the first slash
		segment, rest, more := bytes.Cut(v, []byte("/"))
		if i := bytes.IndexByte(segment, ';'); i >= 0 {
			p.pathSegment(segment[:i], base, n, users)
			p.params(segment[i+1:], base+i+1, inPathParam, ';')
		} else {
			p.pathSegment(segment, base, n, users)
		}
		if !more {
			return
		}
		base += len(segment) + 1
		v = rest
	}
}

// pathSegment replaces the whole of a segment that is an identity, else what is found in it.
func (p *pass) pathSegment(raw []byte, base, n int, users uint32) {
	if n >= 0 && n < maxPathPattern && users>>n&1 != 0 {
		p.user(raw, base, n)
		return
	}
	p.segment(raw, base, n)
}

func (p *pass) segment(raw []byte, base, n int) {
	if len(raw) < shortest {
		return
	}
	p.push(scope{kind: inPath, index: max(n, 0)})
	v, changed := p.decoded(raw, false)
	if !changed {
		p.scan(v, base)
	} else {
		mark, floor := p.inner()
		p.scan(v, 0)
		p.encodePercent(raw, base, mark, v)
		p.floor = floor
	}
	p.pop()
}

// params handles name=value pairs. Everything outside replaced values stays as it is.
func (p *pass) params(v []byte, base int, kind scopeKind, separator byte) {
	plus := kind == inQuery || kind == inForm || kind == inFragment
	for n := 0; len(v) > 0; {
		end := bytes.IndexByte(v, separator)
		if end < 0 {
			end = len(v)
		}
		next := min(end+1, len(v))
		switch {
		case kind != inForm && separator == '&' && p.semicolons(v[:end], base, kind, n, plus), p.param(v[:end], base, kind, n, plus):
			n++
		case n > 0: // dropped, with the separator before it
			p.put(base-1, base+end, nil)
		default:
			p.put(base, base+next, nil)
		}
		if end == len(v) {
			return
		}
		v, base = v[next:], base+next
	}
}

// semicolons handles a pair with credentials behind semicolons in it, which some servers take for separators too. It does
// nothing and reports false where there are none: a semicolon may as well be a part of the value.
func (p *pass) semicolons(pair []byte, base int, kind scopeKind, n int, plus bool) bool {
	at := p.credentialBehind(pair, plus)
	if at < 0 {
		return false
	}
	for at >= 0 {
		if !p.param(pair[:at], base, kind, n, plus) {
			p.put(base, base+at+1, nil)
		}
		pair, base = pair[at+1:], base+at+1
		at = p.credentialBehind(pair, plus)
	}
	if !p.param(pair, base, kind, n, plus) {
		p.put(base, base+len(pair), nil)
	}
	return true
}

// credentialBehind returns the place of the first semicolon behind which a value with the name of a credential stands, or -1.
func (p *pass) credentialBehind(pair []byte, plus bool) int {
	for at := 0; ; {
		i := bytes.IndexByte(pair[at:], ';')
		if i < 0 {
			return -1
		}
		at += i + 1
		next := pair[at:]
		if end := bytes.IndexByte(next, ';'); end >= 0 {
			next = next[:end]
		}
		if rawName, _, ok := bytes.Cut(next, []byte("=")); ok {
			if name, _ := p.decoded(rawName, plus); p.r.keys.match(name).rule != nil {
				return at - 1
			}
		}
	}
}

// param handles one pair. keep is false when all of it is to be taken out.
func (p *pass) param(pair []byte, base int, kind scopeKind, n int, plus bool) (keep bool) {
	rawName, raw, _ := bytes.Cut(pair, []byte("="))
	selected := p.chosen.params(kind)
	if len(pair) < 5 && !p.r.rekey && len(selected) == 0 { // pin=1
		return true
	}
	name, changed := p.decoded(rawName, plus)
	if len(name) > 1 && (name[0] == '{' || name[0] == '[') && kind != inPathParam { // no parameters: a JSON document
		p.push(scope{kind: kind, index: n})
		p.paramValue(keyHit{}, pair, base, plus)
		p.pop()
		return true
	}
	hit := p.r.keys.match(name)
	if rule := named(selected, name); rule != nil {
		hit = keyHit{rule: rule}
	}
	if hit.rule == nil && len(raw) < shortestNested && len(name) < shortest && !p.eager {
		return true
	}
	s := p.push(scope{kind: kind, name: name, index: n})
	if hit.drops() && p.claim(hit.rule.Name, dropped, -1) {
		p.pop()
		return false
	}
	mark, floor := p.inner()
	if !changed {
		p.floor = floor
		p.ownName(&s.name, &s.hashed, base)
	} else {
		p.ownName(&s.name, &s.hashed, 0)
		p.encodePercent(rawName, base, mark, name)
		p.floor = floor
	}
	p.paramValue(hit, raw, base+len(pair)-len(raw), plus)
	p.pop()
	return true
}

func (p *pass) paramValue(hit keyHit, raw []byte, base int, plus bool) {
	if len(raw) == 0 {
		return
	}
	v, changed := p.decoded(raw, plus)
	at, mark, floor := base, len(p.edits), p.floor
	if changed = changed || hit.rewrites(); changed {
		at, p.floor = 0, mark
	}
	switch {
	case hit.rule != nil && !hit.drops():
		p.secret(hit, v, at)
	case !p.strange(v, at):
		p.value(v, at)
	}
	if changed {
		p.encodePercent(raw, base, mark, v)
		p.floor = floor
	}
}
