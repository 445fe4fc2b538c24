package main

import (
	"context"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/proc"
)

// asMain makes the test program the rootfs command: it becomes the program in the image.
const asMain = "REPRISE_ROOTFS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// stages are the images.
var stages = []string{"tap", "replayer", "inspect", "demo"}

// buildImages builds the images from the Dockerfile.
func buildImages(t *testing.T) (out string) {
	t.Helper()
	out = t.TempDir()
	require.NoError(t, Build("../Dockerfile", "../../..", out, map[string]string{"VERSION": "v0.0.0-image"}, stages...))
	return out
}

// container starts an image as an engine would, without one.
func container(t *testing.T, dir string, env, args []string) *proc.Process {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	words := []string{"run", dir}
	for _, e := range env {
		words = append(words, "-e", e)
	}
	p, err := proc.Start(proc.Options{Path: self, Args: append(append(words, "--"), args...), Env: []string{asMain + "=1"}})
	require.NoError(t, err)
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s said:\n%s%s", filepath.Base(dir), p.Stdout(), p.Stderr())
		}
	})
	return p
}

func within60s(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// canEnter skips where another root cannot be entered: it takes root and the right to mount.
func canEnter(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: the images are not run, which takes root")
	}
	cmd := syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	p, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{Sys: &cmd})
	if err != nil {
		t.Skip("NOT TESTED: the images are not run, which takes the right to mount: ", err)
	}
	_, err = p.Wait()
	require.NoError(t, err)
}

// TestImages is one test, for it builds all programs.
func TestImages(t *testing.T) {
	out := buildImages(t)
	t.Run("hold their program and nothing else", func(t *testing.T) { holdTheirProgram(t, out) })
	t.Run("run as nobody on a read-only root", func(t *testing.T) { runOnReadOnlyRoot(t, out) })
}

func holdTheirProgram(t *testing.T, out string) {
	for _, stage := range stages {
		image, err := readImage(filepath.Join(out, stage))
		require.NoError(t, err)
		require.Equal(t, []string{"/usr/local/bin/" + stage}, image.Entrypoint)
		require.Equal(t, "65532:65532", image.User)
		require.Equal(t, "v0.0.0-image", image.Labels["org.opencontainers.image.version"])
		require.Equal(t, stage, image.Labels["org.opencontainers.image.title"])
		require.NotEmpty(t, image.Labels["org.opencontainers.image.description"])

		var files []string
		root := filepath.Join(out, stage, rootFolder)
		require.NoError(t, filepath.WalkDir(root, func(name string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				files = append(files, strings.TrimPrefix(name, root))
			}
			return err
		}))
		require.Equal(t, []string{"/etc/ssl/certs/ca-certificates.crt", "/usr/local/bin/" + stage}, files)
		trusted, err := os.ReadFile(root + "/etc/ssl/certs/ca-certificates.crt")
		require.NoError(t, err)
		require.True(t, x509.NewCertPool().AppendCertsFromPEM(trusted), "authorities for TLS")
	}
}

func runOnReadOnlyRoot(t *testing.T, out string) {
	canEnter(t)
	for _, name := range []string{"tap", "replayer", "inspect"} {
		p := container(t, filepath.Join(out, name), nil, []string{"--version"})
		code, err := p.Wait(within60s(t))
		require.NoError(t, err)
		require.Zero(t, code, p.Stderr())
		require.Equal(t, name+" v0.0.0-image\n", p.Stdout())
	}

	production := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "answer to "+r.URL.Path)
	}))
	defer production.Close()
	listen, err := proc.FreeAddr()
	require.NoError(t, err)
	admin, err := proc.FreeAddr()
	require.NoError(t, err)
	tap := container(t, filepath.Join(out, "tap"), []string{"TZ=Asia/Shanghai"}, []string{
		"proxy", "--listen", listen, "--upstream", production.Listener.Addr().String(), "--admin", admin,
		"--brokers", "127.0.0.1:1", // no Kafka: traffic passes all the same
	})
	require.NoError(t, tap.Ready(within60s(t), admin))
	for path, want := range map[string]string{listen + "/a": "answer to /a", admin + "/healthz": "ok\n"} {
		resp, err := http.Get("http://" + path)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, want, string(body))
	}
	require.Contains(t, tap.Stderr(), "+08:00", "TZ is honoured: the zones are in the image")

	status := procFile(t, tap, "status")
	for _, line := range []string{
		"Uid:\t65532\t65532\t65532\t65532", "Gid:\t65532\t65532\t65532\t65532", "Groups:\t \n",
		"CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "NoNewPrivs:\t1",
	} {
		require.Contains(t, status, line)
	}
	require.Regexp(t, `(?m)^\d+ \d+ \S+ \S+ / ro,`, procFile(t, tap, "mountinfo"), "the root is mounted read-only")

	tap.Signal(syscall.SIGTERM)
	code, err := tap.Wait(within60s(t))
	require.NoError(t, err)
	require.Contains(t, []int{130, 4}, code, "it drains, and says what could not be stored")
}

// procFile reads /proc/PID/name of a program.
func procFile(t *testing.T, p *proc.Process, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.PID()), name))
	require.NoError(t, err)
	return string(text)
}
