package rewrite

import (
	"bytes"
	"net/url"

	"github.com/reprise-io/reprise/internal/traffic"
)

const (
	maxParts = 512 // values of a request that are looked at
	maxPart  = maxValue
)

// parts returns the values of a request that an answer may have brought: cookies and credentials; with all also what else may hold an
// id.
func parts(d *draft, all bool) (found []string) {
	add := func(v []byte) {
		if len(v) > 0 && len(v) <= maxPart && len(found) < maxParts {
			found = append(found, string(v))
		}
	}
	for i := range d.Headers {
		switch f := &d.Headers[i]; {
		case traffic.EqualName(f.Name, "Cookie"):
			for _, v := range pairs(f.Value, ';') {
				add(v)
			}
		case traffic.EqualName(f.Name, "Authorization"), all && !plumbing(f.Name):
			add(word(f.Value))
		}
	}
	if !all {
		return found
	}
	path, query, _ := cutQuery(d.Target)
	for n := 1; n <= 64; n++ {
		from, to, ok := segment(path, n)
		if !ok {
			break
		}
		add(unescapePath(path[from:to]))
	}
	for _, v := range pairs(query, '&') {
		add(unescapeParam(v))
	}
	if len(d.Body) == 0 {
		return found
	}
	body, err := d.body()
	if err != nil {
		return found
	}
	switch d.kind() {
	case 'j':
		scalars(body, func(v []byte) ([]byte, bool) {
			add(v)
			return nil, false
		})
	case 'f':
		for _, v := range pairs(body, '&') {
			add(unescapeParam(v))
		}
	}
	return found
}

// plumbing are fields that hold no value of a session.
func plumbing(name []byte) bool {
	for _, n := range [...]string{
		"Host", "Content-Length", "Content-Type", "Content-Encoding", "Transfer-Encoding", "Connection", "User-Agent", "Accept",
		"Accept-Encoding", "Accept-Language", "Date",
	} {
		if traffic.EqualName(name, n) {
			return true
		}
	}
	return false
}

// replace puts the target's values in the place of recorded ones, and reports whether one of those that never came is in use.
// Credentials of a request that stays without are left. Called locked.
func (st *state) replace(d *draft, open bool) (missing bool) {
	with := func(v []byte) ([]byte, bool) {
		if now, ok := st.values[string(v)]; ok {
			return []byte(now), now != string(v)
		}
		missing = missing || st.failed[string(v)]
		return nil, false
	}
	if !open {
		st.replaceFields(d, with)
	}
	path, query, _ := cutQuery(d.Target)
	var changed, also bool
	path, changed = replaceSegments(path, with)
	query, also = replaceParams(query, with)
	if changed || also {
		d.setTarget(joinQuery(path, query))
	}
	kind := d.kind()
	if len(d.Body) == 0 || kind == 0 {
		return missing
	}
	body, err := d.body()
	if err != nil {
		return missing
	}
	if kind == 'j' {
		body, changed = scalars(body, with)
	} else {
		body, changed = replaceParams(body, with)
	}
	if changed {
		d.setBody(body)
	}
	return missing
}

type replacer func(v []byte) ([]byte, bool)

func (st *state) replaceFields(d *draft, with replacer) {
	for i := range d.Headers {
		f := d.Headers[i]
		if plumbing(f.Name) {
			continue
		}
		if traffic.EqualName(f.Name, "Cookie") {
			var out []byte
			changed := false
			for name, v := range pairs(f.Value, ';') {
				if now, ok := with(v); ok {
					v, changed = now, true
				}
				out = appendPair(out, name, v)
			}
			if changed {
				d.setField(i, out)
			}
			continue
		}
		was := word(f.Value)
		if now, ok := with(was); ok {
			d.setField(i, append(bytes.Clone(f.Value[:len(f.Value)-len(was)]), now...))
		}
	}
}

func replaceSegments(path []byte, with replacer) (_ []byte, changed bool) {
	for n := 1; n <= 64; n++ {
		from, to, ok := segment(path, n)
		if !ok {
			break
		}
		if now, ok := with(unescapePath(path[from:to])); ok && !leadsElsewhere(now) {
			path, changed = splice(path, from, to, []byte(url.PathEscape(string(now)))), true
		}
	}
	return path, changed
}

func replaceParams(query []byte, with replacer) (_ []byte, changed bool) {
	var out []byte
	for one := range bytes.SplitSeq(query, []byte("&")) {
		name, v, ok := bytes.Cut(one, []byte("="))
		if len(out) > 0 {
			out = append(out, '&')
		}
		if now, hit := with(unescapeParam(v)); ok && hit {
			out = append(append(append(out, name...), '='), url.QueryEscape(string(now))...)
			changed = true
			continue
		}
		out = append(out, one...)
	}
	if !changed {
		return query, false
	}
	return out, true
}
