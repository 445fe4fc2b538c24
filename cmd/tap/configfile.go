package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/reprise-io/reprise/internal/fault"
)

// configFile is a YAML file of keys with texts or lists of texts, and what is wrong with it. Values are taken as they are
// written: what they mean is the flags' business.
type configFile struct {
	path  string
	lines []string
	found []flaw
}

// flaw is what is wrong at one place of the file. Lines and columns are from 1.
type flaw struct {
	line, column int
	text         string
}

// badConfig is wrapped by the error about a file: where and what, one for each flaw.
type badConfig struct{ flaws []string }

func (b *badConfig) Error() string { return strings.Join(b.flaws, "; ") }

// The parser takes more than linear time, and a stack as deep as the nesting.
const (
	maxConfig  = 64 << 10 // bytes
	maxNesting = 8
)

// readConfig reads a file's text.
func readConfig(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fault.BadUsage("cannot read the configuration file", err.Error(), "--config FILE")
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return "", fault.BadUsage("cannot read the configuration file", err.Error(), "--config FILE")
	}
	if len(data) > maxConfig {
		return "", fault.BadUsage(fmt.Sprintf("the configuration file %s is larger than %d KiB", path, maxConfig>>10),
			"no configuration of a tap is", "--config FILE")
	}
	return string(data), nil
}

// parse returns the mapping that the text is; nil: it is empty, or not a mapping, which is then a flaw.
func (f *configFile) parse(text string) (body []*ast.MappingValueNode) {
	f.lines = strings.Split(text, "\n")
	defer func() {
		if r := recover(); r != nil { // the parser is not ours: a fault of it must not end a tap that reads its file again
			f.flaw(nil, "this is no YAML that can be read")
			body = nil
		}
	}()
	tokens := lexer.Tokenize(text)
	if !f.plain(tokens) {
		return nil
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		f.syntax(err)
		return nil
	}
	var document ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if document != nil {
			f.flaw(doc.Body.GetToken(), "only one document is read")
			return nil
		}
		document = doc.Body
	}
	if document == nil {
		return nil
	}
	return f.mapping(document, "the file")
}

// plain refuses what the format does not have, before anything is built of it.
func (f *configFile) plain(tokens token.Tokens) bool {
	depth, line, opened := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, opened = t.Position.Line, 0
		}
		switch t.Type {
		case token.AnchorType, token.AliasType, token.TagType, token.DirectiveType, token.MergeKeyType, token.MappingKeyType:
			f.flaw(t, "anchors, aliases, tags, directives and complex keys are not read; write the value out, or quote it")
			return false
		case token.SequenceStartType, token.MappingStartType:
			depth++
			opened++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.SequenceEntryType, token.MappingValueType:
			opened++
		}
		if depth > maxNesting || opened > 4*maxNesting {
			f.flaw(t, "nested too deeply")
			return false
		}
	}
	return true
}

func (f *configFile) syntax(err error) {
	var at yaml.Error
	if errors.As(err, &at) && at.GetToken() != nil {
		f.flaw(at.GetToken(), "%s", at.GetMessage())
		return
	}
	f.found = append(f.found, flaw{1, 1, strings.SplitN(err.Error(), "\n", 2)[0]})
}

// mapping returns a node's keys and values.
func (f *configFile) mapping(n ast.Node, what string) []*ast.MappingValueNode {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}
	}
	f.flaw(tokenOf(n), "%s must be a mapping: key: value", what)
	return nil
}

// list returns the texts of a value: one for a scalar, those of its entries for a sequence. ok is false after a flaw.
func (f *configFile) list(key string, n ast.Node) (texts []string, isList, ok bool) {
	seq, isList := n.(*ast.SequenceNode)
	if !isList {
		text, ok := f.text(key, n)
		return []string{text}, false, ok
	}
	ok = true
	for _, v := range seq.Values {
		text, good := f.text(key, v)
		texts, ok = append(texts, text), ok && good
	}
	return texts, true, ok
}

// text returns a scalar as it is written, without quotes.
func (f *configFile) text(key string, n ast.Node) (string, bool) {
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		return v.Value.Value, true
	case *ast.NullNode, nil:
		f.flaw(tokenOf(n), "%s has no value: leave it out, or write \"\"", key)
		return "", false
	case ast.ScalarNode:
		return v.GetToken().Value, true
	}
	f.flaw(n.GetToken(), "%s must be a plain value", key)
	return "", false
}

func tokenOf(n ast.Node) *token.Token {
	if n == nil {
		return nil
	}
	return n.GetToken()
}

func (f *configFile) flaw(t *token.Token, format string, args ...any) {
	at := flaw{line: 1, column: 1, text: fmt.Sprintf(format, args...)}
	if t != nil && t.Position != nil {
		at.line, at.column = t.Position.Line, t.Position.Column
	}
	f.found = append(f.found, at)
}

// unknown notes a key that is not one of names.
func (f *configFile) unknown(t *token.Token, what string, names []string) {
	hint := "want " + strings.Join(names, ", ")
	if near, ok := fault.Nearest(t.Value, names); ok {
		hint = "did you mean " + near + "?"
	}
	f.flaw(t, "unknown %s %q: %s", what, t.Value, hint)
}

// maxFlaws is how many are shown.
const maxFlaws = 20

// err is the error about all flaws, nil when there is none.
func (f *configFile) err() error {
	if len(f.found) == 0 {
		return nil
	}
	slices.SortStableFunc(f.found, func(a, b flaw) int {
		if a.line != b.line {
			return a.line - b.line
		}
		return a.column - b.column
	})
	bad := new(badConfig)
	var cause strings.Builder
	for i, at := range f.found {
		if i == maxFlaws {
			fmt.Fprintf(&cause, "and %d more\n", len(f.found)-i)
			break
		}
		line := fmt.Sprintf("%s:%d:%d: %s", f.path, at.line, at.column, at.text)
		bad.flaws = append(bad.flaws, line)
		cause.WriteString(line + "\n" + f.excerpt(at))
	}
	n := "1 flaw"
	if len(f.found) > 1 {
		n = fmt.Sprintf("%d flaws", len(f.found))
	}
	return &fault.Error{
		What: fmt.Sprintf("bad configuration file %s: %s", f.path, n), Cause: strings.TrimRight(cause.String(), "\n"),
		Try: "mend it, and look: tap run --config " + f.path + " --check", Code: fault.Usage, Err: bad,
	}
}

// widest is how much of a line is shown.
const widest = 100

// excerpt shows the line that a flaw is in, with a mark below the place. A secret that stands in it by mistake is not shown.
func (f *configFile) excerpt(at flaw) string {
	if at.line < 1 || at.line > len(f.lines) {
		return ""
	}
	line := []rune(strings.ToValidUTF8(strings.TrimRight(f.lines[at.line-1], "\r"), "?"))
	if len(line) > widest {
		line = line[:widest]
	}
	for i, r := range line {
		if r < ' ' || r == 0x7f {
			line[i] = ' '
		}
	}
	number := fmt.Sprintf("%5d | ", at.line)
	mark := strings.Repeat(" ", len(number)-2) + "| "
	if at.column-1 <= len(line) {
		mark += strings.Repeat(" ", max(0, at.column-1)) + "^"
	}
	return number + maskSecret(string(line)) + "\n" + mark + "\n"
}

// maskSecret hides what stands behind a key for a secret, unless it says where the secret is.
func maskSecret(line string) string {
	m := regexp.MustCompile(`^(.*?(?:key|pass?w|pwd|secret|token|sasl|cred)[\w-]*["']?\s*:\s*)(.+)$`).FindStringSubmatch(line)
	if m == nil || strings.HasPrefix(strings.TrimLeft(m[2], `"'`), "env:") || strings.HasPrefix(strings.TrimLeft(m[2], `"'`), "file:") {
		return line
	}
	return m[1] + "(not shown)"
}
