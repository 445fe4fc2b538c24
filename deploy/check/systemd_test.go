package check_test

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// unit holds a unit file's lines by section and key, in their order.
type unit map[string]map[string][]string

// unitKeys are the keys that we use. systemd ignores one that it does not know, with a line in the journal, so that a slip of
// the pen would be a hardening that is not there.
var unitKeys = map[string]string{
	"Unit": "Description Documentation Wants After StartLimitIntervalSec",
	"Service": `Type WatchdogSec EnvironmentFile LoadCredential ExecStart ExecReload Restart RestartSec RestartPreventExitStatus TimeoutStopSec LimitNOFILE LimitNICE
		MemoryMax OOMScoreAdjust DynamicUser NoNewPrivileges CapabilityBoundingSet AmbientCapabilities ProtectSystem ProtectHome
		ProtectProc ProtectClock ProtectControlGroups ProtectHostname ProtectKernelLogs ProtectKernelModules ProtectKernelTunables
		PrivateDevices PrivateTmp LockPersonality MemoryDenyWriteExecute RemoveIPC RestrictAddressFamilies RestrictNamespaces
		RestrictRealtime RestrictSUIDSGID SystemCallArchitectures SystemCallFilter SystemCallErrorNumber UMask`,
	"Install": "WantedBy",
}

func parseUnit(t *testing.T, name string) unit {
	t.Helper()
	u, section := unit{}, ""
	text := strings.ReplaceAll(textFile(t, "systemd/"+name), "\\\n", " ")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
			require.Contains(t, unitKeys, section, name)
			u[section] = map[string][]string{}
		default:
			key, value, ok := strings.Cut(line, "=")
			require.True(t, ok, "%s: %q", name, line)
			require.Contains(t, strings.Fields(unitKeys[section]), key, "%s [%s]", name, section)
			u[section][key] = append(u[section][key], value)
		}
	}
	return u
}

func units(t *testing.T) map[string]unit {
	t.Helper()
	files, err := filepath.Glob("../systemd/*.service")
	require.NoError(t, err)
	require.Len(t, files, 4)
	all := map[string]unit{}
	for _, file := range files {
		all[filepath.Base(file)] = parseUnit(t, filepath.Base(file))
	}
	return all
}

// fill puts values in as systemd does: ${NAME} from the environment file, %d for the credentials' folder.
func fill(t *testing.T, command, name string) []string {
	t.Helper()
	for line := range strings.Lines(textFile(t, "systemd/reprise.env.example")) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && key[0] != '#' {
			command = strings.ReplaceAll(command, "${"+key+"}", value)
		}
	}
	return strings.Fields(strings.ReplaceAll(command, "%d", "/run/credentials/"+name))
}

func TestUnitsStartOurPrograms(t *testing.T) {
	for name, u := range units(t) {
		service := u["Service"]
		require.Len(t, service["ExecStart"], 1, name)
		words := fill(t, service["ExecStart"][0], name)
		program, ok := strings.CutPrefix(words[0], "/usr/local/bin/")
		require.True(t, ok, name)
		c := commandLine{where: name, program: program, args: words[1:]}
		c.requireParses(t)
		if c.args[0] == "mirror" {
			require.NotEmpty(t, c.flagValue("--production"), "%s: it cannot know itself where the copies come from", name)
		}
		require.Equal(t, "file:/run/credentials/"+name+"/redact-key", c.flagValue("--redact-key"), name)
		require.Equal(t, []string{"redact-key:/etc/reprise/redact-key"}, service["LoadCredential"], name)
	}
}

// The file that goes with reprise-tap-run.service, as the unit starts it.
func TestTheExampleOfTapRunIsRead(t *testing.T) {
	const name = "reprise-tap-run.service"
	u := parseUnit(t, name)
	line := fill(t, u["Service"]["ExecStart"][0], name)
	key := filepath.Join(t.TempDir(), "redact-key")
	require.NoError(t, os.WriteFile(key, []byte("b3VyIG93biBrZXksIG9mIDMyIGJ5dGVzIGF0IGxlYXN0\n"), 0o600))
	read := func(file string) (string, error) {
		args := strings.NewReplacer("/etc/reprise/tap.yaml", file, "/run/credentials/"+name+"/redact-key", key).Replace(strings.Join(line[1:], " "))
		out, err := exec.Command(filepath.Join(bin, "tap"), append(strings.Fields(args), "--check")...).CombinedOutput()
		return string(out), err
	}
	said, err := read("../systemd/tap.yaml")
	require.NoError(t, err, said)
	require.Contains(t, said, "search.internal:8080")
	text := textFile(t, "systemd/tap.yaml")
	_, budget, _ := strings.Cut(text, "\nmemory-max: ")
	require.Greater(t, bytesOf(t, strings.Trim(u["Service"]["MemoryMax"][0], "M")+"MiB"), bytesOf(t, strings.Fields(budget)[0])+128<<20)

	slip := filepath.Join(t.TempDir(), "tap.yaml")
	require.NoError(t, os.WriteFile(slip, []byte(strings.Replace(text, "upstream:", "upstreams:", 1)), 0o600))
	said, err = read(slip)
	require.Error(t, err)
	require.Contains(t, said, "upstreams")
}

func TestUnitsAreHardened(t *testing.T) {
	for name, u := range units(t) {
		for key, want := range map[string]string{
			"DynamicUser": "yes", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes", "PrivateTmp": "yes",
			"CapabilityBoundingSet": "", "AmbientCapabilities": "", "Restart": "always", "LimitNOFILE": "1048576",
		} {
			require.Equal(t, []string{want}, u["Service"][key], "%s: %s", name, key)
		}
	}
}

// What systemd itself says, where it is installed.
func TestUnitsAsSystemdReadsThem(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("NOT TESTED: systemd-analyze is not here; the keys and command lines are checked by the other tests")
	}
	for name := range units(t) {
		out, err := exec.Command("systemd-analyze", "verify", filepath.Join("../systemd", name)).CombinedOutput()
		for line := range strings.Lines(string(out)) {
			require.Contains(t, line, "is not executable: No such file or directory", "%s: the program need not be installed; nothing else is wrong", name)
		}
		if len(out) == 0 {
			require.NoError(t, err, name)
		}
	}
}

// @resources has the calls by which event loops and the replayer's pacing thread get a core soon; without them they are only late.
func TestUnitsAllowWhatKeepsTime(t *testing.T) {
	for name, calls := range map[string]string{
		"reprise-tap.service":      "sched_getattr sched_setattr setpriority",
		"reprise-tap-run.service":  "sched_getattr sched_setattr setpriority",
		"reprise-replayer.service": "sched_getattr sched_setattr",
	} {
		filters := units(t)[name]["Service"]["SystemCallFilter"]
		require.Equal(t, calls, filters[len(filters)-1], name)
	}
}

// A reload signal to a program that does not take it would end it, and production's traffic with it.
func TestReloadIsTaken(t *testing.T) {
	for name, u := range units(t) {
		reload := u["Service"]["ExecReload"]
		if !strings.Contains(name, "tap") {
			require.Empty(t, reload, "%s: SIGHUP ends a replayer", name)
			continue
		}
		require.Equal(t, []string{"/bin/kill -HUP $MAINPID"}, reload, name)
	}
	listen, admin := freeAddr(t), freeAddr(t)
	tap := start(t, "tap", "proxy", "--listen", listen, "--upstream", "127.0.0.1:1", "--brokers", "127.0.0.1:1", "--admin", admin)
	tap.waitReady(t, admin)
	require.NoError(t, tap.cmd.Process.Signal(syscall.SIGHUP))
	require.Eventually(t, func() bool { return tap.ended() || strings.Contains(tap.said.String(), "SIGHUP") }, 2*time.Minute, 20*time.Millisecond)
	require.False(t, tap.ended(), "SIGHUP ended the tap")
}

// program is one of ours at work.
type program struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	said sayings
}

// sayings are what a program has printed so far.
type sayings struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *sayings) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *sayings) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// start runs a program until the test ends.
func start(t *testing.T, name string, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &program{cmd: exec.CommandContext(ctx, filepath.Join(bin, name), args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.said, &p.said
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // ends by the kill below, at the latest
	}()
	t.Cleanup(func() {
		cancel()
		<-p.done
		if t.Failed() {
			t.Logf("%s said:\n%s", name, p.said.String())
		}
	})
	return p
}

func (p *program) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *program) waitReady(t *testing.T, admin string) {
	t.Helper()
	require.Eventually(t, func() bool { return isReady(admin) }, 2*time.Minute, 20*time.Millisecond)
}

func isReady(admin string) bool {
	resp, err := http.Get("http://" + admin + "/readyz")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// ports counts those that freeAddr has looked at, so that none is given twice.
var ports atomic.Int64

// freeAddr is a loopback address that nobody listens on, with a port below those that the kernel gives to outgoing connections.
func freeAddr(t *testing.T) string {
	t.Helper()
	ports.CompareAndSwap(0, 1+rand.Int64N(12000))
	for range 200 {
		ln, err := net.Listen("tcp", "127.0.0.1:"+strconv.FormatInt(20000+ports.Add(1)%12000, 10))
		if err == nil {
			defer ln.Close()
			return ln.Addr().String()
		}
	}
	require.Fail(t, "no free port")
	return ""
}
