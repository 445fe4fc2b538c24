//go:build e2e

package e2e_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// answering is the service behind every way in.
func answering() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header()["X-Answer"] = []string{"b", "a"}
		said := fmt.Sprintf("%s %d", r.Method, len(body))
		switch r.URL.Path {
		case "/zip":
			w.Header().Set("Content-Encoding", "gzip")
			said = zipped(strings.Repeat(said, 100))
		case "/gone":
			w.WriteHeader(http.StatusNotFound)
		case "/trailing":
			w.Header().Set("Trailer", "X-End")
			defer w.Header().Set("X-End", "5")
		}
		_, _ = io.WriteString(w, said)
	})
}

// unzipped undoes gzip.
func unzipped(t *testing.T, s string) string {
	t.Helper()
	z, err := gzip.NewReader(strings.NewReader(s))
	require.NoError(t, err)
	plain, err := io.ReadAll(z)
	require.NoError(t, err)
	return string(plain)
}

// Every way takes what it is to record from one conversation, and returns that once all of it is stored.

func throughProxy(t *testing.T, prefix, service string) *conversation {
	tap := startTap(t, prefix, service, "--redact", "off")
	return settle(t, tap, converse(t, tap.addr))
}

func throughNginx(t *testing.T, prefix, service string) *conversation {
	tap := startMirror(t, prefix)
	return settle(t, tap, converse(t, gateway{tap: tap.addr, app: service}.start(t)))
}

// throughEnvoy runs one that sends copies to a tap as a configuration says.
func throughEnvoy(command, file string, edits ...string) func(t *testing.T, prefix, service string) *conversation {
	return func(t *testing.T, prefix, service string) *conversation {
		tap := startBeside(t, command, prefix)
		e := startEdge(t, file, map[string]string{"service": service, "service-grpc": serveGRPC(t), "tap": tap.addr}, edits...)
		return settle(t, tap, converse(t, e.addr))
	}
}

func throughMiddleware(t *testing.T, prefix, service string) *conversation {
	tap := startIngest(t, prefix, "--redact", "off")
	url, stop := startExample(t, tap.url(), "-upstream", "http://"+service)
	c := converse(t, strings.TrimPrefix(url, "http://"))
	stop()
	return settle(t, tap, c)
}

func onTheWire(t *testing.T, prefix, service string) *conversation {
	tap := startSniff(t, prefix, "lo", portOf(t, service), "--redact", "off")
	return settle(t, tap, converse(t, service))
}

// settle waits until the tap has stored the conversation, no more and no less.
func settle(t *testing.T, tap *tapped, c *conversation) *conversation {
	t.Helper()
	require.Equal(t, len(c.turns), tap.settled(t, len(c.turns)).produced)
	return c
}

// imported makes a file of a conversation that a service had with its client, and imports it.
func imported(name string, file func(t *testing.T, path string, c *conversation)) func(t *testing.T, prefix, service string) *conversation {
	return func(t *testing.T, prefix, service string) *conversation {
		path := filepath.Join(t.TempDir(), name)
		c := converse(t, service)
		file(t, path, c)
		importFile(t, prefix, path, len(c.turns))
		return c
	}
}

func importFile(t *testing.T, prefix, path string, exchanges int) {
	t.Helper()
	got := run(t, time.Minute, "tap", "import", path, "--brokers", shared.broker.Addr(), "--topic-prefix", prefix, "--redact", "off")
	require.Zero(t, got.Code, got.Stderr)
	require.Contains(t, got.Stderr, fmt.Sprint(exchanges))
}

// fromLog imports what nginx logs in its own default format.
func fromLog(t *testing.T, prefix, service string) *conversation {
	path := filepath.Join(t.TempDir(), "access.log")
	c := converse(t, gateway{app: service, server: "access_log " + path + ";"}.start(t))
	waitFor(t, 2*time.Minute, func() error { // nginx writes a line when it has answered
		log, err := os.ReadFile(path)
		if n := bytes.Count(log, []byte("\n")); err == nil && n < len(c.turns) {
			err = fmt.Errorf("%d lines", n)
		}
		return err
	})
	importFile(t, prefix, path, len(c.turns))
	return c
}

func throughSpring(t *testing.T, prefix, service string) *conversation {
	tap := startIngest(t, prefix, "--redact", "off")
	g := startSpring(t, service, tap.url())
	c := converse(t, g.addr)
	g.stop(t)
	return settle(t, tap, c)
}
