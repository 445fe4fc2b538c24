package yamlfile

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/token"

	"github.com/reprise-io/reprise/internal/fault"
)

// flaw is what is wrong at one place of the file. Lines and columns are from 1.
type flaw struct {
	line, column int
	text         string
}

// Bad is wrapped by the error about a file.
type Bad struct {
	Flaws []string // where and what
}

func (b *Bad) Error() string { return strings.Join(b.Flaws, "; ") }

// Flaw notes what is wrong at a token; nil: at the beginning of the file.
func (f *File) Flaw(t *token.Token, format string, args ...any) {
	at := flaw{line: 1, column: 1, text: fmt.Sprintf(format, args...)}
	if t != nil && t.Position != nil {
		at.line, at.column = t.Position.Line, t.Position.Column
	}
	f.found = append(f.found, at)
}

// At notes what is wrong with a value that was decoded: field is a pointer into the struct that Decode filled.
func (f *File) At(field any, format string, args ...any) {
	t, ok := f.places[field]
	if !ok {
		t = f.within
	}
	f.Flaw(t, format, args...)
}

// Wrong notes what is wrong with a field's value, with what to try where one line says it.
func (f *File) Wrong(field any, err error) {
	text := err.Error()
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Try != "" && !strings.Contains(text+e.Try, "\n") {
		text += "; try " + e.Try
	}
	f.At(field, "%s", text)
}

// Unknown notes a key that is not one of names.
func (f *File) Unknown(t *token.Token, what string, names []string) {
	hint := "want " + strings.Join(names, ", ")
	if len(names) == 0 {
		hint = "none is known here"
	}
	if near, ok := fault.Nearest(t.Value, names); ok {
		hint = "did you mean " + near + "?"
	}
	f.Flaw(t, "unknown %s %q: %s", what, t.Value, hint)
}

// maxFlaws is how many are shown.
const maxFlaws = 20

// Err is the error about all flaws, nil when there is none.
func (f *File) Err() error {
	if len(f.found) == 0 {
		return nil
	}
	slices.SortStableFunc(f.found, func(a, b flaw) int {
		if a.line != b.line {
			return a.line - b.line
		}
		return a.column - b.column
	})
	bad := new(Bad)
	var cause strings.Builder
	for i, at := range f.found {
		if i == maxFlaws {
			fmt.Fprintf(&cause, "and %d more\n", len(f.found)-i)
			break
		}
		line := fmt.Sprintf("%s:%d:%d: %s", f.Path, at.line, at.column, at.text)
		bad.Flaws = append(bad.Flaws, line)
		cause.WriteString(line + "\n" + f.excerpt(at))
	}
	n := "1 flaw"
	if len(f.found) > 1 {
		n = fmt.Sprintf("%d flaws", len(f.found))
	}
	return &fault.Error{
		What: fmt.Sprintf("bad %s %s: %s", f.What, f.Path, n), Cause: strings.TrimRight(cause.String(), "\n"),
		Try: "mend it, and look: " + f.Try, Code: fault.Usage, Err: bad,
	}
}

// widest is how much of a line is shown.
const widest = 100

// excerpt shows the line that a flaw is in, with a mark below the place. A secret that stands in it by mistake is not shown.
func (f *File) excerpt(at flaw) string {
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
	shown := MaskSecret(string(line))
	if from, ok := f.hidden[at.line]; ok && from-1 < len(line) {
		shown = MaskSecret(string(line[:from-1])) + "(not shown)"
	}
	number := fmt.Sprintf("%5d | ", at.line)
	mark := strings.Repeat(" ", len(number)-2) + "| "
	if at.column-1 <= len(line) {
		mark += strings.Repeat(" ", max(0, at.column-1)) + "^"
	}
	return number + shown + "\n" + mark + "\n"
}

// MaskSecret hides what stands behind a key for a secret, unless it says where the secret is.
func MaskSecret(line string) string {
	m := regexp.MustCompile(`^(.*?(?:key|pass?w|pwd|secret|token|sasl|cred)[\w-]*["']?\s*:\s*)(.+)$`).FindStringSubmatch(line)
	if m == nil || strings.HasPrefix(strings.TrimLeft(m[2], `"'`), "env:") || strings.HasPrefix(strings.TrimLeft(m[2], `"'`), "file:") {
		return line
	}
	return m[1] + "(not shown)"
}
