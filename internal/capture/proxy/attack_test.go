package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/reprise-io/reprise/internal/wire"
)

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestHeaderBombsTakeNoMemory(t *testing.T) {
	for name, bomb := range map[string]func(i int) string{
		"endless target": func(i int) string {
			if i == 0 {
				return "GET /"
			}
			return strings.Repeat("a", 4<<10)
		},
		"endless fields": func(i int) string {
			if i == 0 {
				return "GET / HTTP/1.1\r\n"
			}
			return strings.Repeat("A: b\r\n", 700)
		},
		"endless folded value": func(i int) string {
			if i == 0 {
				return "GET / HTTP/1.1\r\nA: "
			}
			return strings.Repeat("b", 4<<10)
		},
		"endless chunk extension": func(i int) string {
			if i == 0 {
				return "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;"
			}
			return strings.Repeat("x", 4<<10)
		},
		"endless trailers": func(i int) string {
			if i == 0 {
				return "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
			}
			return strings.Repeat("A: b\r\n", 700)
		},
	} {
		t.Run(name, func(t *testing.T) {
			const connections = 20
			address, accept := listen(t)
			r := newRig(t, address)
			before := heap()
			var clients []net.Conn
			for range connections {
				c := r.dial()
				s := accept()
				go func() { _, _ = io.Copy(io.Discard, s) }()
				clients = append(clients, c)
			}
			sent := int64(0)
			for i := range 100 {
				for _, c := range clients {
					text := bomb(i)
					send(t, c, text)
					sent += int64(len(text))
				}
			}
			eventually(t, func() bool { return r.Stats().BytesIn == sent })
			require.LessOrEqual(t, r.shelf.used.Load(), int64(connections*(1<<20)), "an unfinished header has a bound")
			held := heap() - before
			t.Logf("%d KiB sent, %d KiB held a connection", sent>>10/connections, held>>10/connections)
			require.Less(t, held, int64(connections*(1<<20)))
		})
	}
}

// A gibibyte passes in all, and what the tap holds meanwhile is the part that is kept and a buffer.
func TestABodyLargerThanMemoryPasses(t *testing.T) {
	const size = 1 << 28
	for _, row := range []struct{ name, head, back string }{
		{"captured", "POST / HTTP/1.1\r\nContent-Length: 268435456\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 268435456\r\n\r\n"},
		{"unread", "\x16\x03\x01", "\x16\x03\x01"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, client, server := pair(t)
			tell(t, client, server, row.head)
			eventually(t, func() bool { return row.name == "captured" || r.Stats().TLS == 1 })
			before, most := heap(), int64(0)
			stop, watched := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(watched)
				for {
					select {
					case <-stop:
						return
					case <-time.After(20 * time.Millisecond):
						var m runtime.MemStats
						runtime.ReadMemStats(&m)
						most = max(most, int64(m.HeapAlloc))
					}
				}
			}()
			way := func(from, to *net.TCPConn) {
				_ = from.SetDeadline(time.Now().Add(5 * patience))
				_ = to.SetDeadline(time.Now().Add(5 * patience))
				go func() {
					zeroes := make([]byte, 256<<10)
					for n := 0; n < size; n += len(zeroes) {
						if _, err := from.Write(zeroes); err != nil {
							return
						}
					}
				}()
				n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{io.LimitReader(to, size)}, make([]byte, 256<<10))
				require.NoError(t, err)
				require.EqualValues(t, size, n)
			}
			way(client, server)
			tell(t, server, client, row.back)
			way(server, client)
			close(stop)
			<-watched
			t.Logf("512 MiB passed, the heap grew by %d KiB at most", (most-before)>>10)
			require.Less(t, most-before, int64(16<<20))
			if row.name == "captured" {
				x := r.shelf.exchanges(t, 1)[0]
				require.EqualValues(t, size, x.Request.BodySize)
				require.EqualValues(t, size, x.Response.BodySize)
				require.Len(t, x.Request.Body, 256<<10)
			}
		})
	}
}

func TestASlowClientHoldsNoMoreThanABuffer(t *testing.T) {
	for name, opening := range map[string]string{"captured": get, "unread": "\x16\x03\x01"} {
		t.Run(name, func(t *testing.T) {
			const connections = 8
			address, accept := listen(t)
			r := newRig(t, address)
			before := heap()
			var sum int64
			for range connections {
				client := r.dial()
				server := accept()
				tell(t, client, server, opening)
				send(t, server, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
				sum += int64(fill(t, server)) // the origin has to wait
			}
			held := heap() - before
			t.Logf("%d MiB lie in the kernel, %d KiB a connection in the tap", sum>>20, held>>10/connections)
			require.Less(t, held/connections, int64(chunk+256<<10+64<<10), "one buffer, and the part of a body that is kept")
		})
	}
}

func TestSlowlorisStopsNobodyElse(t *testing.T) {
	const slow = 200
	address, accept := listen(t)
	r := newRig(t, address)
	type ends struct{ c, s *net.TCPConn }
	var all []ends
	for range slow {
		e := ends{c: r.dial()}
		send(t, e.c, "G")
		e.s = accept()
		expect(t, e.s, "G")
		all = append(all, e)
	}
	for i, e := range all { // byte by byte, each at its own place
		for _, b := range []byte("ET / HTTP/1.1\r\nA"[:i%16]) {
			send(t, e.c, string(b))
		}
	}
	client := r.dial()
	server := accept()
	for range 50 {
		tell(t, client, server, get)
		tell(t, server, client, answer)
	}
	r.shelf.exchanges(t, 50)
	require.Zero(t, r.Stats().Opaque)
}

// storms is how many short connections come: REPRISE_STORM, or 10,000.
func storms() int {
	if n, err := strconv.Atoi(os.Getenv("REPRISE_STORM")); err == nil {
		return n
	}
	return 10000
}

func TestAStormOfShortConnections(t *testing.T) {
	const at = 32
	storm := storms()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := readFull(c, make([]byte, len(get))); err == nil {
					_, _ = io.WriteString(c, answer)
				}
			}()
		}
	}()
	r := newRig(t, ln.Addr().String())
	before := openDescriptors(t)
	var running sync.WaitGroup
	var failures sync.Map
	for i := range at {
		running.Go(func() {
			for n := range storm / at {
				if err := short(r.Addr().String(), (i+n)%3); err != nil {
					failures.Store(err.Error(), true)
				}
			}
		})
	}
	running.Wait()
	failures.Range(func(why, _ any) bool { t.Error(why); return true })
	eventually(t, func() bool { return r.Stats().Connections == 0 })
	eventually(t, func() bool { return openDescriptors(t) <= before+4 }) // nothing is left open
	t.Logf("%d connections", r.Stats().Accepted)
	require.EqualValues(t, storm/at*at, r.Stats().Accepted)
	require.LessOrEqual(t, len(r.loops[0].conns), 4*at+acceptBatch, "places are used again")
}

// short is a connection: one that asks, one that only looks, one that breaks off.
func short(address string, kind int) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * patience))
	switch kind {
	case 1:
		return nil
	case 2:
		_, _ = io.WriteString(c, get[:10])
		return c.(*net.TCPConn).SetLinger(0)
	}
	if _, err := io.WriteString(c, get); err != nil {
		return err
	}
	got, err := io.ReadAll(c)
	if err == nil && !bytes.Equal(got, []byte(answer)) {
		err = fmt.Errorf("got %q", got)
	}
	return err
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(all)
}

// TestIdleConnectionsAreSmall is two: the test, and the process whose memory is measured.
func TestIdleConnectionsAreSmall(t *testing.T) {
	const variable, connections, most = "REPRISE_TEST_IDLE_UPSTREAM", 600, 32 << 10
	if upstream := os.Getenv(variable); upstream != "" {
		idleProcess(t, upstream)
		return
	}
	address, accept := listen(t)
	child := exec.Command(os.Args[0], "-test.run=^TestIdleConnectionsAreSmall$", "-test.v")
	child.Env = append(os.Environ(), variable+"="+address)
	in, err := child.StdinPipe()
	require.NoError(t, err)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	defer func() {
		_ = in.Close()
		_ = child.Wait()
	}()
	said := bufio.NewScanner(out)
	var tap string
	for tap == "" && said.Scan() {
		_, tap, _ = strings.Cut(said.Text(), "listening on ")
	}
	require.NotEmpty(t, tap)
	talk := func(n int) {
		for range n {
			client := dial(t, tap)
			server := accept()
			for range 3 {
				tell(t, client, server, get)
				tell(t, server, client, answer)
			}
		}
	}
	talk(50) // what a process needs once
	before := residentKiB(t, child.Process.Pid)
	talk(connections)
	after := residentKiB(t, child.Process.Pid)
	each := (after - before) << 10 / connections
	t.Logf("%d idle keep-alive connections: %d KiB resident before, %d after: %d bytes each", connections, before, after, each)
	require.Less(t, each, most, "with its two sides")
}

func idleProcess(t *testing.T, upstream string) {
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 4096, Max: 4096})
	sink := new(nowhere)
	p, err := Listen(Config{Listen: "127.0.0.1:0", Upstreams: []string{upstream}, BodyMax: 256 << 10, Sink: sink, Budget: wire.Budget(sink)})
	require.NoError(t, err)
	fmt.Println("listening on " + p.Addr().String())
	go func() { _ = p.Run(t.Context()) }()
	_, _ = io.ReadAll(os.Stdin)
}

func residentKiB(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			require.NoError(t, err)
			return n
		}
	}
	require.Fail(t, "no VmRSS")
	return 0
}
