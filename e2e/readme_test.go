//go:build e2e

package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/proc"
)

// The README's commands are run as they stand there: each story in a network namespace of its own, where every port that
// it names is free, and in a folder that looks like the project's. A comment before a block says what is expected of it:
//
//	<!-- try: STORY -->            runs to its end, exit code 0
//	<!-- try: STORY serves -->     runs until the story ends
//	<!-- try: STORY until TEXT --> is repeated until it prints TEXT
//	<!-- try: STORY file NAME -->  is a file, which the reader writes
const tryMark = "<!-- try: "

// block is one fenced block of the README that a test runs.
type block struct {
	story, text string
	serves      bool
	until, file string
	line        int
}

// readBlocks returns the marked blocks of a page in their order.
func readBlocks(path string) ([]block, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var blocks []block
	var next *block // marked, its fence not seen yet
	inside := false
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		switch {
		case inside && line == "```":
			blocks, next, inside = append(blocks, *next), nil, false
		case inside:
			next.text += line + "\n"
		case strings.HasPrefix(line, tryMark):
			story, how, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(line, tryMark), " -->"), " ")
			next = &block{story: story, serves: how == "serves", line: n + 1}
			kind, text, _ := strings.Cut(how, " ")
			switch kind {
			case "until":
				next.until = text
			case "file":
				next.file = text
			case "", "serves":
			default:
				return nil, fmt.Errorf("%s:%d: unknown mark %q", path, n, how)
			}
		case next != nil && strings.HasPrefix(line, "```"):
			inside = true
		case next != nil && line != "":
			return nil, fmt.Errorf("%s:%d: a mark without a block behind it", path, n)
		}
	}
	return blocks, lines.Err()
}

// namespace is a machine of the reader's own, as far as its network and mounts go: nothing is in it but loopback.
type namespace struct{ holder *proc.Process }

// newNamespace needs no more than the right to make one: root's, or that of whoever may make user namespaces. setup are
// shell commands that run in it first.
func newNamespace(t *testing.T, setup string) *namespace {
	t.Helper()
	args := []string{"--net", "--mount"}
	if os.Geteuid() != 0 {
		args = append(args, "--user", "--map-root-user")
	}
	holder, err := proc.Start(proc.Options{
		Path: "unshare", Args: append(args, "sh", "-ec", "ip link set lo up\n"+setup+"\necho ready\nexec sleep 3600"),
	})
	require.NoError(t, err)
	t.Cleanup(holder.Kill)
	_, err = holder.WaitLine(within(t, 2*time.Minute), "ready")
	require.NoError(t, err, "network and mount namespaces are needed: run as root, or allow user namespaces")
	return &namespace{holder}
}

// start runs a program in the namespace.
func (ns *namespace) start(dir, path string, args ...string) (*proc.Process, error) {
	enter := []string{"--target", strconv.Itoa(ns.holder.PID()), "--net", "--mount", "--wd=" + dir}
	if os.Geteuid() != 0 {
		enter = append(enter, "--user", "--preserve-credentials")
	}
	return proc.Start(proc.Options{
		Path: "nsenter", Args: append(append(enter, path), args...),
		Env: []string{"PATH=" + filepath.Join(shared.root, ".cache", "envoy", "envoy", "_bin") + ":" + os.Getenv("PATH") + ":/usr/sbin"},
	})
}

// projectFolder looks like the project's, built, and can be written to.
func projectFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Symlink(shared.bin, filepath.Join(dir, "bin")))
	for _, name := range []string{"deploy", "proto"} {
		require.NoError(t, os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(shared.root, name))))
	}
	return dir
}

// buildShop makes the program that stands for the reader's service.
func buildShop(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "demo")
	build := exec.Command("go", "build", "-o", path, "./e2e/demo")
	build.Dir, build.Stderr = shared.root, os.Stderr
	require.NoError(t, build.Run())
	return path
}

// storySetup is what a reader has before a story begins, beside the service on :9000 and its next build on :9100.
func storySetup(t *testing.T, story string) (setup string, programs [][]string) {
	t.Helper()
	if story != "nginx" {
		return "", nil
	}
	// An nginx that serves the service. The reader adds the last line but one; with a star, for the file comes later.
	etc := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(etc, "conf.d"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(etc, "nginx.conf"), []byte(`daemon off;
pid /run/nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  include conf.d/*.conf;
  server {
    listen 80;
    include reprise-mirror-server.conf*;
    location / { proxy_pass http://127.0.0.1:9000; }
  }
}
`), 0o600))
	return "mkdir -p /etc/nginx && mount --bind " + etc + " /etc/nginx && mount -t tmpfs none /run", [][]string{{"nginx"}}
}

func TestReadmeCommandsDoWhatItSays(t *testing.T) {
	blocks, err := readBlocks(filepath.Join(shared.root, "README.md"))
	require.NoError(t, err)
	stories := make(map[string][]block)
	var order []string
	for _, b := range blocks {
		if stories[b.story] == nil {
			order = append(order, b.story)
		}
		stories[b.story] = append(stories[b.story], b)
	}
	for _, want := range []string{"nothing", "nginx", "envoy", "code", "change", "several"} {
		require.Contains(t, order, want, "the README tells that story")
	}
	shop := buildShop(t)
	for _, name := range order {
		t.Run(name, func(t *testing.T) { tellStory(t, shop, name, stories[name]) })
	}
}

// tellStory runs the blocks of a story in turn.
func tellStory(t *testing.T, shop, name string, blocks []block) {
	setup, programs := storySetup(t, name)
	ns, dir := newNamespace(t, setup), projectFolder(t)
	for _, args := range append(programs,
		[]string{shop, "shop", "-listen", "127.0.0.1:9000"}, []string{shop, "shop", "-listen", "127.0.0.1:9100", "-pre-production"}) {
		p, err := ns.start(dir, args[0], args[1:]...)
		require.NoError(t, err)
		t.Cleanup(func() {
			p.Kill()
			if t.Failed() {
				t.Logf("%s said:\n%s", args[0], tail(p.Stdout()+p.Stderr(), 10))
			}
		})
	}
	for _, b := range blocks {
		t.Logf("README.md:%d\n%s", b.line, b.text)
		require.NoError(t, runBlock(t, ns, dir, b), "README.md:%d", b.line)
	}
}

func runBlock(t *testing.T, ns *namespace, dir string, b block) error {
	if b.file != "" {
		return os.WriteFile(filepath.Join(dir, b.file), []byte(b.text), 0o600)
	}
	ctx := within(t, 90*time.Second)
	p, err := ns.start(dir, "bash", "-euo", "pipefail", "-c", b.text)
	if err != nil {
		return err
	}
	t.Cleanup(p.Kill)
	if b.serves {
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("README.md:%d said:\n%s", b.line, tail(p.Stdout()+p.Stderr(), 30))
			}
		})
		return nil
	}
	for {
		code, err := p.Wait(ctx)
		said := p.Stdout() + p.Stderr()
		switch {
		case err != nil:
			return fmt.Errorf("%w; it said\n%s", err, tail(said, 30))
		case b.until == "" && code == 0, b.until != "" && strings.Contains(said, b.until):
			return nil
		case b.until == "":
			return fmt.Errorf("exit code %d\n%s", code, tail(said, 30))
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("it never printed %q: %w; it said\n%s", b.until, err, tail(said, 30))
		}
		if p, err = ns.start(dir, "bash", "-euo", "pipefail", "-c", b.text); err != nil {
			return err
		}
		t.Cleanup(p.Kill)
	}
}

// pause is the time between two looks.
func pause(ctx context.Context) error {
	select {
	case <-time.After(300 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
