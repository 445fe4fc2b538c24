// Package clitest holds tests that all three commands have to pass.
package clitest

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/reprise-io/reprise/cmd/internal/cli"
)

// HasManualPages tests that there is a page for every command that help tells of, that it names every flag, and, where there are
// readers of manual pages, that they find nothing wrong with it.
func HasManualPages(t *testing.T, root *cobra.Command) {
	t.Helper()
	dir := t.TempDir()
	if err := cli.Manual(root, dir); err != nil {
		t.Fatal(err)
	}
	pages := check(t, dir, root)
	written, err := filepath.Glob(filepath.Join(dir, "*"))
	if slices.Sort(pages); err != nil || !slices.Equal(pages, written) {
		t.Fatalf("written are %q, want %q (%v)", written, pages, err)
	}
	for _, reader := range [][]string{{"groff", "-K", "utf8", "-T", "utf8", "-man", "-ww", "-z"}, {"mandoc", "-T", "lint", "-W", "error"}} {
		if _, err := exec.LookPath(reader[0]); err != nil {
			t.Logf("%s is not here: it has not read the pages", reader[0])
			continue
		}
		said, err := exec.CommandContext(t.Context(), reader[0], append(reader[1:], pages...)...).CombinedOutput()
		if err != nil || len(said) > 0 {
			t.Errorf("%s: %v: %s", reader[0], err, said)
		}
	}
}

// check looks into the pages of a command and of those below it, and returns their paths.
func check(t *testing.T, dir string, c *cobra.Command) []string {
	t.Helper()
	path := filepath.Join(dir, cli.PageName(c)+".1")
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.ReplaceAll(string(page), `\-`, "-")
	has := func(what string) {
		if !strings.Contains(plain, what) {
			t.Errorf("%s does not have %q", path, what)
		}
	}
	has("\n" + cli.PageName(c) + " - " + c.Short + "\n")
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			has(`\fB--` + f.Name + `\fR`)
		}
	})
	pages := []string{path}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			pages = append(pages, check(t, dir, sub)...)
		}
	}
	return pages
}
