package main

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestALogThatNobodyReadsHoldsUpNoTraffic(t *testing.T) {
	listen, nobody := freePort(t), freePort(t)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	size, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096)
	require.NoError(t, err)
	p := exec.Command(os.Args[0], "proxy", "--brokers", "127.0.0.1:1", "--listen", listen, "--upstream", nobody)
	p.Env, p.Stderr = append(os.Environ(), asTap+"=1"), w
	require.NoError(t, p.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = p.Wait()
	}()
	t.Cleanup(func() { _ = p.Process.Kill() })
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", listen)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, patience, time.Millisecond)
	full := 0 // looks at a pipe that has no room for a line
	require.Eventually(t, func() bool {
		require.NoError(t, p.Process.Signal(syscall.SIGHUP)) // says a line
		if n, err := unix.IoctlGetInt(int(r.Fd()), unix.TIOCINQ); err == nil && n > size-500 {
			full++
		}
		return full > 20
	}, patience, time.Millisecond)
	for range 3 { // what is to be said of the upstream is said by an event loop
		c, err := net.Dial("tcp", listen)
		if errors.Is(err, syscall.ECONNRESET) {
			continue
		}
		require.NoError(t, err)
		require.NoError(t, c.SetDeadline(time.Now().Add(patience/4)))
		_, err = c.Read(make([]byte, 1))
		require.True(t, errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET), "%v", err)
		_ = c.Close()
	}
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	select {
	case <-ended:
		require.Equal(t, 130, p.ProcessState.ExitCode())
	case <-time.After(patience):
		require.Fail(t, "it waits for its log")
	}
}
