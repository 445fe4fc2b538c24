package proxy

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/reprise-io/reprise/internal/wire"
)

// conn is a client's connection with the one that was opened for it to the upstream.
type conn struct {
	slot       int32 // index in loop.conns
	generation int32 // tells it from an earlier user of the slot
	sides      [2]socket
	connecting bool
	closed     bool
	opaque     bool // nothing more is to be read out of it
	untried    []*address
	to         *address   // the last tried
	failure    unix.Errno // of the last address tried
	patience   time.Time  // until when its header, or the upstream's name, is waited for
	greeting   bool       // its PROXY header has not come yet
	opening    []byte     // of the PROXY header: what has come of it, then what is to be sent of one
	dialog     wire.Dialog
}

// The sides of a conn.
const (
	client = 0
	server = 1
)

// socket is one side.
type socket struct {
	fd      int
	watched uint32 // epoll events asked for
	polled  bool   // it is in epoll, which tells breaking off even when nothing is asked for
	hung    bool   // it hung up while it is not read: not in epoll till then, as that would be told without end
	eof     bool   // it sends nothing more
	bulk    bool   // it sent much at once
	shut    bool   // it was told that nothing more comes
	unsent  []byte // came from the other side and does not fit its buffer; the other side is not read meanwhile
}

// chunk is how much is read at once, and so the most that unsent can hold.
const chunk = 64 << 10

// keepIdle is when the kernel begins to ask a silent peer whether it is there.
const keepIdle = 2 * time.Minute

// setOptions: small writes leave at once, and a peer that vanished is noticed. Accepted sockets inherit the listener's.
func setOptions(fd int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepIdle/time.Second))
}

// giveUpSoon is for one address of several: connecting fails after three seconds without an answer, two SYNs, and the
// next is tried. The last one is waited for as long as the client would wait for the upstream itself.
func giveUpSoon(fd int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_SYNCNT, 1)
}

// reset makes close send RST.
func reset(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

// receive and write go around the scheduler's bookkeeping: the descriptors do not block. They are calls for sockets, which
// take less time in the kernel than those for any file.
func receive(fd int, b []byte, flags int) (int, unix.Errno) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
			uintptr(flags), 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// write returns what was taken: with errno EAGAIN none, with any other none ever.
func write(fd int, b []byte) (int, unix.Errno) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
			unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case unix.EINTR:
			continue
		case 0:
			return int(n), 0
		}
		return 0, errno
	}
}

// ready serves an event on one side of c.
func (l *loop) ready(c *conn, side int, events uint32, now time.Time) {
	switch {
	case c.connecting && side == server:
		l.connected(c)
		return
	case c.greeting:
		l.greet(c)
		return
	case c.sides[server].fd < 0 || c.connecting: // the client has said its header
		if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
			l.abort(c, client)
		}
		return
	}
	if events&unix.EPOLLOUT != 0 {
		l.flush(c, side)
	}
	if !c.closed && events&^unix.EPOLLOUT != 0 {
		l.pass(c, side, events, now)
	}
}

// pass reads once from a side, which had something to read at now, and writes to the other.
func (l *loop) pass(c *conn, side int, events uint32, now time.Time) {
	from, to := &c.sides[side], &c.sides[1-side]
	if from.eof || len(to.unsent) > 0 { // not to be read now; only its breaking off is news
		if events&unix.EPOLLERR != 0 {
			l.abort(c, side)
			return
		}
		from.hung = events&unix.EPOLLHUP != 0
		l.watch(c, side)
		return
	}
	if from.bulk && c.opaque && l.pipe.in >= 0 {
		l.move(c, side)
		return
	}
	n, errno := receive(from.fd, l.room(), 0)
	switch {
	case errno == unix.EAGAIN:
		return
	case errno != 0:
		l.abort(c, side)
		return
	case n == 0:
		from.eof = true
		l.note(c, endOf(side), nil, now)
		l.settle(c)
		return
	}
	from.bulk = n >= bulk
	data := l.keep(n)
	sent, errno := write(to.fd, data)
	l.note(c, dataOf(side), data, now)
	switch {
	case errno != 0 && errno != unix.EAGAIN:
		l.salvage(c, 1-side)
	case sent < n:
		to.unsent = append(make([]byte, 0, n-sent), data[sent:]...)
		l.watch(c, side)
		l.watch(c, 1-side)
	}
}

// flush writes what a side could not take before.
func (l *loop) flush(c *conn, side int) {
	to := &c.sides[side]
	if len(to.unsent) == 0 {
		return
	}
	n, errno := write(to.fd, to.unsent)
	if errno != 0 && errno != unix.EAGAIN {
		l.salvage(c, side)
		return
	}
	if to.unsent = to.unsent[n:]; len(to.unsent) == 0 {
		to.unsent = nil
		l.settle(c)
	}
}

// settle passes on the end of what each side sends, once everything before it is passed on, and closes c when both have
// ended.
func (l *loop) settle(c *conn) {
	for side := range c.sides {
		from, to := &c.sides[side], &c.sides[1-side]
		if from.eof && !to.shut && len(to.unsent) == 0 {
			to.shut = true
			_ = unix.Shutdown(to.fd, unix.SHUT_WR)
		}
	}
	if c.sides[client].shut && c.sides[server].shut {
		l.drop(c, false)
		return
	}
	l.watch(c, client)
	l.watch(c, server)
}

// salvageRounds bounds what is still read from a side that takes nothing more.
const salvageRounds = 16

// salvage passes on what a side had sent before it broke off: a server may refuse a large upload with an answer and a
// reset, and the client is to see that answer.
func (l *loop) salvage(c *conn, side int) {
	from, to := &c.sides[side], &c.sides[1-side]
	for range salvageRounds {
		if len(to.unsent) > 0 || from.eof {
			break
		}
		n, errno := receive(from.fd, l.room(), 0)
		if errno != 0 || n == 0 {
			break
		}
		data := l.keep(n)
		sent, _ := write(to.fd, data)
		l.note(c, dataOf(side), data, time.Now())
		if sent < n {
			break
		}
	}
	l.abort(c, side)
}

// abort closes c because one side broke off: the other one sees a reset, as it would without a tap.
func (l *loop) abort(c *conn, side int) {
	for i := range c.sides {
		reset(c.sides[i].fd)
	}
	l.drop(c, side == client)
}

// drop closes both sides. What was read of them is still parsed.
func (l *loop) drop(c *conn, aborted bool) {
	for i := range c.sides {
		if c.sides[i].fd >= 0 {
			_ = unix.Close(c.sides[i].fd)
			c.sides[i] = socket{fd: -1}
		}
	}
	c.closed = true
	l.conns[c.slot] = nil
	l.free = append(l.free, c.slot)
	l.open--
	l.p.leave()
	if l.full { // there is a place again
		l.full, l.acceptAgain = false, time.Now()
	}
	if aborted {
		l.note(c, abortedByClient, nil, time.Now())
	} else {
		l.note(c, over, nil, time.Now())
	}
}

// watch asks epoll for what a side is waited for.
func (l *loop) watch(c *conn, side int) {
	s := &c.sides[side]
	var want uint32
	if !s.eof && len(c.sides[1-side].unsent) == 0 && (c.greeting || c.sides[server].fd >= 0 && !c.connecting) {
		want = unix.EPOLLIN
	}
	if len(s.unsent) > 0 || c.connecting && side == server {
		want |= unix.EPOLLOUT
	}
	over := s.hung || s.eof && s.shut // epoll would tell the hang-up again and again
	op := unix.EPOLL_CTL_MOD
	switch {
	case c.closed, s.polled && want == s.watched && (want != 0 || !over), !s.polled && want == 0:
		return
	case !s.polled:
		op = unix.EPOLL_CTL_ADD
	case want == 0 && over:
		op = unix.EPOLL_CTL_DEL
	}
	event := unix.EpollEvent{Events: want, Fd: c.slot<<1 | int32(side), Pad: c.generation}
	if err := unix.EpollCtl(l.epoll, op, s.fd, &event); err != nil {
		l.p.cfg.Logger.Error("epoll_ctl failed; the connection is closed", "error", err)
		l.abort(c, server)
		return
	}
	s.watched, s.polled, s.hung = want, op != unix.EPOLL_CTL_DEL, false
}
