package handover

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Tell tells systemd about this process, in lines such as READY=1. Without a systemd that waits for it, it does nothing.
func Tell(lines ...string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"}) // an @ at the front is an abstract one
	if err != nil {
		return fmt.Errorf("tell systemd %s: %w", lines[0], err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(strings.Join(lines, "\n"))); err != nil {
		return fmt.Errorf("tell systemd %s: %w", lines[0], err)
	}
	return nil
}

// The lines that are told.
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
)

// Reloading is told before the configuration is read again, and Ready afterwards.
func Reloading() []string {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // cannot fail
	return []string{"RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000)}
}

// MainPID tells which process goes on.
func MainPID(pid int) string { return "MAINPID=" + strconv.Itoa(pid) }

// WatchdogInterval is how often systemd wants to hear that this process is alive; 0: it does not.
func WatchdogInterval() time.Duration {
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || usec <= 0 || os.Getenv("NOTIFY_SOCKET") == "" {
		return 0
	}
	return time.Duration(usec) * time.Microsecond / 2
}

// Watch tells systemd every interval that the process is alive, as long as it is, until ctx ends.
func Watch(ctx context.Context, interval time.Duration, alive func() bool, dead func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if alive() {
			_ = Tell("WATCHDOG=1") // systemd sees that it does not come
		} else {
			dead()
		}
	}
}
