package proxy

import (
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const (
	get    = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
)

func requireReset(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

func requireEnd(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

func TestHandsOnTheEndOfOneSide(t *testing.T) {
	t.Run("the client's, while the server still answers", func(t *testing.T) {
		r, client, server := pair(t)
		tell(t, client, server, get)
		require.NoError(t, client.CloseWrite())
		requireEnd(t, server)
		tell(t, server, client, answer)
		require.NoError(t, server.CloseWrite())
		requireEnd(t, client)
		require.Equal(t, []string{`1 GET / "" → 200 "ok"`}, lineOf(r.shelf.exchanges(t, 1)))
		eventually(t, func() bool { return r.Stats().Connections == 0 })
	})
	t.Run("the server's, while the client still sends", func(t *testing.T) {
		r, client, server := pair(t)
		tell(t, client, server, "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n")
		tell(t, server, client, "HTTP/1.0 200 OK\r\n\r\nok")
		require.NoError(t, server.CloseWrite())
		requireEnd(t, client)
		tell(t, client, server, "body")
		require.NoError(t, client.Close())
		requireEnd(t, server)
		require.Equal(t, []string{`1 POST / "body" → 200 "ok"`}, lineOf(r.shelf.exchanges(t, 1)))
	})
}

func TestHandsOnResets(t *testing.T) {
	t.Run("the client's", func(t *testing.T) {
		r, client, server := pair(t)
		tell(t, client, server, get)
		require.NoError(t, client.SetLinger(0))
		require.NoError(t, client.Close())
		requireReset(t, server)
		require.Equal(t, []string{`1 GET / "" CLIENT_ABORTED`}, lineOf(r.shelf.exchanges(t, 1)))
	})
	t.Run("the server's", func(t *testing.T) {
		r, client, server := pair(t)
		tell(t, client, server, get)
		require.NoError(t, server.SetLinger(0))
		require.NoError(t, server.Close())
		requireReset(t, client)
		require.Equal(t, []string{`1 GET / "" NO_RESPONSE`}, lineOf(r.shelf.exchanges(t, 1)))
	})
	t.Run("the client's behind its end", func(t *testing.T) {
		_, client, server := pair(t)
		tell(t, client, server, get)
		require.NoError(t, client.CloseWrite())
		requireEnd(t, server)
		require.NoError(t, client.SetLinger(0))
		require.NoError(t, client.Close())
		eventually(t, func() bool { // an end was read already: the reset shows when writing
			_, err := server.Write([]byte("x"))
			return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
		})
	})
	t.Run("the server's while the client does not read", func(t *testing.T) {
		r, client, server := pair(t)
		tell(t, client, server, get)
		fill(t, server)
		require.NoError(t, server.SetLinger(0))
		require.NoError(t, server.Close())
		eventually(t, func() bool { return r.Stats().Connections == 0 })
		_, err := io.Copy(io.Discard, client)
		require.ErrorIs(t, err, syscall.ECONNRESET)
	})
}

// fill writes until nothing more is taken for a moment: three of them, as this machine may stand still during one.
func fill(t *testing.T, c *net.TCPConn) (sum int) {
	t.Helper()
	defer func() { require.NoError(t, c.SetWriteDeadline(time.Now().Add(patience))) }()
	block := make([]byte, 64<<10)
	for idle := 0; idle < 3; idle++ {
		require.NoError(t, c.SetWriteDeadline(time.Now().Add(50*time.Millisecond)))
		n, err := c.Write(block)
		if sum += n; n > 0 {
			idle = -1
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return sum
		}
		require.Less(t, sum, 64<<20, "something takes everything in")
	}
	return sum
}

func TestAnEarlyAnswerBeforeAResetArrives(t *testing.T) {
	const refusal = "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"
	t.Run("when it is read first", func(t *testing.T) {
		_, client, server := pair(t)
		tell(t, client, server, "POST / HTTP/1.1\r\nContent-Length: 100000000\r\n\r\n")
		tell(t, server, client, refusal)
		send(t, client, "some of the body")
		eventually(t, func() bool { return readable(server) })
		require.NoError(t, server.Close()) // with bytes unread: a reset
		requireReset(t, client)
	})
	t.Run("when more of the body is written first", func(t *testing.T) {
		address, accept := listen(t)
		sink := newShelf()
		p, err := Listen(Config{Listen: "127.0.0.1:0", Upstreams: []string{address}, Sink: sink})
		require.NoError(t, err)
		defer p.Close()
		client := dial(t, p.Addr().String())
		l := p.loops[0]
		l.accept(time.Now())
		server := accept()
		c := l.conns[0]
		came := func(side int, events int16) func() bool { // the kernel may take its time, even within one machine
			return func() bool {
				fds := []unix.PollFd{{Fd: int32(c.sides[side].fd), Events: events}}
				_, _ = unix.Poll(fds, 0)
				return fds[0].Revents != 0
			}
		}
		l.connected(c)
		send(t, client, "POST / HTTP/1.1\r\nContent-Length: 100000000\r\n\r\n")
		eventually(t, came(0, unix.POLLIN))
		l.pass(c, 0, unix.EPOLLIN, time.Now())
		eventually(t, func() bool { return readable(server) })
		send(t, server, refusal)
		require.NoError(t, server.Close())
		send(t, client, "some of the body")
		eventually(t, came(0, unix.POLLIN))
		eventually(t, came(1, 0)) // POLLERR and POLLHUP are told unasked
		l.pass(c, 0, unix.EPOLLIN, time.Now())
		require.True(t, c.closed)
		expect(t, client, refusal)
		requireReset(t, client)
		l.readOut()
		l.offer(time.Now())
		require.Equal(t, []string{`1 POST / "" → 413 "" TRUNCATED_REQUEST`}, lineOf(sink.kept))
	})
}

// readable reports whether bytes wait that nobody has read.
func readable(c *net.TCPConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	_ = raw.Read(func(fd uintptr) bool {
		n, _, _ = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return true
	})
	return n > 0
}

func TestRefusesWhenTheUpstreamDoes(t *testing.T) {
	address := reserve(t)
	r := newRig(t, address)
	for range 3 {
		requireRefused(t, r)
	}
	eventually(t, func() bool { return r.Stats().Refused == 3 && r.Stats().Connections == 0 })
	require.Equal(t, 1, strings.Count(r.logs.String(), "cannot be reached"), "it is said once")

	ln, err := net.Listen("tcp", address)
	require.NoError(t, err)
	defer ln.Close()
	client := r.dial()
	server, err := ln.Accept()
	require.NoError(t, err)
	defer server.Close()
	tell(t, client, server, get)
	eventually(t, func() bool { return strings.Contains(r.logs.String(), "can be reached again") })
}

// requireRefused connects and is reset, be it before that is known to be connected.
func requireRefused(t *testing.T, r *rig) {
	t.Helper()
	c, err := net.Dial("tcp", r.Addr().String())
	if err == nil {
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

func TestBytesAreTheSameBothWays(t *testing.T) {
	const size = 10 << 20
	for name, slow := range map[string]bool{"fast readers": false, "slow readers": true} {
		t.Run(name, func(t *testing.T) {
			r, client, server := pair(t)
			head := "POST / HTTP/1.1\r\nContent-Length: 10485760\r\n\r\n"
			back := "HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\r\n"
			sums := make(chan [32]byte, 4)
			go func() { sums <- pour(client, head, size, 1) }()
			require.Equal(t, drain(t, server, len(head)+size, slow), <-sums)
			go func() { sums <- pour(server, back, size, 2) }()
			require.Equal(t, drain(t, client, len(back)+size, slow), <-sums)
			x := r.shelf.exchanges(t, 1)[0]
			require.Equal(t, int64(size), x.Request.BodySize)
			require.Equal(t, int64(size), x.Response.BodySize)
			require.Len(t, x.Request.Body, 256<<10)
			require.Len(t, x.Response.Body, 256<<10)
			require.Equal(t, "TRUNCATED_REQUEST,TRUNCATED_RESPONSE", x.Flags.String())
		})
	}
	t.Run("both ways at once, in no protocol", func(t *testing.T) {
		r, client, server := pair(t)
		sums := make(chan [32]byte, 2)
		got := make(chan [32]byte, 2)
		go func() { sums <- pour(client, "\x00", size, 3) }()
		go func() { got <- drain(t, server, 1+size, true) }()
		require.Equal(t, <-sums, <-got)
		go func() { sums <- pour(server, "", size, 4) }()
		require.Equal(t, drain(t, client, size, false), <-sums)
		eventually(t, func() bool { return r.Stats().Unknown == 1 })
	})
}

// pour writes a text and size bytes that a seed gives, and returns the sum of all.
func pour(c net.Conn, text string, size int, seed uint64) [32]byte {
	sum := sha256.New()
	w := io.MultiWriter(c, sum)
	_, _ = io.WriteString(w, text)
	_, _ = io.CopyN(w, rand.NewChaCha8([32]byte{byte(seed)}), int64(size))
	return [32]byte(sum.Sum(nil))
}

// drain reads size bytes and returns their sum. A slow reader has a small buffer and takes little at a time.
func drain(t *testing.T, c *net.TCPConn, size int, slow bool) [32]byte {
	sum := sha256.New()
	block := make([]byte, 64<<10)
	if slow {
		_ = c.SetReadBuffer(128 << 10)
		block = block[:3000]
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{sum}, io.LimitReader(c, int64(size)), block)
	if err != nil || n != int64(size) {
		t.Errorf("%d of %d bytes: %v", n, size, err)
	}
	return [32]byte(sum.Sum(nil))
}

func TestAStalledReaderStopsItsSender(t *testing.T) {
	r, client, server := pair(t)
	tell(t, client, server, get)
	sent := fill(t, server)
	tell(t, client, server, get) // the other direction goes on
	sent += fill(t, server)      // and this one stands
	require.Less(t, sent, 32<<20)
	go func() { _, _ = io.Copy(io.Discard, client) }()
	eventually(t, func() bool { return r.Stats().BytesOut >= int64(sent) })
}

func TestPassesOnWhatItCannotRead(t *testing.T) {
	for _, row := range []struct {
		name, hello string
		count       func(Stats) int64
	}{
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", func(s Stats) int64 { return s.TLS }},
		{"HTTP/2 that is none", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x01\x04\x00\x00\x00\x00\x00?", func(s Stats) int64 { return s.HTTP2 }},
		{"Redis", "*1\r\n$4\r\nPING\r\n", func(s Stats) int64 { return s.Unknown }},
		{"a bad start line", "GET  HTTP/1.1\r\n\r\n", func(s Stats) int64 { return s.Malformed }},
		{"ambiguous framing", "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: xchunked\r\n\r\n", func(s Stats) int64 { return s.Ambiguous }},
		{"CONNECT", "CONNECT a:1 HTTP/1.1\r\n\r\n", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, client, server := pair(t)
			tell(t, client, server, row.hello)
			if row.count == nil {
				tell(t, server, client, "HTTP/1.1 200 OK\r\n\r\n")
				row.count = func(s Stats) int64 { return s.Upgraded }
			}
			eventually(t, func() bool { return row.count(r.Stats()) == 1 })
			tell(t, server, client, "\x16\x03\x03anything")
			tell(t, client, server, get)
			tell(t, server, client, answer)
			require.Equal(t, int64(1), r.Stats().Opaque)
			require.NoError(t, client.Close())
			requireEnd(t, server)
			r.end()
			for _, x := range r.shelf.kept {
				require.NotZero(t, x.Flags.Unreplayable())
			}
		})
	}
}

func TestDoesNotSpinOnAHangUpThatNobodyReads(t *testing.T) {
	r, client, server := pair(t)
	require.NoError(t, server.CloseWrite())
	requireEnd(t, client) // the client was told that nothing comes any more
	sent, block := int64(0), make([]byte, 64<<10)
	for stalled := false; !stalled; { // the server takes nothing, but there is still room for the client's end
		n, err := client.Write(block)
		require.NoError(t, err)
		sent += int64(n)
		for looks := 0; r.Stats().BytesIn < sent && !stalled; looks++ { // of this process, however long it is stopped meanwhile
			time.Sleep(time.Millisecond)
			stalled = looks == 200
		}
	}
	require.NoError(t, client.CloseWrite()) // both its directions are over now
	require.Less(t, busy(t, 200*time.Millisecond), 100*time.Millisecond)
	n, err := io.Copy(io.Discard, server)
	require.NoError(t, err)
	require.Equal(t, sent, n)
	eventually(t, func() bool { return r.Stats().Connections == 0 })
}

// busy returns how much processor time this process uses during d.
func busy(t *testing.T, d time.Duration) time.Duration {
	t.Helper()
	used := func() time.Duration {
		var u syscall.Rusage
		require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	time.Sleep(d) // it is to do nothing meanwhile
	return used() - before
}

func TestAnIdleConnectionIsSmall(t *testing.T) {
	require.Less(t, unsafe.Sizeof(conn{}), uintptr(2<<10))
}
