package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/yamlfile"
)

// The output modes of -o.
const (
	Table  = "table"
	NDJSON = "ndjson"
	JSON   = "json"
	YAML   = "yaml"
	Raw    = "raw"
)

// Output is the value of -o. Empty: a table on a terminal, NDJSON otherwise.
type Output struct {
	mode    string
	allowed []string
}

// Flag adds -o with the modes that a command can write.
func (o *Output) Flag(fs *pflag.FlagSet, allowed ...string) {
	o.allowed = allowed
	fs.StringVarP(&o.mode, "output", "o", "",
		strings.Join(allowed, ", ")+"; default: table on a terminal, otherwise the first machine form")
}

// Resolve returns the mode to write: the one asked for, or table on a terminal and the first other allowed one elsewhere.
func (o *Output) Resolve(stdout *os.File) (string, error) {
	if o.mode != "" {
		if !slices.Contains(o.allowed, o.mode) {
			return "", fault.BadUsage(fmt.Sprintf("bad -o %q", o.mode), "this command writes "+strings.Join(o.allowed, ", "), "-o "+o.allowed[0])
		}
		return o.mode, nil
	}
	for _, mode := range o.allowed {
		if (mode == Table) == IsTerminal(stdout) {
			return mode, nil
		}
	}
	return o.allowed[0], nil
}

// Write writes one value, which is given as JSON on one line, in a mode that is not Table.
func Write(w io.Writer, mode string, text []byte) error {
	if mode == YAML {
		b, err := yamlfile.FromJSON(text)
		if err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	}
	_, err := w.Write(append(bytes.TrimSuffix(text, []byte("\n")), '\n'))
	return err
}

// IsTerminal reports whether f is a terminal.
func IsTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
