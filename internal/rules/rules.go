// Package rules reads the rules file: one YAML for the three programs that says what is recorded, what must not be stored,
// what may be fired, and how. It is the only place that knows the file; each section has a file here, with the struct of its
// keys, what is checked beyond their types, and the conversion into the options of its stage. Stages know nothing of it.
//
// A file is read whole or not at all: an unknown key, a bad value or a secret that is written out makes it bad, and the error
// tells of all that is wrong. It holds no secrets, only where they are (env:NAME, file:PATH).
package rules

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/reprise-io/reprise/internal/yamlfile"
)

// File is a rules file. The zero value says nothing: every section then has its defaults.
type File struct {
	Version    uint32     `yaml:"version" default:"1" doc:"version of these rules, as it stands in what was redacted; raise it when their meaning changes"`
	Filter     Filter     `yaml:"filter" doc:"which exchanges are recorded, and which of them replayed"`
	Sample     Sample     `yaml:"sample" doc:"which share of the traffic is recorded"`
	Redact     Redact     `yaml:"redact" doc:"what is replaced before anything is stored, beyond what always is"`
	Writes     Writes     `yaml:"writes" doc:"which writes are fired at the target; none unless they are named"`
	Production Production `yaml:"production" doc:"addresses that are never fired at: hosts, HOST:PORT, networks"`
	Rewrite    Rewrite    `yaml:"rewrite" doc:"what is changed in requests before they are fired"`
	Session    Session    `yaml:"session" doc:"how a recorded session goes on as one at the target"`
	Limits     Limits     `yaml:"limits" json:"-" doc:"how much the target is asked to bear"`
	Compare    Compare    `yaml:"compare" doc:"what counts as the same when answers are compared"`

	digest []byte
}

// Empty is a file that says nothing.
func Empty() *File { return &File{Version: 1} }

// Load reads a file. Errors are *fault.Error with code Usage.
func Load(path string) (*File, error) {
	text, err := yamlfile.Read(path, what, "--rules")
	if err != nil {
		return nil, err
	}
	return Parse(path, text)
}

const what = "rules file"

// Parse reads a file's text; path is for errors.
func Parse(path, text string) (*File, error) {
	y := yamlfile.File{Path: path, What: what, Try: "inspect rules check " + path}
	f := Empty()
	y.Decode(y.Parse(text), f)
	if blank(text) {
		y.Flaw(nil, "the file is empty, by a full disk or another accident: what it said of redaction would count no more. One that is to say nothing says version: 1")
	}
	if err := y.Err(); err != nil {
		return nil, err
	}
	canonical, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	sum := sha256.Sum256(canonical)
	f.digest = sum[:16]
	return f, nil
}

// blank reports whether there is nothing but space and comments.
func blank(text string) bool {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return false
		}
	}
	return true
}

// Digest identifies what the file means: how it is written, and comments, make no difference. It must not be written to.
func (f *File) Digest() []byte { return f.digest }

// Schema is the JSON Schema of a rules file, for editors.
func Schema() ([]byte, error) {
	schema := yamlfile.JSONSchema("Reprise rules file", new(File))
	return json.MarshalIndent(schema, "", "  ")
}
