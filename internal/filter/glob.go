package filter

import (
	"bytes"
	"strings"
)

// glob is a path pattern, segment by segment.
type glob struct{ segments []string }

func newGlob(pattern string) glob { return glob{strings.Split(pattern[1:], "/")} }

// match compares with a path without query. What is no origin-form path ("*" of OPTIONS) is matched by /** only.
func (g glob) match(path string) bool {
	if !strings.HasPrefix(path, "/") {
		return len(g.segments) == 1 && g.segments[0] == "**"
	}
	return matchSegments(g.segments, strings.Split(resolve(path)[1:], "/"))
}

// matchSegments tries ** with as few segments as possible and comes back to the last ** only, which is enough: time is
// bounded by the product of the lengths.
func matchSegments(pattern, path []string) bool {
	p, s, star, from := 0, 0, -1, 0
	for s < len(path) {
		switch {
		case p < len(pattern) && pattern[p] == "**":
			star, from = p, s
			p++
		case p < len(pattern) && matchSegment(pattern[p], path[s]):
			p++
			s++
		case star >= 0:
			from++
			p, s = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == "**" {
		p++
	}
	return p == len(pattern)
}

// matchSegment knows * and ? in the same way.
func matchSegment(pattern, s string) bool {
	p, i, star, from := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// resolve removes dot segments, also percent-encoded ones: a rule that allows /api/** must not allow /api/%2e%2e/admin.
func resolve(path string) string {
	if !strings.Contains(path, "/.") && !strings.Contains(path, "/%2") {
		return path
	}
	var out []string
	segments := strings.Split(path[1:], "/")
	for i, s := range segments {
		last := i == len(segments)-1
		switch strings.NewReplacer("%2e", ".", "%2E", ".").Replace(s) {
		case ".":
			if last {
				out = append(out, "")
			}
		case "..":
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
			if last {
				out = append(out, "")
			}
		default:
			out = append(out, s)
		}
	}
	return "/" + strings.Join(out, "/")
}

// pathOf is the path of a target in origin or absolute form, without query.
func pathOf(target []byte) []byte {
	path, _, _ := bytes.Cut(target, []byte("?"))
	if len(path) > 0 && path[0] != '/' {
		if scheme := bytes.Index(path, []byte("://")); scheme > 0 {
			rest := path[scheme+3:]
			if slash := bytes.IndexByte(rest, '/'); slash >= 0 {
				return rest[slash:]
			}
			return []byte("/")
		}
	}
	return path
}
