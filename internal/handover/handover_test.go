package handover

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// connection returns the two ends of a Unix socket.
func connection(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	ends := [2]*net.UnixConn{}
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "")
		c, err := net.FileConn(f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		t.Cleanup(func() { _ = c.Close() })
		ends[i] = c.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

func TestSocketsAreHandedOverByTheirAddresses(t *testing.T) {
	var before, after Sockets
	var bound []string
	for range 2 { // two sockets of one address, as with port 0
		ln, err := before.Listen("127.0.0.1:0")
		require.NoError(t, err)
		defer ln.Close()
		bound = append(bound, ln.Addr().String())
	}
	other, err := before.Listen("localhost:0")
	require.NoError(t, err)
	defer other.Close()
	a, b := connection(t)
	require.NoError(t, before.send(a))
	require.NoError(t, after.receive(b))
	before.Close()
	require.Error(t, before.send(a), "it has none any more")
	for _, want := range bound {
		ln, err := after.Listen("127.0.0.1:0")
		require.NoError(t, err)
		require.Equal(t, want, ln.Addr().String())
		require.NoError(t, ln.Close())
	}
	require.Equal(t, []string{other.Addr().String()}, after.Leftover(), "nobody wanted it")
	require.Empty(t, after.Leftover())
	fresh, err := after.Listen("127.0.0.1:0")
	require.NoError(t, err)
	require.NotContains(t, bound, fresh.Addr().String())
	require.NoError(t, fresh.Close())
	after.Close()
}

func TestHandingOverLeavesTheSocketNonBlocking(t *testing.T) {
	var before, after Sockets
	ln, err := before.Listen("127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	a, b := connection(t)
	require.NoError(t, before.send(a))
	require.NoError(t, after.receive(b))
	flags, err := unix.FcntlInt(uintptr(before.own[0].fd), unix.F_GETFL, 0)
	require.NoError(t, err)
	require.NotZero(t, flags&unix.O_NONBLOCK, "or both processes would hang in accept")
	before.Close()
	after.Leftover()
}

func TestASocketOfSystemdIsTakenByWhereItListens(t *testing.T) {
	for _, row := range []struct {
		at, wanted string
		same       bool
	}{
		{"127.0.0.1:0", "127.0.0.1:%", true},
		{"127.0.0.1:0", "localhost:%", true},
		{"127.0.0.1:0", ":%", false},
		{":0", ":%", true},
		{":0", "0.0.0.0:%", true},
		{":0", "127.0.0.1:%", false},
		{"127.0.0.1:0", "127.0.0.1:1", false},
		{"127.0.0.1:0", "nonsense", false},
	} {
		ln, err := net.Listen("tcp", row.at)
		require.NoError(t, err)
		_, port, err := net.SplitHostPort(ln.Addr().String())
		require.NoError(t, err)
		wanted := row.wanted
		if wanted[len(wanted)-1] == '%' {
			wanted = wanted[:len(wanted)-1] + port
		}
		fd, err := keep(ln.(*net.TCPListener))
		require.NoError(t, err)
		require.Equal(t, row.same, socket{fd: fd}.boundTo(wanted), "%s for %s", row.at, row.wanted)
		require.NoError(t, unix.Close(fd))
		require.NoError(t, ln.Close())
	}
}

func TestMessagesThatAreNoneAreRefused(t *testing.T) {
	for _, text := range []string{"nonsense", "{}", `[":80"]`, "["} {
		a, b := connection(t)
		_, err := a.Write([]byte(text))
		require.NoError(t, err)
		var s Sockets
		require.Error(t, s.receive(b), text)
		require.Empty(t, s.inherited)
	}
	a, b := connection(t)
	require.NoError(t, a.Close())
	var s Sockets
	require.Error(t, s.receive(b))
}

func TestADeadPredecessorIsNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "takeover")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	ln.SetUnlinkOnClose(false)
	require.NoError(t, ln.Close()) // as after kill -9
	s, err := Begin(t.Context(), path, quiet())
	require.NoError(t, err)
	s.Serving()
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.False(t, s.Await(ctx, nil, nil, nil))
}

func TestWhoAsksAndSaysNothingChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "takeover")
	s, err := Begin(t.Context(), path, quiet())
	require.NoError(t, err)
	ln, err := s.Listen("127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	s.Serving()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	awaited := make(chan bool, 1)
	stopped := make(chan struct{}, 1)
	go func() { awaited <- s.Await(ctx, nil, func() { stopped <- struct{}{} }, nil) }()
	for _, say := range []string{"", "no!!!!"} {
		c, err := net.Dial("unix", path)
		require.NoError(t, err)
		_, err = io.WriteString(c, say)
		require.NoError(t, err)
		require.NoError(t, c.(*net.UnixConn).CloseWrite())
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = io.Copy(io.Discard, c)
		require.NoError(t, c.Close())
	}
	select {
	case <-stopped:
		require.Fail(t, "it handed over")
	default:
	}
	next, err := Begin(t.Context(), path, quiet())
	require.NoError(t, err)
	taken, err := next.Listen("127.0.0.1:0")
	require.NoError(t, err)
	require.Equal(t, ln.Addr().String(), taken.Addr().String())
	next.Serving()
	require.True(t, <-awaited)
	<-stopped
	require.NoError(t, taken.Close())
}

func TestWhoIsToEndDoesNotTakeOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "takeover")
	busy, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	defer busy.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		c, err := busy.AcceptUnix()
		if err == nil {
			cancel()
			_, _ = io.Copy(io.Discard, c) // it says nothing until the other has gone
			_ = c.Close()
		}
	}()
	_, err = Begin(ctx, path, quiet())
	require.Error(t, err)
	require.Error(t, ctx.Err())
}

func TestTheProgramIsKnownByItsName(t *testing.T) {
	own, err := os.Executable()
	require.NoError(t, err)
	link := filepath.Join(t.TempDir(), "current")
	require.NoError(t, os.Symlink(own, link))
	before := os.Args[0]
	defer func() { os.Args[0] = before }()
	for started, want := range map[string]string{link: link, "/nowhere/tap": own, "/bin/sh": own} {
		os.Args[0] = started
		require.Equal(t, want, program(), started)
	}
}
