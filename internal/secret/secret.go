// Package secret reads secrets from where they may be kept: a file or an environment variable. Never from the command
// line, which everyone on the machine can read in the process list.
package secret

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/reprise-io/reprise/internal/fault"
)

// maxBytes bounds a secret file: whoever names a log by mistake is told so.
const maxBytes = 1 << 20

// Ref says where a secret is. It can be printed: it holds no secret. The zero value is none.
type Ref struct{ kind, name string }

// Parse reads env:NAME or file:PATH, as the flag of that name was given. Anything else is refused and not repeated, since
// it may be the secret itself. Empty gives the zero Ref.
func Parse(flag, s string) (Ref, error) {
	kind, name, ok := strings.Cut(s, ":")
	switch {
	case s == "":
		return Ref{}, nil
	case ok && name != "" && (kind == "env" || kind == "file"):
		return Ref{kind, name}, nil
	}
	return Ref{}, fault.BadUsage("bad "+flag+": want env:NAME or file:PATH",
		"a secret on the command line would show in the process list", flag+" file:PATH")
}

// Given reports whether there is a secret to read.
func (r Ref) Given() bool { return r.kind != "" }

// IsFile reports whether the secret is in a file, and Name tells of which path; otherwise Name is a variable's.
func (r Ref) IsFile() bool { return r.kind == "file" }

// Name is the file's path or the variable's name.
func (r Ref) Name() string { return r.name }

// String returns the Ref as it was given.
func (r Ref) String() string {
	if !r.Given() {
		return ""
	}
	return r.kind + ":" + r.name
}

// Read reads the secret anew, so that a file that was replaced counts at once. Space around it, such as an editor's line
// end, is no part of it. A secret that is not there or empty is an error, which names the place.
func (r Ref) Read() ([]byte, error) {
	var text []byte
	switch r.kind {
	case "env":
		text = []byte(os.Getenv(r.name))
	case "file":
		f, err := os.Open(r.name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if text, err = io.ReadAll(io.LimitReader(f, maxBytes+1)); err != nil {
			return nil, err
		}
		if len(text) > maxBytes {
			return nil, fmt.Errorf("%s: too large for a secret", r.name)
		}
	default:
		return nil, errors.New("no secret was named")
	}
	text = bytes.TrimSpace(text)
	switch {
	case len(text) > 0:
		return text, nil
	case r.IsFile():
		return nil, fmt.Errorf("%s: the file is empty", r.name)
	default:
		return nil, fmt.Errorf("%s: the variable is empty or not set", r.name)
	}
}
