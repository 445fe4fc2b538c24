package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/reprise-io/reprise/internal/fault"
)

func readFull(c net.Conn, p []byte) (int, error) { return io.ReadFull(c, p) }

func TestSaysWhyItCannotListen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	port := strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)
	for _, row := range []struct {
		listen, upstream string
		what, cause      string
		code             int
	}{
		{"127.0.0.1:" + port, "127.0.0.1:1", "127.0.0.1:" + port, "in use", fault.Failure},
		{"192.0.2.1:0", "127.0.0.1:1", "192.0.2.1:0", "no such address", fault.Usage},
		{"nonsense", "127.0.0.1:1", "nonsense", "port", fault.Usage},
		{"127.0.0.1:99999", "127.0.0.1:1", "99999", "port", fault.Usage},
		{"127.0.0.1:0", "nowhere", "nowhere", "port", fault.Usage},
		{"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "port", fault.Usage},
		{"127.0.0.1:0", "127.0.0.1:http9", "http9", "port", fault.Usage},
	} {
		_, err := Listen(Config{Listen: row.listen, Upstreams: []string{row.upstream}, Sink: newShelf()})
		var f *fault.Error
		require.ErrorAs(t, err, &f, row.listen)
		require.Contains(t, f.What, row.what)
		require.Contains(t, f.Cause, row.cause)
		require.NotEmpty(t, f.Try)
		require.Equal(t, row.code, fault.Code(err), "%v", err)
	}
}

func TestRefusesItselfAsUpstream(t *testing.T) {
	address := reserve(t)
	_, port, _ := net.SplitHostPort(address)
	for _, listen := range []string{address, ":" + port} {
		_, err := Listen(Config{Listen: listen, Upstreams: []string{address}, Sink: newShelf()})
		require.ErrorContains(t, err, "this tap itself")
	}
}

func TestSpeaksIPv6(t *testing.T) {
	ln, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	defer ln.Close()
	r := newRig(t, ln.Addr().String(), func(c *Config) { c.Listen = "[::1]:0" })
	client := r.dial()
	server, err := ln.Accept()
	require.NoError(t, err)
	defer server.Close()
	hold(t, client, server, 0, []turn{ask(get), reply(answer)})
	x := r.shelf.exchanges(t, 1)[0]
	require.Equal(t, client.LocalAddr().String(), string(x.Connection.Client))
	require.Equal(t, ln.Addr().String(), string(x.Connection.Server))
}

func TestListensOnEveryAddressWithoutAHost(t *testing.T) {
	address, accept := listen(t)
	r := newRig(t, address, func(c *Config) { c.Listen = ":0" })
	client := dial(t, fmt.Sprintf("127.0.0.1:%d", r.Addr().(*net.TCPAddr).Port))
	hold(t, client, accept(), 0, []turn{ask(get), reply(answer)})
	x := r.shelf.exchanges(t, 1)[0]
	require.Equal(t, client.LocalAddr().String(), string(x.Connection.Client))
}

func TestTriesEveryAddressOfTheUpstream(t *testing.T) {
	address, accept := listen(t)
	r := newRig(t, address)
	port := netip.MustParseAddrPort(address).Port()
	r.upstreams.all[0].port = strconv.Itoa(int(port))
	r.upstreams.all[0].set([]netip.Addr{netip.MustParseAddr("127.1.2.3"), netip.MustParseAddr("127.0.0.1")})
	client := r.dial()
	hold(t, client, accept(), 0, []turn{ask(get), reply(answer)})
	require.Equal(t, address, string(r.shelf.exchanges(t, 1)[0].Connection.Server))
	require.Zero(t, r.Stats().Refused)
}

func TestHoldsClientsUntilTheUpstreamsNameIsKnown(t *testing.T) {
	address, accept := listen(t)
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	r := newRig(t, "reprise.invalid:"+port)
	client := r.dial()
	send(t, client, get)
	eventually(t, func() bool { return r.Stats().Accepted == 1 })
	r.upstreams.all[0].set([]netip.Addr{netip.MustParseAddr("127.0.0.1")})
	r.wake()
	server := accept()
	expect(t, server, get)
	tell(t, server, client, answer)
	r.shelf.exchanges(t, 1)
}

func TestRefusesClientsWhenTheNameStaysUnknown(t *testing.T) {
	p, err := Listen(Config{Listen: "127.0.0.1:0", Upstreams: []string{"reprise.invalid:80"}, Sink: newShelf()})
	require.NoError(t, err)
	defer p.Close()
	client := dial(t, p.Addr().String())
	l, now := p.loops[0], time.Now()
	require.False(t, l.accept(now))
	l.release(now.Add(resolvePatience - 1))
	require.Zero(t, p.Stats().Refused)
	l.release(now.Add(resolvePatience))
	require.Equal(t, int64(1), p.Stats().Refused)
	requireReset(t, client)
}

func TestDrains(t *testing.T) {
	t.Run("open connections go on, new ones do not come", func(t *testing.T) {
		r, client, server := pair(t, func(c *Config) { c.DrainTimeout = 2 * patience })
		tell(t, client, server, get)
		r.stop()
		eventually(t, func() bool {
			ln, err := net.Listen("tcp", r.Addr().String()) // its address is free again
			if err == nil {
				_ = ln.Close()
			}
			return err == nil
		})
		tell(t, server, client, answer)
		hold(t, client, server, 0, []turn{ask("GET /2 HTTP/1.1\r\n\r\n"), reply(answer)})
		require.NoError(t, client.Close())
		requireEnd(t, server)
		require.NoError(t, server.Close())
		r.end()
		require.Equal(t, []string{`1 GET / "" → 200 "ok"`, `2 GET /2 "" → 200 "ok"`}, lineOf(r.shelf.kept))
	})
	t.Run("when its time is over, idle ones are ended and busy ones reset", func(t *testing.T) {
		address, accept := listen(t)
		r := newRig(t, address, func(c *Config) { c.DrainTimeout = 10 * time.Millisecond })
		idle := r.dial()
		hold(t, idle, accept(), 0, []turn{ask(get), reply(answer)})
		busy := r.dial()
		hold(t, busy, accept(), 0, []turn{ask("GET /2 HTTP/1.0\r\n\r\n"), reply("HTTP/1.0 200 OK\r\n\r\nhalf")})
		r.end()
		requireEnd(t, idle)
		requireReset(t, busy)
		require.Equal(t, []string{`1 GET / "" → 200 "ok"`, `1 GET /2 "" → 200 "half" TRUNCATED_RESPONSE`}, lineOf(r.shelf.kept))
	})
	t.Run("who was let in before is served", func(t *testing.T) {
		address, accept := listen(t)
		p, err := Listen(Config{Listen: "127.0.0.1:0", Upstreams: []string{address}, Sink: newShelf(), DrainTimeout: 2 * patience, Descriptors: new(places)})
		require.NoError(t, err)
		client := dial(t, p.Addr().String())
		send(t, client, get)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx) }()
		server := accept()
		expect(t, server, get)
		tell(t, server, client, answer)
		require.NoError(t, client.Close())
		require.NoError(t, server.Close())
		require.NoError(t, <-ended)
	})
}

// TestServesWithFewDescriptors is two: the test, and, when told so by the environment, the process under test.
func TestServesWithFewDescriptors(t *testing.T) {
	const variable, limit, connections = "REPRISE_TEST_UPSTREAM", 40, 60
	if upstream := os.Getenv(variable); upstream != "" {
		serveWithFewDescriptors(t, upstream, limit)
		return
	}
	address, accept := listen(t)
	go func() {
		for range connections {
			server := accept()
			go func() {
				request := make([]byte, len(get))
				if _, err := readFull(server, request); err == nil {
					_, _ = server.Write([]byte(answer))
				}
				_, _ = server.Read(request)
				_ = server.Close()
			}()
		}
	}()
	child := exec.Command(os.Args[0], "-test.run=^TestServesWithFewDescriptors$", "-test.v")
	child.Env = append(os.Environ(), variable+"="+address)
	in, err := child.StdinPipe()
	require.NoError(t, err)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	said := bufio.NewScanner(out)
	var tap string
	for tap == "" && said.Scan() {
		_, tap, _ = strings.Cut(said.Text(), "listening on ")
	}
	require.NotEmpty(t, tap)
	clients := make([]net.Conn, connections)
	for i := range clients { // all at once: the kernel lets them in, the tap some of them
		clients[i] = dial(t, tap)
		send(t, clients[i], get)
	}
	for _, c := range clients {
		expect(t, c, answer)
		require.NoError(t, c.Close())
	}
	require.NoError(t, in.Close())
	rest, err := io.ReadAll(out)
	require.NoError(t, err)
	for said.Scan() {
		rest = append(rest, said.Bytes()...)
	}
	require.NoError(t, child.Wait(), "%s", rest)
}

func serveWithFewDescriptors(t *testing.T, upstream string, limit uint64) {
	r := newRig(t, upstream)
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: limit}))
	fmt.Println("listening on " + r.Addr().String())
	_, err := io.ReadAll(os.Stdin)
	require.NoError(t, err)
	require.Zero(t, r.Stats().Refused)
	require.Contains(t, r.logs.String(), "cannot accept connections for now")
}

func TestEveryLoopTellsItsThread(t *testing.T) {
	ids := make(chan int, 2)
	r := newRig(t, "127.0.0.1:1", func(cfg *Config) {
		cfg.Loops = 2
		cfg.Thread = func(id int) { ids <- id }
	})
	first, second := <-ids, <-ids
	require.NotEqual(t, first, second, "each has one of its own")
	for _, id := range []int{first, second} {
		_, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", id))
		require.NoError(t, err)
	}
	r.end()
}
