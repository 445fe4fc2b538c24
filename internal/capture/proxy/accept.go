package proxy

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	acceptBatch = 64 // connections taken before the others are served
	// acceptPause is how long no connection is taken when descriptors have run out: those that are there go on.
	acceptPause = 100 * time.Millisecond
	complainGap = 10 * time.Second
)

func (l *loop) accept(now time.Time) {
	for range acceptBatch {
		fd, peer, err := unix.Accept4(l.p.listenFD, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
			l.begin(fd, peer)
		case unix.EAGAIN:
			return
		case unix.EINTR, unix.ECONNABORTED, unix.EPROTO:
		default: // EMFILE, ENFILE, ENOBUFS, ENOMEM
			l.unlisten()
			l.acceptAgain = now.Add(acceptPause)
			l.complain(now, "cannot accept connections for now", err)
			return
		}
	}
}

// complain logs a condition that would repeat for every connection once in a while.
func (l *loop) complain(now time.Time, what string, err error) {
	if now.Sub(l.complained) >= complainGap {
		l.complained = now
		l.p.cfg.Logger.Error(what, "error", err, "open", l.open)
	}
}

// begin opens the other half of a new connection.
func (l *loop) begin(fd int, peer unix.Sockaddr) {
	setOptions(fd)
	l.p.stats.accepted.Add(1)
	l.p.stats.connections.Add(1)
	l.open++
	l.generation++
	c := &conn{generation: l.generation, slot: l.slot()}
	l.conns[c.slot] = c
	c.sides[client].fd, c.sides[server].fd = fd, -1
	c.untried = l.p.upstream.get()
	l.serial++
	id := append([]byte(nil), l.prefix...)
	c.dialog.Start(strconv.AppendUint(id, l.serial, 16), textOf(peer), nil)
	l.connect(c)
}

func (l *loop) slot() int32 {
	if n := len(l.free); n > 0 {
		slot := l.free[n-1]
		l.free = l.free[:n-1]
		return slot
	}
	l.conns = append(l.conns, nil)
	return int32(len(l.conns) - 1)
}

// connect starts a connection to the next address of the upstream.
func (l *loop) connect(c *conn) {
	for len(c.untried) > 0 {
		a := c.untried[0]
		c.untried = c.untried[1:]
		fd, err := unix.Socket(a.family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			l.complain(time.Now(), "cannot open a connection to the upstream", err)
			break
		}
		setOptions(fd)
		c.dialog.Server = a.text
		c.sides[server] = socket{fd: fd}
		switch err = unix.Connect(fd, a.socket); err {
		case nil:
			l.watch(c, client)
			l.watch(c, server)
			return
		case unix.EINPROGRESS:
			c.connecting = true
			l.watch(c, server)
			return
		}
		_ = unix.Close(fd)
		c.sides[server].fd = -1
	}
	l.refuse(c)
}

// connected sees how a connection attempt ended.
func (l *loop) connected(c *conn) {
	errno, err := unix.GetsockoptInt(c.sides[server].fd, unix.SOL_SOCKET, unix.SO_ERROR)
	c.connecting = false
	if err == nil && errno == 0 {
		l.watch(c, server)
		if !c.closed {
			l.watch(c, client)
		}
		return
	}
	_ = unix.Close(c.sides[server].fd)
	c.sides[server] = socket{fd: -1}
	l.connect(c)
}

// refuse does to the client what an upstream does that nobody listens on.
func (l *loop) refuse(c *conn) {
	l.p.stats.refused.Add(1)
	l.p.upstream.failed()
	reset(c.sides[client].fd)
	l.drop(c, false)
}
