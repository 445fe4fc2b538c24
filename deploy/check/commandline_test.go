package check_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// bin is the folder with our programs.
var bin string

func TestMain(m *testing.M) { os.Exit(runMain(m)) }

func runMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "reprise-deploy-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	build := exec.Command("go", "build", "-o", bin, "./cmd/tap", "./cmd/replayer", "./cmd/inspect", "./e2e/demo")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath -buildvcs=false")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %s\n", err, out)
		return 1
	}
	return m.Run()
}

// commandLine is how a file here starts one of our programs.
type commandLine struct {
	where   string
	program string // base name
	args    []string
}

// flagValue finds a flag's value, "" without it.
func (c commandLine) flagValue(name string) string {
	for i, arg := range c.args {
		if value, ok := strings.CutPrefix(arg, name+"="); ok {
			return value
		}
		if arg == name && i+1 < len(c.args) {
			return c.args[i+1]
		}
	}
	return ""
}

// help is what a program says to arguments with --help after them: it reads them all first.
func help(program string, args ...string) (string, error) {
	out, err := exec.Command(filepath.Join(bin, program), append(args, "--help")...).CombinedOutput()
	return string(out), err
}

// requireParses has the program itself parse the command line.
func (c commandLine) requireParses(t *testing.T) {
	t.Helper()
	require.NotEmpty(t, c.args, c.where)
	for _, arg := range c.args {
		require.NotRegexp(t, `\$[({]|%[a-z]`, arg, "%s: not filled in", c.where)
	}
	command := c.program + " " + c.args[0]
	said, err := help(c.program, c.args...)
	require.NoError(t, err, "%s: %s %v\n%s", c.where, c.program, c.args, said)
	if c.program != "demo" {
		require.Contains(t, said, "Usage:\n  "+command, c.where)
	}
}

func contains(list []string, s string) bool {
	for _, in := range list {
		if in == s {
			return true
		}
	}
	return false
}

// A wrong command line is seen: without this the tests that parse them prove nothing.
func TestWrongCommandLinesAreRefused(t *testing.T) {
	for _, args := range [][]string{{"proxy", "--no-such-flag"}, {"proxy", "--memory-max=much"}, {"proxy", "--loops", "many"}} {
		_, err := help("tap", args...)
		require.Error(t, err, args)
	}
	said, _ := help("tap", "prox")
	require.NotContains(t, said, "Usage:\n  tap prox")
}

// textFile reads a file of deploy/.
func textFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", name))
	require.NoError(t, err)
	return string(text)
}
