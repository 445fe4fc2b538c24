package proxy

import (
	"errors"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	acceptBatch = 64 // connections taken before the others are served
	// acceptPause is how long no connection is taken when descriptors have run out: those that are there go on.
	acceptPause = 100 * time.Millisecond
	complainGap = 10 * time.Second
	// resolvePatience is how long a client is held while the upstream's name has not been resolved at all.
	resolvePatience = 5 * time.Second
)

// accept takes what waits, and reports whether more may wait.
func (l *loop) accept(now time.Time) bool {
	for range acceptBatch {
		if err := l.reserve(); err != nil {
			l.pause(now, err)
			return false
		}
		if err := l.p.enter(); err != nil {
			l.full = true
			l.pause(now, err)
			return false
		}
		fd, peer, err := unix.Accept4(l.p.listenFD, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
			l.begin(fd, peer, now)
			continue
		case unix.EAGAIN:
			l.p.leave()
			return false
		case unix.EINTR, unix.ECONNABORTED, unix.EPROTO:
			l.p.leave()
		default: // EMFILE, ENFILE, ENOBUFS, ENOMEM
			l.p.leave()
			l.pause(now, err)
			return false
		}
	}
	return true
}

// errUnresolved is why there is nothing to connect to.
var errUnresolved = errors.New("its name could not be resolved")

// Why no more clients are taken for now.
var (
	errFull = errors.New("as many connections as --max-connections allows")
	errKept = errors.New("the descriptors that are left are kept for capture (Kafka, spool, metrics)")
)

// enter takes one of the places for clients. An error says why there is none.
func (p *Proxy) enter() error {
	n, draining := p.stats.connections.Add(1), p.draining.Load()
	err := errKept
	switch {
	case p.cfg.MaxConnections > 0 && n > int64(p.cfg.MaxConnections) && !draining:
		err = errFull
	case p.cfg.Descriptors.Take(perConnection, draining):
		return nil
	}
	p.stats.connections.Add(-1)
	return err
}

func (p *Proxy) leave() {
	p.stats.connections.Add(-1)
	p.cfg.Descriptors.Give(perConnection)
}

// pause takes no connections for a moment: they wait in the kernel while those that are open go on.
func (l *loop) pause(now time.Time, err error) {
	l.unlisten()
	l.acceptAgain = now.Add(acceptPause)
	l.p.stats.pauses.Add(1)
	l.complain(now, "cannot accept connections for now: they wait in the kernel", err,
		"try", "more descriptors, two for each connection (ulimit -n, LimitNOFILE=), a larger --max-connections where it is given, or another tap")
}

// reserve keeps a descriptor back, so that a connection is only taken when there is one for the upstream too.
func (l *loop) reserve() (err error) {
	if l.spareFD < 0 {
		l.spareFD, err = unix.FcntlInt(uintptr(l.wakeFD), unix.F_DUPFD_CLOEXEC, 0)
	}
	return err
}

// socket opens one, with the descriptor kept back when there is no other.
func (l *loop) socket(family int) (int, error) {
	for {
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != unix.EMFILE && err != unix.ENFILE || l.spareFD < 0 {
			return fd, err
		}
		_ = unix.Close(l.spareFD)
		l.spareFD = -1
	}
}

// complain logs a condition that would repeat for every connection once in a while.
func (l *loop) complain(now time.Time, what string, err error, more ...any) {
	if now.Sub(l.complained) >= complainGap {
		l.complained = now
		l.p.cfg.Logger.Error(what, append([]any{"error", err, "open", l.open}, more...)...)
	}
}

// begin opens the other half of a new connection.
func (l *loop) begin(fd int, peer unix.Sockaddr, now time.Time) {
	l.p.stats.accepted.Add(1)
	l.open++
	l.generation++
	c := &conn{generation: l.generation, slot: l.slot()}
	l.conns[c.slot] = c
	c.sides[client].fd, c.sides[server].fd = fd, -1
	l.serial++
	id := append([]byte(nil), l.prefix...)
	c.dialog.Start(strconv.AppendUint(id, l.serial, 16), textOf(peer), nil)
	if l.p.cfg.ProtocolIn != NoProtocol {
		c.greeting, c.patience = true, now.Add(headerPatience)
		l.greeting = append(l.greeting, c)
		l.watch(c, client)
		return
	}
	l.meet(c, header{}, nil, now)
}

// seek looks for the upstream of a client.
func (l *loop) seek(c *conn, now time.Time) {
	if c.untried = l.p.upstreams.get(now); len(c.untried) == 0 {
		c.patience = now.Add(resolvePatience)
		l.held = append(l.held, c)
		return
	}
	l.connect(c)
}

// release connects the clients that waited for the upstream's name, or refuses them when that took too long.
func (l *loop) release(now time.Time) {
	if len(l.held) == 0 {
		return
	}
	addresses := l.p.upstreams.get(now)
	for len(l.held) > 0 {
		c := l.held[0]
		if !c.closed && len(addresses) == 0 && now.Before(c.patience) {
			return
		}
		l.held = l.held[1:]
		if c.untried = addresses; !c.closed {
			l.connect(c)
		}
	}
	l.held = nil
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
	why := errUnresolved
	if c.failure != 0 {
		why = c.failure
	}
	for len(c.untried) > 0 {
		a := c.untried[0]
		c.untried = c.untried[1:]
		fd, err := l.socket(a.family)
		if err != nil {
			why = err
			break
		}
		setOptions(fd)
		if len(c.untried) > 0 {
			giveUpSoon(fd)
		}
		c.dialog.Server, c.to = a.text, a
		c.sides[server] = socket{fd: fd}
		switch err = unix.Connect(fd, a.socket()); {
		case err == nil:
			l.established(c)
			return
		case errors.Is(err, unix.EINPROGRESS):
			c.connecting = true
			l.watch(c, server)
			return
		}
		why = err
		a.failed(why)
		_ = unix.Close(fd)
		c.sides[server].fd = -1
	}
	l.refuse(c, why)
}

func (l *loop) established(c *conn) {
	if crypt := l.p.crypt; crypt == nil || !crypt.Upstream { // else that is seen when it has spoken
		c.to.worked()
	}
	if len(c.opening) > 0 {
		c.sides[server].unsent, c.opening = c.opening, nil
		if l.flush(c, server); c.closed {
			return
		}
	}
	if l.p.crypt != nil {
		l.depart(c)
		return
	}
	l.watch(c, server)
	l.watch(c, client)
}

// connected sees how a connection attempt ended.
func (l *loop) connected(c *conn) {
	errno, err := unix.GetsockoptInt(c.sides[server].fd, unix.SOL_SOCKET, unix.SO_ERROR)
	c.connecting = false
	if err == nil && errno == 0 {
		l.established(c)
		return
	}
	c.failure = unix.Errno(errno)
	c.to.failed(c.failure)
	_ = unix.Close(c.sides[server].fd)
	c.sides[server] = socket{fd: -1}
	l.connect(c)
}

// refuse does to the client what an upstream does that nobody listens on.
func (l *loop) refuse(c *conn, why error) {
	l.p.stats.refused.Add(1)
	switch {
	case errors.Is(why, errUnresolved):
		l.p.upstreams.unresolved(why)
	case c.to == nil: // no descriptor: not the upstream's fault
		l.complain(time.Now(), "cannot connect to the upstream", why)
	}
	reset(c.sides[client].fd)
	l.drop(c, false)
}
