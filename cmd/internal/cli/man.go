package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/reprise-io/reprise/internal/fault"
)

// newManCommand makes manual pages of a tree's own commands.
func newManCommand(root *cobra.Command) *cobra.Command {
	var dir string
	name := root.Name()
	c := &cobra.Command{
		Use:   "man [COMMAND...] | man --dir DIR",
		Short: "Write manual pages",
		Long: `Write manual pages: that of a command to standard output, or those of all commands into a directory, as ` + name + `.1, ` + name + `-COMMAND.1 and
so on. They tell what --help tells.`,
		Example: `  ` + name + ` man | man -l -
  ` + name + ` man --dir /usr/local/share/man/man1`,
		Hidden: true, // as completion is
		Args:   cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if dir != "" {
				if len(args) > 0 {
					return fault.BadUsage("--dir writes the pages of all commands", "", c.CommandPath()+" --dir "+dir)
				}
				return Manual(root, dir)
			}
			of, left, err := root.Find(args)
			if err != nil || len(left) > 0 {
				return fault.BadUsage(fmt.Sprintf("there is no command %q", strings.Join(append([]string{name}, args...), " ")), "", name+" --help")
			}
			_, err = io.WriteString(c.OutOrStdout(), page(of))
			return err
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "write the pages of all commands into this directory, made when missing")
	return c
}

// Manual writes a page for every command of a tree into dir, which is made when missing.
func Manual(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fault.New("cannot make the directory "+dir, err.Error(), "another --dir, or as another user")
	}
	var all error
	walk(root, func(c *cobra.Command) {
		if told(c) {
			all = errors.Join(all, os.WriteFile(filepath.Join(dir, PageName(c)+".1"), []byte(page(c)), 0o644))
		}
	})
	if all != nil {
		return fault.New("cannot write manual pages into "+dir, oneLine(all.Error()), "another --dir, or as another user")
	}
	return nil
}

// told reports whether help tells of a command.
func told(c *cobra.Command) bool { return !c.HasParent() || c.IsAvailableCommand() && told(c.Parent()) }

// PageName is what man calls the page of a command: "inspect-rules-check".
func PageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// page is the manual page of a command. It bears no date: the same program has the same pages.
func page(c *cobra.Command) string {
	m := new(roff)
	m.line(".TH", quoted(strings.ToUpper(PageName(c))), `"1"`, `""`, quoted(c.Root().Name()+" "+Version), `"Reprise"`)
	m.line(".nh") // a name that is divided cannot be copied
	m.line(".SH NAME")
	m.text(PageName(c) + " - " + c.Short)
	m.line(".SH SYNOPSIS")
	use := c.UseLine()
	if c.HasAvailableSubCommands() {
		use = c.CommandPath() + " COMMAND"
	}
	m.literal(use)
	m.line(".SH DESCRIPTION")
	about := c.Long
	if about == "" {
		about = c.Short + "."
	}
	m.prose(strings.TrimSuffix(about, ExitCodes))
	m.commands(c)
	if c.HasAvailableLocalFlags() {
		m.line(".SH OPTIONS")
		c.LocalFlags().VisitAll(m.flag)
	}
	if c.HasExample() {
		m.line(".SH EXAMPLES")
		m.literal(c.Example)
	}
	m.line(".SH EXIT STATUS")
	_, codes, _ := strings.Cut(ExitCodes, "\n")
	m.literal(codes)
	m.seeAlso(c)
	return m.b.String()
}

// roff writes the language of manual pages.
type roff struct{ b strings.Builder }

// line writes a request with its arguments as they are.
func (m *roff) line(parts ...string) { m.b.WriteString(strings.Join(parts, " ") + "\n") }

// text writes text to be filled, or literal text where nothing is.
func (m *roff) text(s string) {
	for line := range strings.Lines(s) {
		line = escaped(strings.TrimSuffix(line, "\n"))
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line // it would be a request
		}
		m.line(line)
	}
}

// prose writes paragraphs; what is indented stays as it is.
func (m *roff) prose(s string) {
	for i, paragraph := range strings.Split(strings.Trim(s, "\n"), "\n\n") {
		if i > 0 {
			m.line(".PP")
		}
		kept := false
		for line := range strings.Lines(strings.Trim(paragraph, "\n")) {
			if indented := strings.HasPrefix(line, " "); indented != kept {
				kept = indented
				m.line(map[bool]string{true: ".nf", false: ".fi"}[kept])
			}
			m.text(line)
		}
		if kept {
			m.line(".fi")
		}
	}
}

// literal writes text as it is, line by line.
func (m *roff) literal(s string) {
	m.line(".nf")
	for line := range strings.Lines(strings.TrimRight(s, "\n")) {
		if line = strings.TrimRight(line, "\n"); line == "" {
			m.line(".sp")
			continue
		}
		m.text(line)
	}
	m.line(".fi")
}

// item writes one of a list of named things.
func (m *roff) item(name, text string) {
	m.line(".TP")
	m.line(name)
	m.text(text)
}

func (m *roff) commands(of *cobra.Command) {
	for i, c := range available(of) {
		if i == 0 {
			m.line(".SH COMMANDS")
		}
		m.item(`\fB`+escaped(c.Name())+`\fR`, c.Short)
	}
}

func available(of *cobra.Command) (all []*cobra.Command) {
	for _, c := range of.Commands() {
		if told(c) {
			all = append(all, c)
		}
	}
	return all
}

func (m *roff) flag(f *pflag.Flag) {
	if f.Hidden {
		return
	}
	value, text := pflag.UnquoteUsage(f)
	name := `\fB` + escaped("--"+f.Name) + `\fR`
	if f.Shorthand != "" {
		name = `\fB` + escaped("-"+f.Shorthand) + `\fR, ` + name
	}
	if value != "" {
		name += ` \fI` + escaped(value) + `\fR`
	}
	switch f.DefValue {
	case "", "0", "0s", "false", "[]":
	default:
		text += " (default " + f.DefValue + ")"
	}
	m.item(name, text)
}

func (m *roff) seeAlso(c *cobra.Command) {
	var all []string
	if c.HasParent() {
		all = append(all, PageName(c.Parent()))
	}
	for _, sub := range available(c) {
		all = append(all, PageName(sub))
	}
	if len(all) == 0 {
		return
	}
	m.line(".SH SEE ALSO")
	for i, name := range all {
		comma := ","
		if i == len(all)-1 {
			comma = ""
		}
		m.line(".BR", escaped(name), "(1)"+comma)
	}
}

// escaped is text in which nothing is roff's: a backslash, and a minus that is to be copied from the page as one.
func escaped(s string) string { return strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s) }

func quoted(s string) string { return `"` + strings.ReplaceAll(escaped(s), `"`, `""`) + `"` }
