package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/reprise-io/reprise/cmd/internal/cli"
)

// asTap makes a copy of the test program a tap; withDescriptors gives it no more than so many.
const (
	asTap           = "REPRISE_TEST_AS_TAP"
	withDescriptors = "REPRISE_TEST_DESCRIPTORS"
)

func TestMain(m *testing.M) {
	if os.Getenv(asTap) != "" {
		if n, err := strconv.ParseUint(os.Getenv(withDescriptors), 10, 32); err == nil {
			if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n}); err != nil {
				panic(err)
			}
		}
		os.Exit(cli.Main(newRoot()))
	}
	os.Exit(m.Run())
}

const patience = 2 * time.Minute

// tapProcess is a tap in a process of its own.
type tapProcess struct {
	cmd   *exec.Cmd
	log   string // file
	ended chan struct{}
}

func startTap(t *testing.T, env []string, args ...string) *tapProcess {
	t.Helper()
	return startCommand(t, env, append([]string{"proxy", "--brokers", "127.0.0.1:1"}, args...)...)
}

func startCommand(t *testing.T, env []string, args ...string) *tapProcess {
	t.Helper()
	log, err := os.CreateTemp(t.TempDir(), "log")
	require.NoError(t, err)
	defer log.Close()
	p := &tapProcess{cmd: exec.Command(os.Args[0], args...), log: log.Name(), ended: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), asTap+"=1"), env...)
	p.cmd.Stderr = log // a file: a successor of it may write on
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("tap %d said:\n%s", p.cmd.Process.Pid, p.said())
		}
	})
	return p
}

func (p *tapProcess) said() string {
	text, _ := os.ReadFile(p.log)
	return string(text)
}

func (p *tapProcess) saysWithin(t *testing.T, what string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(p.said(), what) }, patience, 2*time.Millisecond, what)
}

// serves waits until it does, and a successor can ask for its sockets.
func (p *tapProcess) serves(t *testing.T, path string) {
	t.Helper()
	require.Eventually(t, func() bool { _, err := os.Stat(path); return err == nil }, patience, time.Millisecond)
}

func (p *tapProcess) endsWith(t *testing.T, code int) {
	t.Helper()
	select {
	case <-p.ended:
		require.Equal(t, code, p.cmd.ProcessState.ExitCode(), p.said())
	case <-time.After(patience):
		require.Fail(t, "it did not end", p.said())
	}
}

// ports counts those that freePort has looked at, so that none is given twice.
var ports atomic.Int64

// freePort returns an address below those that the kernel gives to outgoing connections, so that nobody takes it meanwhile.
func freePort(t *testing.T) string {
	t.Helper()
	ports.CompareAndSwap(0, 1+rand.Int64N(12000))
	for range 12000 {
		if ln, err := net.Listen("tcp", "127.0.0.1:"+strconv.FormatInt(20000+ports.Add(1)%12000, 10)); err == nil {
			defer ln.Close()
			return ln.Addr().String()
		}
	}
	require.Fail(t, "no free port")
	return ""
}

func newOrigin(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.URL.Path, body)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// load asks without a pause: half of its clients connect anew for every request, the others for every 20th. Nothing is
// tried twice.
type load struct {
	requests, failures atomic.Int64
	first              atomic.Value // error, as text
	running            sync.WaitGroup
	cancel             context.CancelFunc
}

func startLoad(t *testing.T, address string) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel}
	for i := range 8 {
		perConnection := 1 + 19*(i%2)
		l.running.Go(func() {
			for ctx.Err() == nil {
				if err := l.converse(address, i, perConnection); err != nil {
					l.failures.Add(1)
					l.first.CompareAndSwap(nil, err.Error())
				}
			}
		})
	}
	t.Cleanup(func() { l.end() })
	return l
}

func (l *load) end() {
	l.cancel()
	l.running.Wait()
}

func (l *load) converse(address string, who, requests int) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(c)
	for n := range requests {
		l.requests.Add(1)
		path := fmt.Sprintf("/%d/%d", who, n)
		if _, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody", path); err != nil {
			return err
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		if string(body) != path+" body" {
			return fmt.Errorf("%s answered %q", path, body)
		}
	}
	return nil
}

// upgrades is how many follow each other: REPRISE_UPGRADES, or 20.
func upgrades(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv("REPRISE_UPGRADES"))
	if err != nil {
		return 20
	}
	return n
}

func TestRollingUpgradesFailNoRequest(t *testing.T) {
	origin, listen, admin := newOrigin(t), freePort(t), "127.0.0.1:0"
	path := filepath.Join(t.TempDir(), "takeover")
	args := []string{"--listen", listen, "--upstream", origin, "--admin", admin, "--takeover", path}
	running := startTap(t, nil, args...)
	running.serves(t, path)
	l := startLoad(t, listen)
	var ending []*tapProcess
	for range upgrades(t) {
		next := startTap(t, nil, args...)
		running.saysWithin(t, "the next process serves")
		require.Contains(t, next.said(), "took over the sockets of the process before")
		ending = append(ending, running)
		running = next
		before := l.requests.Load()
		require.Eventually(t, func() bool { return l.requests.Load() > before+50 }, patience, time.Millisecond)
	}
	l.end()
	for _, p := range ending {
		p.endsWith(t, 0)
	}
	t.Logf("%d upgrades, %d requests, %d failed", upgrades(t), l.requests.Load(), l.failures.Load())
	require.Zero(t, l.failures.Load(), "%v", l.first.Load())
	require.NoError(t, running.cmd.Process.Signal(syscall.SIGTERM))
	running.endsWith(t, 130)
	_, err := net.Dial("tcp", listen)
	require.ErrorIs(t, err, syscall.ECONNREFUSED, "nobody is there, and no socket stays open")
}

func TestSIGUSR2StartsTheNext(t *testing.T) {
	origin, listen := newOrigin(t), freePort(t)
	p := startTap(t, nil, "--listen", listen, "--upstream", origin)
	p.saysWithin(t, `"msg":"listening"`)
	l := startLoad(t, listen)
	pid := p.cmd.Process.Pid
	for n := range 3 {
		before := l.requests.Load()
		require.Eventually(t, func() bool { return l.requests.Load() > before+50 }, patience, time.Millisecond)
		require.NoError(t, syscall.Kill(pid, syscall.SIGUSR2))
		require.Eventually(t, func() bool { return strings.Count(p.said(), "the next process serves") == n+1 }, patience, 2*time.Millisecond)
		started := regexp.MustCompile(`a successor was started","pid":(\d+)`).FindAllStringSubmatch(p.said(), -1)
		require.Len(t, started, n+1)
		var err error
		pid, err = strconv.Atoi(started[n][1])
		require.NoError(t, err)
		next := pid
		t.Cleanup(func() { _ = syscall.Kill(next, syscall.SIGKILL) })
	}
	p.endsWith(t, 0)
	l.end()
	require.Zero(t, l.failures.Load(), "%v", l.first.Load())
	require.NoError(t, syscall.Kill(pid, syscall.SIGTERM))
	require.Eventually(t, func() bool {
		_, err := net.Dial("tcp", listen)
		return err != nil
	}, patience, 5*time.Millisecond)
}

func TestASuccessorThatCannotServeChangesNothing(t *testing.T) {
	origin, listen := newOrigin(t), freePort(t)
	path := filepath.Join(t.TempDir(), "takeover")
	p := startTap(t, nil, "--listen", listen, "--upstream", origin, "--takeover", path)
	p.serves(t, path)
	l := startLoad(t, listen)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	bad := startTap(t, nil, "--listen", listen, "--upstream", origin, "--takeover", path, "--admin", taken.Addr().String())
	bad.endsWith(t, 1)
	p.saysWithin(t, "THE SUCCESSOR DID NOT TAKE OVER")
	before := l.requests.Load()
	require.Eventually(t, func() bool { return l.requests.Load() > before+100 }, patience, time.Millisecond)
	l.end()
	require.Zero(t, l.failures.Load(), "%v", l.first.Load())
	startTap(t, nil, "--listen", listen, "--upstream", origin, "--takeover", path) // a good one still can
	p.endsWith(t, 0)
}

func TestASuccessorThatIsEndedWhileItWaitsChangesNothing(t *testing.T) {
	origin, listen := newOrigin(t), freePort(t)
	path := filepath.Join(t.TempDir(), "takeover")
	args := []string{"--listen", listen, "--upstream", origin, "--takeover", path}
	p := startTap(t, nil, args...)
	p.serves(t, path)
	l := startLoad(t, listen)
	other, err := net.Dial("unix", path) // as one that was started by SIGUSR2 and hangs
	require.NoError(t, err)
	defer other.Close()
	_, err = other.Read(make([]byte, 1))
	require.NoError(t, err, "it is served")
	waiting := startTap(t, nil, args...)
	waiting.saysWithin(t, "no --redact-key")
	require.NoError(t, waiting.cmd.Process.Signal(syscall.SIGTERM))
	waiting.endsWith(t, 130)
	require.NoError(t, other.Close())
	p.saysWithin(t, "THE SUCCESSOR DID NOT TAKE OVER")
	startTap(t, nil, args...) // and a good one still can
	p.saysWithin(t, "the next process serves")
	l.end()
	p.endsWith(t, 0)
	require.Zero(t, l.failures.Load(), "%v", l.first.Load())
}

func TestSystemdIsTold(t *testing.T) {
	origin, dir := newOrigin(t), t.TempDir()
	notices, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	require.NoError(t, err)
	defer notices.Close()
	next := func() string {
		require.NoError(t, notices.SetReadDeadline(time.Now().Add(patience)))
		b := make([]byte, 1000)
		n, err := notices.Read(b)
		require.NoError(t, err)
		return string(b[:n])
	}
	skipAlive := func() string {
		for {
			if text := next(); text != "WATCHDOG=1" {
				return text
			}
		}
	}
	p := startTap(t, []string{"NOTIFY_SOCKET=" + filepath.Join(dir, "notify"), "WATCHDOG_USEC=40000"}, "--listen", "127.0.0.1:0", "--upstream", origin)
	require.Equal(t, "READY=1", next())
	for range 3 {
		require.Equal(t, "WATCHDOG=1", next())
	}
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
	require.Regexp(t, `^RELOADING=1\nMONOTONIC_USEC=\d+$`, skipAlive())
	require.Equal(t, "READY=1", skipAlive())
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.Equal(t, "STOPPING=1", skipAlive())
	p.endsWith(t, 130)
}

// TestSocketActivation starts the tap with a socket as systemd does: sh sets LISTEN_PID, and is then the tap.
func TestSocketActivation(t *testing.T) {
	origin := newOrigin(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	file, err := ln.(*net.TCPListener).File()
	require.NoError(t, err)
	listen := ln.Addr().String()
	require.NoError(t, ln.Close())
	waits, err := net.Dial("tcp", listen) // before the tap is there
	require.NoError(t, err)
	defer waits.Close()

	script := `LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@"`
	cmd := exec.Command("sh", "-c", script, os.Args[0], "proxy", "--listen", listen, "--upstream", origin, "--brokers", "127.0.0.1:1")
	cmd.Env = append(os.Environ(), asTap+"=1")
	cmd.ExtraFiles = []*os.File{file}
	require.NoError(t, cmd.Start())
	require.NoError(t, file.Close())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	_ = waits.SetDeadline(time.Now().Add(patience))
	_, err = io.WriteString(waits, "GET /x HTTP/1.0\r\n\r\n")
	require.NoError(t, err)
	got, err := io.ReadAll(waits)
	require.NoError(t, err)
	require.Contains(t, string(got), "/x ")
}
