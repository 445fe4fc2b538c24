//go:build e2e

package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/proc"
)

// The watchdog of deploy/iptables leads clients through the tap while it answers, and past it when it is killed or frozen.
func TestTheRedirectIsRemovedWithATapThatIsGone(t *testing.T) {
	namespace, _, _ := otherHost(t)
	const host, health = "10.213.1.2", "http://127.0.0.1:9100/healthz"
	inside := func(args ...string) *proc.Process {
		p, err := proc.Start(proc.Options{Path: "ip", Args: append([]string{"netns", "exec", namespace}, args...)})
		require.NoError(t, err)
		t.Cleanup(p.Kill)
		return p
	}
	rules := func() string {
		out, err := exec.Command("ip", "netns", "exec", namespace, "iptables", "-w", "-t", "nat", "-S", "PREROUTING").CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	if out, err := exec.Command("ip", "netns", "exec", namespace, "iptables", "-w", "-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "1", "-j", "REDIRECT", "--to-ports", "2").CombinedOutput(); err != nil {
		t.Skipf("left out: this machine does not let us redirect (iptables, CAP_NET_ADMIN): %s", out)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
		_, _ = io.WriteString(w, "ok")
	})}
	ln := listenAt(t, namespace, ":8080")
	go func() { _ = server.Serve(ln) }() // ends by Close
	t.Cleanup(func() { _ = server.Close() })
	startTap := func() *proc.Process {
		return inside(filepath.Join(shared.bin, "tap"), "proxy", "--listen", ":8081", "--upstream", "127.0.0.1:8080", "--admin", ":9100",
			"--brokers", "127.0.0.1:1", "--redact", "off")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	ask := func() error { return request(client, "POST", "http://"+host+":8080/", "body") }
	seen := func() (float64, error) {
		m, err := proc.Scrape(within(t, 2*time.Minute), host+":9100")
		if err != nil {
			return 0, err
		}
		return m.Sum("reprise_tap_accepted_total"), nil
	}
	until := func(check func() error) {
		t.Helper()
		require.NoError(t, proc.Poll(within(t, 2*time.Minute), check))
	}
	through := func() error {
		before, err := seen()
		if err == nil {
			err = ask()
		}
		after := 0.0
		if err == nil {
			after, err = seen()
		}
		if err == nil && after != before+1 {
			err = fmt.Errorf("%g connections more went through the tap", after-before)
		}
		return err
	}
	steady := func() error { // twenty in a row
		for range 20 {
			if err := ask(); err != nil {
				return err
			}
		}
		return nil
	}

	watchdog := inside(filepath.Join(shared.root, "deploy", "iptables", "reprise-redirect"), "8080", "8081", health)
	until(steady) // without a tap
	require.NotContains(t, rules(), "reprise")

	tap := startTap()
	until(through)
	require.Contains(t, rules(), "reprise")
	began := time.Now()
	tap.Kill()
	until(steady)
	t.Logf("killed: clients are past the tap %v later", time.Since(began).Round(time.Millisecond))
	require.NotContains(t, rules(), "reprise")

	tap = startTap()
	until(through)
	began = time.Now()
	tap.Signal(syscall.SIGSTOP)
	until(steady)
	t.Logf("frozen: clients are past the tap %v later", time.Since(began).Round(time.Millisecond))
	tap.Signal(syscall.SIGCONT)
	until(through)

	_, err := watchdog.Stop(time.Minute)
	require.NoError(t, err)
	require.NotContains(t, rules(), "reprise", "%s", watchdog.Stderr())
	require.NoError(t, steady())
	require.Contains(t, watchdog.Stderr(), "THE TAP DOES NOT ANSWER")
}
