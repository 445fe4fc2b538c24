package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/reprise-io/reprise/internal/fault"
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

// IsTerminal reports whether f is a terminal.
func IsTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
