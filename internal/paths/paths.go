// Package paths tells which requests are of one kind: it learns the templates of paths, "/items/{id}".
package paths

import (
	"bytes"
	"strings"
	"sync"
)

// Bounds of what Templates learns.
const (
	maxSegments = 16   // deeper paths are cut
	maxChildren = 100  // more names than that at one place are values, not names
	maxNodes    = 8192 // of the whole tree
	maxSegment  = 40   // bytes; a longer segment is a value
)

const (
	wildcard = "{id}"
	deeper   = "…"
)

// Templates learns path templates: segments that look like values, or stand where very many different ones were seen,
// become "{id}". The zero value is ready. It is safe for concurrent use.
type Templates struct {
	mu    sync.Mutex
	root  node
	nodes int
}

// node is a place in the tree of paths.
type node struct {
	template string // of the path that ends here
	children map[string]*node
	values   bool // every child is a value
}

// Template returns the template of a request target's path: "/items/{id}" for "/items/42?ref=home". Absolute-form
// targets give that of their path, "*" itself.
func (r *Templates) Template(target []byte) string {
	path := pathOf(target)
	if len(path) == 0 || path[0] != '/' {
		return "*"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	n := &r.root
	for depth := 0; len(path) > 0; depth++ {
		if depth == maxSegments {
			return n.template + "/" + deeper
		}
		path = path[1:] // its slash
		segment := path
		if i := bytes.IndexByte(path, '/'); i >= 0 {
			segment = path[:i]
		}
		path = path[len(segment):]
		n = r.step(n, segment)
	}
	return n.template
}

func (r *Templates) step(n *node, segment []byte) *node {
	if !n.values && !isValue(segment) {
		if c := n.children[string(segment)]; c != nil {
			return c
		}
		if len(n.children) < maxChildren && r.nodes < maxNodes {
			return r.grow(n, string(segment))
		}
		if len(n.children) >= maxChildren {
			n.values = true
			keep := n.children[wildcard]
			n.children = nil
			if keep != nil {
				n.children = map[string]*node{wildcard: keep}
			}
		}
	}
	if c := n.children[wildcard]; c != nil {
		return c
	}
	return r.grow(n, wildcard)
}

func (r *Templates) grow(n *node, segment string) *node {
	if n.children == nil {
		n.children = make(map[string]*node)
	}
	c := &node{template: n.template + "/" + segment}
	n.children[segment] = c
	r.nodes++
	return c
}

// isValue reports whether a segment looks like a value by itself: a number, a date, a UUID, an address, a code.
func isValue(s []byte) bool {
	if len(s) > maxSegment || string(s) == wildcard {
		return true
	}
	digits, hex := 0, 0
	for _, c := range s {
		switch {
		case '0' <= c && c <= '9':
			digits++
			hex++
		case 'a' <= c && c <= 'f', 'A' <= c && c <= 'F', c == '-':
			hex++
		case c == '@':
			return true
		}
	}
	return digits == len(s) && digits > 0 || digits >= 4 || digits > 0 && hex == len(s) && len(s) >= 8
}

// pathOf returns the path of a request target, without query and fragment.
func pathOf(target []byte) []byte {
	if i := bytes.IndexByte(target, '?'); i >= 0 {
		target = target[:i]
	}
	if i := bytes.IndexByte(target, '#'); i >= 0 {
		target = target[:i]
	}
	if len(target) > 0 && target[0] == '/' {
		return target
	}
	if _, rest, ok := bytes.Cut(target, []byte("://")); ok {
		if i := bytes.IndexByte(rest, '/'); i >= 0 {
			return rest[i:]
		}
		return []byte("/")
	}
	return nil
}

// Again returns the template that a "METHOD /path" key has by now: a place can have turned out to hold values later.
func (r *Templates) Again(key string) string {
	method, path, _ := strings.Cut(key, " ")
	if !strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/"+deeper) {
		return key
	}
	return method + " " + r.Template([]byte(path))
}
