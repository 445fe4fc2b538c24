package proxy

import (
	"time"

	"golang.org/x/sys/unix"
)

// bulk is how much of an opaque connection has to come at once for the next to go by splice: a quarter to a half faster than
// by read and write, and no faster for little (BenchmarkOpaque).
const bulk = 32 << 10

// pipe is what spliced bytes go through. It is empty between two calls: a loop has one for all its connections.
type pipe struct{ in, out int }

// pipeSize is more than chunk: a pipe counts pages, and those of short packets are not full.
const pipeSize = 4 * chunk

func newPipe() (p pipe, err error) {
	var fds [2]int
	if err = unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return pipe{-1, -1}, err
	}
	_, _ = unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, pipeSize) // or as large as it is allowed to be
	return pipe{in: fds[1], out: fds[0]}, nil
}

func (p *pipe) close() {
	for _, fd := range []*int{&p.in, &p.out} {
		if *fd >= 0 {
			_ = unix.Close(*fd)
			*fd = -1
		}
	}
}

// splice moves what is there, at most max bytes.
func splice(from, to, most int) (int, unix.Errno) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(most), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// move passes on what a side of an opaque connection sends without looking at it.
func (l *loop) move(c *conn, side int) {
	from, to := &c.sides[side], &c.sides[1-side]
	n, errno := splice(from.fd, l.pipe.in, chunk)
	switch {
	case errno == unix.EAGAIN:
		return
	case errno != 0:
		l.abort(c, side)
		return
	case n == 0:
		from.eof = true
		l.note(c, endOf(side), nil, time.Now())
		l.settle(c)
		return
	}
	l.p.countBytes(side, n)
	from.bulk = n >= bulk
	sent := 0
	for sent < n && errno == 0 {
		var m int
		if m, errno = splice(l.pipe.out, to.fd, n-sent); errno == 0 {
			sent += m
		}
	}
	if sent == n {
		return
	}
	rest := make([]byte, n-sent) // the pipe is every connection's
	for got := 0; got < len(rest); {
		m, failed := unix.Read(l.pipe.out, rest[got:])
		if failed == unix.EINTR {
			continue
		}
		if failed != nil || m <= 0 {
			l.p.cfg.Logger.Error("a pipe lost bytes; the connection is closed", "error", failed)
			l.abort(c, server)
			return
		}
		got += m
	}
	if errno != unix.EAGAIN {
		l.salvage(c, 1-side)
		return
	}
	to.unsent = rest
	l.watch(c, side)
	l.watch(c, 1-side)
}
