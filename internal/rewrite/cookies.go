package rewrite

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/traffic"
)

const (
	maxCookies = 64      // in a jar; browsers keep at least 50 of a site
	maxCookie  = 8 << 10 // bytes of one
)

// cookie is what one Set-Cookie says.
type cookie struct {
	name, value string
	path        string        // empty: the directory of the request's
	domain      string        // empty: the host that set it alone
	age         time.Duration // when aged
	aged        bool
	expires     time.Time // zero: at the end of the session
}

// parseSetCookie reads a Set-Cookie as RFC 6265 5.2 has browsers read it: what is no attribute is skipped.
func parseSetCookie(v []byte) (c cookie, ok bool) {
	if len(v) > maxCookie {
		return c, false
	}
	pair, attributes, _ := strings.Cut(string(v), ";")
	name, value, ok := strings.Cut(pair, "=")
	c.name, c.value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !ok || c.name == "" || strings.IndexFunc(c.name+c.value, func(r rune) bool { return r < ' ' || r == 0x7f }) >= 0 {
		return c, false
	}
	for one := range strings.SplitSeq(attributes, ";") {
		key, value, _ := strings.Cut(one, "=")
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "path":
			if c.path = ""; strings.HasPrefix(value, "/") {
				c.path = value
			}
		case "domain":
			c.domain = strings.ToLower(strings.TrimPrefix(value, "."))
		case "max-age":
			if n, err := strconv.ParseInt(value, 10, 32); err == nil {
				c.age, c.aged = time.Duration(n)*time.Second, true
			}
		case "expires":
			if t, err := http.ParseTime(strings.ReplaceAll(value, "-", " ")); err == nil {
				c.expires = t
			}
		}
	}
	return c, true
}

// kept is a cookie of a jar.
type kept struct {
	cookie
	host    string // of the recorded request whose answer set it; counts when domain is empty
	gone    bool   // the target took it away
	foreign bool   // no recorded answer of the session set one of that name: the target's own
}

// jar holds the cookies of one session as the target sets them.
type jar struct{ cookies []kept }

// set takes a cookie that an answer brought. own: the recorded answer had one of that name.
func (j *jar) set(c cookie, host, path string, own bool, now time.Time) (bytes int) {
	k := kept{cookie: c, host: host, foreign: !own}
	if k.path == "" {
		k.path = path[:max(1, strings.LastIndexByte(path, '/'))]
	}
	switch {
	case k.aged && k.age <= 0:
		k.gone = true
	case k.aged:
		k.expires = now.Add(k.age)
	case !k.expires.IsZero() && !k.expires.After(now):
		k.gone = true
	}
	same := func(o kept) bool {
		return o.name == k.name && o.path == k.path && o.domain == k.domain && o.host == k.host
	}
	if i := slices.IndexFunc(j.cookies, same); i >= 0 {
		k.foreign = k.foreign && j.cookies[i].foreign
		was := &j.cookies[i]
		bytes = len(k.value) - len(was.value)
		*was = k
		return bytes
	}
	if len(j.cookies) >= maxCookies {
		bytes -= j.cookies[0].size()
		j.cookies = slices.Delete(j.cookies, 0, 1)
	}
	j.cookies = append(j.cookies, k)
	return bytes + k.size()
}

func (k *kept) size() int {
	return len(k.name) + len(k.value) + len(k.path) + len(k.domain) + len(k.host) + 128
}

// sentTo reports whether a browser would send the cookie there. A cookie for a domain goes everywhere: pre-production's domain says
// nothing about the hosts that were recorded.
func (k *kept) sentTo(host, path string) bool {
	if k.domain == "" && k.host != host {
		return false
	}
	return path == k.path || strings.HasPrefix(path, k.path) && (strings.HasSuffix(k.path, "/") || path[len(k.path)] == '/')
}

// find returns the cookie of that name that goes to host and path, the one with the longest path; nil: none.
func (j *jar) find(name, host, path string) *kept {
	var best *kept
	for i := range j.cookies {
		if k := &j.cookies[i]; k.name == name && k.sentTo(host, path) && (best == nil || len(k.path) > len(best.path)) {
			best = k
		}
	}
	return best
}

// dress makes the cookies of a request those of the jar. A recorded cookie of a name that the jar does not have stays; one that the
// target took away goes; one of the target's own is added.
func (j *jar) dress(d *draft, host, path string, now time.Time) {
	if len(j.cookies) == 0 {
		return
	}
	for i := range j.cookies {
		k := &j.cookies[i]
		k.gone = k.gone || !k.expires.IsZero() && !k.expires.After(now)
	}
	j.replace(d, host, path)
	for i := range j.cookies {
		if k := &j.cookies[i]; k.foreign && !k.gone && k.sentTo(host, path) && j.find(k.name, host, path) == k {
			d.setCookie(k.name, []byte(k.value))
		}
	}
}

// replace goes through what was recorded.
func (j *jar) replace(d *draft, host, path string) {
	for i := 0; i < len(d.Headers); i++ {
		if !traffic.EqualName(d.Headers[i].Name, "Cookie") {
			continue
		}
		var out []byte
		changed := false
		for name, value := range pairs(d.Headers[i].Value, ';') {
			k := j.find(string(name), host, path)
			switch {
			case k == nil:
			case k.gone:
				changed = true
				continue
			case string(value) != k.value:
				changed, value = true, []byte(k.value)
			}
			out = appendPair(out, name, value)
		}
		switch {
		case changed && len(out) == 0:
			d.Headers = slices.Delete(d.fields(), i, i+1)
			i--
			d.changed = true
		case changed:
			d.setField(i, out)
		}
	}
}

func appendPair(list, name, value []byte) []byte {
	if len(list) > 0 {
		list = append(list, "; "...)
	}
	list = append(list, name...)
	list = append(list, '=')
	return append(list, value...)
}

// setCookie sets a cookie of a request: in its place, else behind the others. value nil: taken away.
func (d *draft) setCookie(name string, value []byte) {
	done := value == nil
	last := -1
	for i := 0; i < len(d.Headers); i++ {
		if !traffic.EqualName(d.Headers[i].Name, "Cookie") {
			continue
		}
		var out []byte
		changed := false
		for n, v := range pairs(d.Headers[i].Value, ';') {
			if string(n) == name {
				changed = changed || done || !bytes.Equal(v, value)
				if done {
					continue
				}
				done, v = true, value
			}
			out = appendPair(out, n, v)
		}
		switch {
		case changed && len(out) == 0:
			d.Headers = slices.Delete(d.fields(), i, i+1)
			i--
			d.changed = true
			continue
		case changed:
			d.setField(i, out)
		}
		last = i
	}
	switch {
	case done:
	case last >= 0:
		d.setField(last, appendPair(bytes.Clone(d.Headers[last].Value), []byte(name), value))
	default:
		d.Headers = append(d.fields(), traffic.Field{Name: []byte("Cookie"), Value: appendPair(nil, []byte(name), value)})
		d.changed = true
	}
}
