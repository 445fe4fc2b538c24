package redact

import (
	"bytes"
	"slices"

	"github.com/reprise-io/reprise/internal/traffic"
)

// headerAction is what the rules say about a field name.
type headerAction struct {
	action Action
	rule   string
}

// maxActions bounds the field names whose action is remembered.
const maxActions = 1024

// fields redacts a header or trailer block in place, and returns it, or a copy without the fields that a rule drops. Only an
// error of the pass can come out of it: then the exchange must not be stored.
func (p *pass) fields(fields []traffic.Field, kind scopeKind) []traffic.Field {
	if len(fields) == 0 {
		return fields
	}
	p.push(scope{kind: kind, fields: fields})
	at := len(p.scopes) - 1
	p.cookies = 0
	kept, short := fields, false // short: kept is a copy
	for i, n := 0, 0; i < len(fields); i++ {
		if short {
			kept = append(kept, fields[i])
		}
		s := &p.scopes[at]
		s.name, s.index, s.hashed, s.fields = fields[i].Name, n, false, kept
		f := &kept[n]
		if p.redactField(f) {
			n++
			continue
		}
		if !short {
			kept, short = slices.Clone(fields[:n]), true
		}
		kept = kept[:n]
	}
	p.pop()
	return kept
}

// redactField redacts one field. keep is false when a rule drops it.
func (p *pass) redactField(f *traffic.Field) (keep bool) {
	if rule := p.fieldRule(f.Name); rule != nil {
		if rule.Action == Drop && p.claim(rule.Name, dropped, -1) {
			return false
		}
		if rule.Action != Drop {
			if len(bytes.TrimSpace(f.Value)) > 0 && p.claim(rule.Name, "", -1) {
				p.treat(rule, f.Value, 0)
				f.Value = p.apply(f.Value)
			}
			return true
		}
	}
	if len(f.Value) == 0 {
		return true
	}
	if p.eager && p.listed() {
		if p.r.rekey && p.anew("", true) {
			p.whole(Secret, f.Value, 0)
			f.Value = p.apply(f.Value)
		}
		return true
	}
	a, ok := p.actions[string(f.Name)]
	if !ok {
		a = p.action(f.Name)
	}
	if a.action == Keep {
		return true
	}
	p.field(a, f.Value)
	if len(p.edits) > 0 {
		f.Value = p.apply(f.Value)
		cookie := a.action == Cookie || a.action == SetCookie
		return !cookie || len(bytes.TrimSpace(f.Value)) > 0
	}
	return true
}

func (p *pass) field(a headerAction, v []byte) {
	switch a.action {
	case Scan:
		p.value(v, 0)
	case Agent:
		p.agent = true
		p.value(v, 0)
		p.agent = false
	case Credential:
		if p.claim(a.rule, "", -1) {
			p.whole(Secret, v, 0)
		}
	case Authorization:
		p.authorization(a.rule, v)
	case Cookie:
		p.cookieList(a.rule, v)
	case SetCookie:
		p.setCookie(a.rule, v)
	case URL:
		p.url(v, 0)
	case Protocols:
		p.protocols(a.rule, v)
	}
}

// action decides about a field name and remembers it.
func (p *pass) action(name []byte) headerAction {
	lower := string(bytes.ToLower(name))
	a, ok := p.r.headers[lower]
	if !ok {
		// "X-Api-Key-Id": every word may be the last one of a credential's name.
		for i := 1; i <= len(lower); i++ {
			if i < len(lower) && (isLetter(lower[i]) || isDigit(lower[i])) {
				continue
			}
			if p.r.words.match([]byte(lower[:i])).rule != nil {
				a = headerAction{Credential, p.r.rules.Words.Name}
				break
			}
		}
	}
	if len(p.actions) >= maxActions {
		clear(p.actions)
	}
	p.actions[string(name)] = a
	return a
}

// authorization keeps the scheme, and where parameters follow it their names: Digest, AWS4-HMAC-SHA256, OAuth. What is
// no name=value is replaced.
func (p *pass) authorization(rule string, v []byte) {
	if !p.claim(rule, "", -1) {
		return
	}
	scheme, rest, ok := bytes.Cut(v, []byte(" "))
	if !ok || len(scheme) > 32 || bytes.IndexByte(scheme, '=') >= 0 {
		scheme, rest = nil, v
	}
	base := len(v) - len(rest)
	if len(scheme) == 0 || !isParameters(rest) {
		p.credential(rest, base)
		return
	}
	for len(rest) > 0 {
		piece, after, _ := bytes.Cut(rest, []byte(","))
		name := bytes.IndexByte(piece, '=') + 1
		value := piece[name:]
		quoted := len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"'
		if quoted {
			p.credential(value[1:len(value)-1], base+name+1)
		} else {
			p.credential(value, base+name)
		}
		base += len(rest) - len(after)
		rest = after
	}
}

// credential replaces a value apart from the spaces around it.
func (p *pass) credential(v []byte, base int) {
	trimmed := bytes.TrimLeft(v, " \t")
	base += len(v) - len(trimmed)
	trimmed = bytes.TrimRight(trimmed, " \t")
	if len(trimmed) > 0 {
		p.whole(Secret, trimmed, base)
	}
}

// isParameters reports whether v is a list of name=value with commas between, and no base64 with = at its end.
func isParameters(v []byte) bool {
	for len(v) > 0 {
		piece, rest, _ := bytes.Cut(v, []byte(","))
		name, value, ok := bytes.Cut(bytes.TrimSpace(piece), []byte("="))
		if !ok || len(bytes.Trim(value, "=")) == 0 || !isToken(name) {
			return false
		}
		v = rest
	}
	return true
}

// isToken reports whether name may be a parameter's name.
func isToken(name []byte) bool {
	for _, c := range name {
		if !isLetter(c) && !isDigit(c) && c != '-' && c != '_' {
			return false
		}
	}
	return len(name) > 0 && len(name) <= 32
}

// cookieList replaces the value of every cookie of a Cookie field. The cookies of a message are counted together: HTTP/2
// clients send them in several fields.
func (p *pass) cookieList(rule string, v []byte) {
	kept := false
	for base := 0; base < len(v); {
		end := bytes.IndexByte(v[base:], ';')
		if end < 0 {
			end = len(v)
		} else {
			end += base
		}
		next := min(end+1, len(v))
		switch {
		case p.cookie(scope{kind: inCookie, index: p.cookies}, rule, v[base:end], base):
			p.cookies++
			kept = true
		case kept: // with the semicolon before it
			p.put(base-1, end, nil)
		default:
			for next < len(v) && v[next] == ' ' {
				next++
			}
			p.put(base, next, nil)
		}
		base = next
	}
}

func (p *pass) setCookie(rule string, v []byte) {
	pair, attributes, _ := bytes.Cut(v, []byte(";"))
	field := p.scopes[len(p.scopes)-1]
	if !p.cookie(scope{kind: inSetCookie, index: field.index, fields: field.fields}, rule, pair, 0) {
		p.put(0, len(v), nil)
		return
	}
	p.scanFrom(v, len(v)-len(attributes), 0)
}

// cookie replaces the value of name=value, which begins at base; without a name all of it is value. Its own scope takes
// the place of the field's. keep is false when a rule drops it.
func (p *pass) cookie(s scope, rule string, pair []byte, base int) (keep bool) {
	name, value, hasName := bytes.Cut(pair, []byte("="))
	if !hasName {
		name, value = nil, pair
	}
	nameAt, valueAt := base, base+len(pair)-len(value)
	s.name = bytes.TrimLeft(name, " \t")
	nameAt += len(name) - len(s.name)
	top := &p.scopes[len(p.scopes)-1]
	field := *top
	*top = s
	selected := named(p.chosen.cookie, s.name)
	if selected != nil && selected.Action == Drop && p.claim(selected.Name, dropped, -1) {
		*top = field
		return false
	}
	p.ownName(&top.name, &top.hashed, nameAt)
	v := bytes.TrimLeft(value, " \t")
	valueAt += len(value) - len(v)
	v = bytes.TrimRight(v, " \t")
	switch {
	case len(v) == 0:
	case selected != nil && selected.Action != Drop:
		p.paramValue(keyHit{rule: selected}, v, valueAt, false)
	case p.claim(rule, "", -1):
		p.percented(v, valueAt)
	}
	*top = field
	return true
}
