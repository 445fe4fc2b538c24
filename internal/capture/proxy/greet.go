package proxy

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// headerPatience is how long the PROXY header of a new connection is waited for: longer than a lost packet takes to be sent
// again.
const headerPatience = 5 * time.Second

// greet reads the PROXY header that a client's connection begins with, and nothing behind it.
func (l *loop) greet(c *conn) {
	fd := c.sides[client].fd
	b := l.room()[:longestHeader-len(c.opening)]
	n, errno := receive(fd, b, unix.MSG_PEEK)
	switch {
	case errno == unix.EAGAIN:
		return
	case errno != 0 || n == 0:
		l.unheard(c, nil)
		return
	}
	said := append(c.opening, b[:n]...)
	h, length, err := parseHeader(said, l.p.cfg.ProtocolIn)
	if err != nil {
		l.unheard(c, err)
		return
	}
	take := n // all of it was the header's
	if length > 0 {
		take = length - len(c.opening)
	}
	if got, errno := receive(fd, b[:take], 0); errno != 0 || got != take {
		l.unheard(c, errBadHeader) // what was there is there: cannot be
		return
	}
	if c.opening = said; length == 0 {
		return
	}
	c.greeting = false
	l.watch(c, client) // not read until there is an upstream
	l.meet(c, h, said[:length], time.Now())
}

// meet goes on with a client of which is known who it is. said is the header as it came; nil: there was none.
func (l *loop) meet(c *conn, h header, said []byte, now time.Time) {
	if h.from.IsValid() {
		c.dialog.Client = h.from.AppendTo(make([]byte, 0, 48))
	}
	c.opening = nil
	switch out := l.p.cfg.ProtocolOut; {
	case out == NoProtocol:
	case said != nil && h.version == out:
		c.opening = append([]byte(nil), said...) // with all that it tells beside addresses
	default:
		if !h.from.IsValid() {
			h.from, h.to = ends(c.sides[client].fd)
		}
		h.version = out
		c.opening = h.append(nil)
	}
	l.seek(c, now)
}

// ends are the two addresses of a client's connection, not valid when it is over already.
func ends(fd int) (from, to netip.AddrPort) {
	if peer, err := unix.Getpeername(fd); err == nil {
		from = addrPortOf(peer)
	}
	if own, err := unix.Getsockname(fd); err == nil {
		to = addrPortOf(own)
	}
	return from, to
}

// unheard turns a client away that did not say whose connection it is. why is nil when it left by itself.
func (l *loop) unheard(c *conn, why error) {
	if why != nil {
		l.p.stats.unheard.Add(1)
		now := time.Now()
		if now.Sub(l.complained) >= complainGap {
			l.complained = now
			l.p.cfg.Logger.Warn("a connection was closed: only a load balancer that speaks the PROXY protocol may connect here",
				"error", why, "client", string(c.dialog.Client))
		}
	}
	reset(c.sides[client].fd)
	l.drop(c, false)
}

// hurry turns those away that have not sent their header in time.
func (l *loop) hurry(now time.Time) {
	for len(l.greeting) > 0 {
		c := l.greeting[0]
		waits := !c.closed && c.greeting
		if waits && now.Before(c.patience) {
			return
		}
		l.greeting[0] = nil
		l.greeting = l.greeting[1:]
		if waits {
			l.unheard(c, errSilentAtFirst)
		}
	}
	l.greeting = nil
}
