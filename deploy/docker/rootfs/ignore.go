package main

import (
	"os"
	"path"
	"strings"
)

// ignored holds the patterns of a .dockerignore, the last that matches counts.
type ignored []string

// readIgnored reads a .dockerignore; none means that nothing is left out.
func readIgnored(name string) (ignored, error) {
	text, err := os.ReadFile(name)
	if os.IsNotExist(err) {
		return nil, nil
	}
	var lines ignored
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines, err
}

// match tells whether a file, by its slash path in the context, is left out.
func (ig ignored) match(name string) bool {
	out := false
	for _, pattern := range ig {
		pattern, again := strings.CutPrefix(pattern, "!")
		if within(pattern, name) {
			out = !again
		}
	}
	return out
}

// within tells whether a path or a folder above it matches. A leading **/ is any depth, as in Docker.
func within(pattern, name string) bool {
	deep, anyDepth := strings.CutPrefix(pattern, "**/")
	for p := name; p != "."; p = path.Dir(p) {
		if ok, _ := path.Match(pattern, p); ok {
			return true
		}
		if ok, _ := path.Match(deep, path.Base(p)); ok && anyDepth {
			return true
		}
	}
	return false
}
