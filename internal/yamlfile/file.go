// Package yamlfile reads the YAML files that people write for the programs: strictly, and so that all that is wrong is told at
// once, with line and column, the nearest name and the line itself, without the secrets that may stand in it by mistake.
//
// It reads plain YAML: mappings, lists and scalars, one document. Anchors, aliases, tags and complex keys are refused before
// anything is built of them. A file is walked by hand (Parse, Mapping, List, Text), or decoded into structs whose tags say what
// its keys are (Decode); of the same structs JSONSchema makes the schema for editors. What values mean is for others to say.
package yamlfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/reprise-io/reprise/internal/fault"
)

// File is a file that is being read, and what is wrong with it so far.
type File struct {
	Path string
	What string // "configuration file", for errors
	Try  string // what shows whether it is mended

	lines  []string
	found  []flaw
	places map[any]*token.Token // of what was decoded, by pointer to it
	within *token.Token         // of what is being checked
	hidden map[int]int          // column from which on a line is not to be shown
}

// The parser takes more than linear time, and a stack as deep as the nesting.
const (
	MaxBytes   = 64 << 10
	maxNesting = 8
)

// Read reads a file's text; flag is what named it.
func Read(path, what, flag string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fault.BadUsage("cannot read the "+what, err.Error(), flag+" FILE")
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return "", fault.BadUsage("cannot read the "+what, err.Error(), flag+" FILE")
	}
	if len(data) > MaxBytes {
		return "", fault.BadUsage(fmt.Sprintf("the %s %s is larger than %d KiB", what, path, MaxBytes>>10), "no more is read", flag+" FILE")
	}
	return string(data), nil
}

// Parse returns the mapping that the text is; nil: it is empty, or not a mapping, which is then a flaw.
func (f *File) Parse(text string) (body []*ast.MappingValueNode) {
	f.lines = strings.Split(text, "\n")
	defer func() {
		if r := recover(); r != nil { // the parser is not ours: a fault of it must not end a tap that reads its file again
			f.Flaw(nil, "this is no YAML that can be read")
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
			f.Flaw(doc.Body.GetToken(), "only one document is read")
			return nil
		}
		document = doc.Body
	}
	if document == nil {
		return nil
	}
	return f.Mapping(document, "the file")
}

// plain refuses what the format does not have, before anything is built of it.
func (f *File) plain(tokens token.Tokens) bool {
	depth, line, opened := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, opened = t.Position.Line, 0
		}
		switch t.Type {
		case token.AnchorType, token.AliasType, token.TagType, token.DirectiveType, token.MergeKeyType, token.MappingKeyType:
			f.Flaw(t, "anchors, aliases, tags, directives and complex keys are not read; write the value out, or quote it")
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
			f.Flaw(t, "nested too deeply")
			return false
		}
	}
	return true
}

func (f *File) syntax(err error) {
	var at yaml.Error
	if errors.As(err, &at) && at.GetToken() != nil {
		f.Flaw(at.GetToken(), "%s", at.GetMessage())
		return
	}
	f.found = append(f.found, flaw{1, 1, strings.SplitN(err.Error(), "\n", 2)[0]})
}

// Mapping returns a node's keys and values.
func (f *File) Mapping(n ast.Node, what string) []*ast.MappingValueNode {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}
	}
	f.Flaw(tokenOf(n), "%s must be a mapping: key: value", what)
	return nil
}

// List returns the texts of a value: one for a scalar, those of its entries for a sequence. ok is false after a flaw.
func (f *File) List(key string, n ast.Node) (texts []string, isList, ok bool) {
	seq, isList := n.(*ast.SequenceNode)
	if !isList {
		text, ok := f.Text(key, n)
		return []string{text}, false, ok
	}
	ok = true
	for _, v := range seq.Values {
		text, good := f.Text(key, v)
		texts, ok = append(texts, text), ok && good
	}
	return texts, true, ok
}

// Text returns a scalar as it is written, without quotes.
func (f *File) Text(key string, n ast.Node) (string, bool) {
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		return v.Value.Value, true
	case *ast.NullNode, nil:
		f.Flaw(tokenOf(n), "%s has no value: leave it out, or write \"\"", key)
		return "", false
	case ast.ScalarNode:
		return v.GetToken().Value, true
	}
	f.Flaw(n.GetToken(), "%s must be a plain value", key)
	return "", false
}

func tokenOf(n ast.Node) *token.Token {
	if n == nil {
		return nil
	}
	return n.GetToken()
}
