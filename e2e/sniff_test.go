//go:build e2e

package e2e_test

import (
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/e2e/openloop"
	"github.com/reprise-io/reprise/e2e/proc"
	"github.com/reprise-io/reprise/e2e/shop"
	"github.com/reprise-io/reprise/e2e/sink"
	"github.com/reprise-io/reprise/internal/packet"
)

// startSniff runs tap sniff; the test is skipped, saying so, where the machine does not allow packet sockets.
func startSniff(t *testing.T, prefix, iface, port string, more ...string) *tapped {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, 0)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EAFNOSUPPORT) {
		t.Skipf("left out: this machine does not let us capture packets (CAP_NET_RAW): %v", err)
	}
	require.NoError(t, err)
	require.NoError(t, unix.Close(fd))
	p := &tapped{admin: freeAddr(t)}
	args := []string{
		"sniff", "--interface", iface, "--port", port, "--admin", p.admin, "--topic-prefix", prefix,
		"--redact-key", "env:E2E_REDACT_KEY", "--name", "e2e", "--brokers", shared.broker.Addr(), "--memory-max", "256MiB", "--ring", "64MiB",
	}
	p.Process = start(t, "tap", append(args, more...)...)
	require.NoError(t, p.Ready(within(t, 2*time.Minute), p.admin))
	return p
}

func (p *tapped) metric(t *testing.T, name string) int {
	t.Helper()
	m, err := proc.Scrape(within(t, 2*time.Minute), p.admin)
	require.NoError(t, err)
	return int(m.Sum(name))
}

func portOf(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	return port
}

func TestSniffLosesNothing(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	production, _ := startSink(t, sink.Options{Count: true})
	addr := production.Addr()
	tap := startSniff(t, prefix, "lo", portOf(t, addr))
	const count = 40000
	sent, err := openloop.Load{
		Addr: addr, Requests: [][]byte{[]byte("GET /items/1 HTTP/1.1\r\nHost: shop.example\r\n\r\n")},
		Rate: 10000, For: 4 * time.Second, Connections: 16, Patience: time.Minute,
	}.Run(t.Context())
	require.NoError(t, err)
	elapsed := time.Since(sent.Start)
	require.Len(t, sent.Answers, count, "%v", sent.Failed)
	require.Equal(t, count, production.Requests())
	c := tap.settled(t, count)
	t.Logf("%d requests in %v (%.0f/s), %d packets", count, elapsed, count/elapsed.Seconds(), tap.metric(t, "reprise_tap_packets_total"))
	require.Equal(t, counts{seen: count, produced: count}, c, "nothing dropped, nothing unknown")
	require.Zero(t, tap.metric(t, "reprise_tap_kernel_drops_total"))
	require.Zero(t, tap.metric(t, "reprise_tap_gaps_total"))
	require.Equal(t, count, stored(t, names.Exchanges))
	answered := 0
	for _, xs := range exchanges(t, names) {
		for _, x := range xs {
			if x.Response != nil && x.Flags == 0 {
				answered++
			}
		}
	}
	require.Equal(t, count, answered, "every one with its answer, and no flag")
	code, err := tap.Stop(time.Minute)
	require.NoError(t, err)
	require.Equal(t, 130, code)
}

// ip runs the command of that name.
func ip(t *testing.T, args ...string) error {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return errors.New(strings.TrimSpace(string(out)))
	}
	return nil
}

// otherHost makes a network namespace that is reached through a pair of virtual cables, and removes it at the end.
func otherHost(t *testing.T) (name, near, far string) {
	t.Helper()
	name, near, far = "reprise-e2e", "rpe2e0", "rpe2e1"
	_ = ip(t, "netns", "del", name) // of a run that was killed
	_ = ip(t, "link", "del", near)
	if err := ip(t, "netns", "add", name); err != nil {
		t.Skipf("left out: this machine does not let us make network namespaces (CAP_NET_ADMIN, ip): %v", err)
	}
	t.Cleanup(func() { require.NoError(t, ip(t, "netns", "del", name)) })
	require.NoError(t, ip(t, "link", "add", near, "type", "veth", "peer", "name", far, "netns", name))
	t.Cleanup(func() { require.NoError(t, ip(t, "link", "del", near)) })
	require.NoError(t, ip(t, "addr", "add", "10.213.1.1/24", "dev", near))
	require.NoError(t, ip(t, "link", "set", near, "up"))
	require.NoError(t, ip(t, "-n", name, "addr", "add", "10.213.1.2/24", "dev", far))
	require.NoError(t, ip(t, "-n", name, "link", "set", far, "up"))
	require.NoError(t, ip(t, "-n", name, "link", "set", "lo", "up"))
	return name, near, far
}

// listenAt listens in another network namespace: a socket stays where it was made.
func listenAt(t *testing.T, namespace, addr string) net.Listener {
	t.Helper()
	var ln net.Listener
	require.NoError(t, inNamespace(namespace, func() (err error) {
		ln, err = net.Listen("tcp", addr)
		return err
	}))
	return ln
}

// inNamespace runs f in another network namespace, on a thread that ends with it: not on the main one, which would stay there.
func inNamespace(namespace string, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		if unix.Gettid() == os.Getpid() {
			done <- inNamespace(namespace, f) // the main one is taken meanwhile
			runtime.UnlockOSThread()
			return
		}
		done <- func() error {
			ns, err := os.Open(filepath.Join("/run/netns", namespace))
			if err != nil {
				return err
			}
			defer ns.Close()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return err
			}
			return f()
		}()
	}()
	return <-done
}

func TestSniffReadsWhatPassesAnInterface(t *testing.T) {
	startKafka(t)
	namespace, near, far := otherHost(t)
	tunnelled := true
	for side, args := range [][]string{{}, {"-n", namespace}} {
		device, remote, own := near, "10.213.1.2", "10.213.2.1/24"
		if side == 1 {
			device, remote, own = far, "10.213.1.1", "10.213.2.2/24"
		}
		if err := ip(t, append(args, "link", "add", "rpx", "type", "vxlan", "id", "7", "dev", device, "remote", remote, "dstport", "4789")...); err != nil {
			t.Logf("left out: VXLAN, which this kernel does not have: %v", err)
			tunnelled = false
			break
		}
		require.NoError(t, ip(t, append(args, "addr", "add", own, "dev", "rpx")...))
		require.NoError(t, ip(t, append(args, "link", "set", "rpx", "up")...))
	}
	if tunnelled {
		t.Cleanup(func() { _ = ip(t, "link", "del", "rpx") })
	}
	server := &http.Server{Handler: shop.New(shop.Options{})}
	ln := listenAt(t, namespace, ":8080")
	go func() { _ = server.Serve(ln) }() // ends by Close
	t.Cleanup(func() { _ = server.Close() })

	const count = 300
	get := func(host string) {
		client := &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}
		defer client.CloseIdleConnections()
		for range count {
			answer, err := client.Get("http://" + host + ":8080/items/1?by=" + host)
			require.NoError(t, err)
			_ = answer.Body.Close()
		}
	}
	prefix, names := newPrefix()
	tap := startSniff(t, prefix, near, "8080", "--port", "80", "--vxlan")
	want := 0
	get("10.213.1.2")
	want += count
	if tunnelled {
		get("10.213.2.2")
		want += count
	}
	tags := sendTagged(t, namespace, far, count)
	want += count
	require.Equal(t, counts{seen: want, produced: want}, tap.settled(t, want))
	require.Zero(t, tap.metric(t, "reprise_tap_gaps_total"))
	all := exchanges(t, names)
	require.Len(t, all["/items/1?by=10.213.1.2"], count)
	if tunnelled {
		require.Len(t, all["/items/1?by=10.213.2.2"], count)
	}
	for _, target := range tags {
		require.Len(t, all[target], 1, target)
		require.Equal(t, 200, all[target][0].Response.Status)
	}
}

// sendTagged sends made-up packets with VLAN tags, one and two of them, from the far end of the cable.
func sendTagged(t *testing.T, namespace, device string, count int) (targets []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "made.pcap")
	_, err := feed.Packets{Requests: count, Connections: 2, Start: time.Now()}.WriteFile(path)
	require.NoError(t, err)
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	r, err := packet.NewReader(file)
	require.NoError(t, err)
	var frames [][]byte
	for f := (packet.Frame{}); r.Next(&f) == nil; {
		if i := strings.Index(string(f.Data), "GET "); i > 0 {
			target, _, _ := strings.Cut(string(f.Data[i+4:]), " ")
			targets = append(targets, target)
		}
		tags := "\x81\x00\x00\x2a"
		if len(frames)%2 == 1 {
			tags = "\x88\xa8\x00\x07\x81\x00\x00\x2a"
		}
		frame := append([]byte("\xff\xff\xff\xff\xff\xff"), f.Data[6:12]...)
		frames = append(frames, slices.Concat(frame, []byte(tags), f.Data[12:]))
	}
	require.NoError(t, inNamespace(namespace, func() error {
		i, err := net.InterfaceByName(device)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for _, frame := range frames {
			if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: i.Index}); err != nil {
				return err
			}
		}
		return nil
	}))
	return targets
}

func TestSniffSaysWhatItLacks(t *testing.T) {
	got := run(t, time.Minute, "tap", "sniff", "--interface", "nope0", "--port", "80")
	require.Equal(t, 2, got.Code)
	require.Contains(t, got.Stderr, "lo")
	got = run(t, time.Minute, "tap", "sniff", "--interface", "lo", "--port", "80000")
	require.Equal(t, 2, got.Code)
	if os.Getuid() != 0 {
		return
	}
	// As nobody, without capabilities; bin may be in a folder that only root sees.
	copied := filepath.Join(t.TempDir(), "tap")
	program, err := os.ReadFile(filepath.Join(shared.bin, "tap"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(copied, program, 0o755))
	for dir := filepath.Dir(copied); dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		require.NoError(t, os.Chmod(dir, 0o755))
	}
	cmd := exec.Command("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", copied, "sniff", "--interface", "lo", "--port", "80")
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Equal(t, 1, cmd.ProcessState.ExitCode(), string(out))
	require.Contains(t, string(out), "CAP_NET_RAW")
	require.Contains(t, string(out), "setcap")
}
