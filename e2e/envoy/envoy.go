// Package envoy runs a real Envoy for the end-to-end tests. The program is the one that a wheel of PyPI brings; `make
// e2e` fetches it.
package envoy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/reprise-io/reprise/e2e/proc"
)

// Binary is where the wheel puts the program, below the folder that it was installed to.
const Binary = "envoy/_bin/envoy"

// ErrMissing is wrapped when there is no Envoy.
var ErrMissing = errors.New("no Envoy: run make e2e, which fetches it")

// Envoy is a running Envoy.
type Envoy struct {
	*proc.Process
	admin string
}

const startTimeout = time.Minute

// Start runs an Envoy with a configuration that has its admin address at admin, and waits until it is ready. dir takes the
// configuration.
func Start(ctx context.Context, binary, dir, config, admin string) (*Envoy, error) {
	path, err := write(binary, dir, config)
	if err != nil {
		return nil, err
	}
	p, err := proc.Start(proc.Options{Path: binary, Args: []string{
		"-c", path, "--concurrency", "2", "--log-level", "warn",
		"--disable-hot-restart", // and with it the memory that Envoys of one base id share
		"--drain-time-s", "1", "--parent-shutdown-time-s", "2",
	}})
	if err != nil {
		return nil, err
	}
	e := &Envoy{Process: p, admin: admin}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err = proc.Poll(ctx, func() error {
		select {
		case <-p.Exited():
			return proc.Final(fmt.Errorf("envoy %w:\n%s", proc.ErrExited, p.Stderr()))
		default:
		}
		_, err := e.get(ctx, "/ready")
		return err
	})
	if err != nil {
		p.Kill()
		return nil, err
	}
	return e, nil
}

// Validate has Envoy read a configuration; an error says what is wrong with it.
func Validate(ctx context.Context, binary, dir, config string) error {
	path, err := write(binary, dir, config)
	if err != nil {
		return err
	}
	got, err := proc.Run(ctx, proc.Options{Path: binary, Args: []string{"--mode", "validate", "--log-level", "error", "-c", path}})
	if err == nil && got.Code != 0 {
		err = fmt.Errorf("envoy refuses %s:\n%s", path, got.Stderr)
	}
	return err
}

func write(binary, dir, config string) (path string, err error) {
	if _, err := os.Stat(binary); err != nil {
		return "", fmt.Errorf("%w (%w)", ErrMissing, err)
	}
	path = filepath.Join(dir, "envoy.yaml")
	return path, os.WriteFile(path, []byte(config), 0o600)
}

// Stat returns a counter or gauge of Envoy's; 0 when it has none of that name.
func (e *Envoy) Stat(ctx context.Context, name string) (int, error) {
	body, err := e.get(ctx, "/stats?format=json&filter="+regexp.QuoteMeta(name)+"$")
	if err != nil {
		return 0, err
	}
	var all struct {
		Stats []struct {
			Name  string
			Value int
		}
	}
	if err := json.Unmarshal(body, &all); err != nil {
		return 0, fmt.Errorf("stats of envoy: %w", err)
	}
	for _, s := range all.Stats {
		if s.Name == name {
			return s.Value, nil
		}
	}
	return 0, nil
}

func (e *Envoy) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.admin+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("envoy %s: %s", path, resp.Status)
	}
	return body, err
}

// address is a line of a configuration whose address a name stands behind: `{… port_value: 8080}} # port: edge`.
var address = regexp.MustCompile(`address: [0-9.]+, port_value: [0-9]+(\}+) # port: ([a-z-]+)`)

// Configure reads a configuration and puts addresses, by name, in the place of those that are marked in it. Every mark
// needs one, and every one a mark.
func Configure(path string, addresses map[string]string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	used := make(map[string]bool)
	out := address.ReplaceAllFunc(text, func(line []byte) []byte {
		found := address.FindSubmatch(line)
		name := string(found[2])
		host, port, splitErr := net.SplitHostPort(addresses[name])
		if splitErr != nil {
			err = fmt.Errorf("%s: no address for %q", path, name)
		}
		used[name] = true
		return fmt.Appendf(nil, "address: %s, port_value: %s%s # port: %s", host, port, found[1], name)
	})
	for name := range addresses {
		if !used[name] {
			err = fmt.Errorf("%s: no line is marked %q", path, "port: "+name)
		}
	}
	return string(out), err
}
