package openloop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/reprise-io/reprise/internal/meter"
)

// Run sends the load and returns when every request has its answer or has failed. It begins when all connections stand;
// an error says that they do not. When ctx ends it returns at once, with what there is: that is no error.
func (l Load) Run(ctx context.Context) (*Result, error) {
	l, err := l.check()
	if err != nil {
		return nil, err
	}
	addr, err := net.ResolveTCPAddr("tcp4", l.Addr)
	if err != nil {
		return nil, err
	}
	o := &loop{
		load: l, total: l.count(), conns: make([]conn, l.Connections), buf: make([]byte, 256<<10),
		to:     unix.SockaddrInet4{Port: addr.Port},
		result: &Result{Answers: make([]Answer, 0, l.count()), Failed: make(map[string]int)},
	}
	copy(o.to.Addr[:], addr.IP.To4())
	done := make(chan error, 1)
	go func() { done <- o.drive(ctx) }()
	if err := <-done; err != nil {
		return nil, err
	}
	o.result.Due = o.next
	return o.result, nil
}

// drive is Run on a thread that ends with it, as it is not like others.
func (o *loop) drive(ctx context.Context) error {
	runtime.LockOSThread() // for good
	_ = meter.Prompt()     // fewer answers look late because they were read late; no error where that cannot be
	defer o.close()
	if err := o.open(ctx); err != nil {
		return fmt.Errorf("open loop to %s: %w", o.load.Addr, err)
	}
	return o.run(ctx)
}

// loop is a load under way, owned by one thread.
type loop struct {
	load     Load
	to       unix.SockaddrInet4
	poll     int
	timer    int
	conns    []conn
	free     []int // idle connections; the one that has waited longest goes first
	buf      []byte
	events   [256]unix.EpollEvent
	total    int
	next     int // the first request that was not sent
	inFlight int
	result   *Result
}

type state uint8

const (
	closed state = iota
	connecting
	idle
	busy
)

type conn struct {
	fd     int
	state  state
	due    time.Duration // of the request on it
	out    []byte        // what the socket has not taken of it
	full   bool          // waits until the socket takes more
	answer answer
}

const (
	openTimeout = 20 * time.Second
	tick        = 20 * time.Millisecond // how long the end of ctx, or of somebody's patience, may go unseen
	timerIndex  = -1
)

func (o *loop) open(ctx context.Context) (err error) {
	o.poll, o.timer = -1, -1
	if o.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if o.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		return err
	}
	// Edge-triggered: setting it again makes the next edge, and nobody has to read it.
	timer := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(o.timer), Pad: timerIndex}
	if err := unix.EpollCtl(o.poll, unix.EPOLL_CTL_ADD, o.timer, &timer); err != nil {
		return err
	}
	began := time.Now()
	for {
		o.sweep(0)
		if len(o.free) == len(o.conns) {
			return nil
		}
		err := ctx.Err()
		if err == nil && time.Since(began) > openTimeout {
			err = errors.New("the server takes no more")
		}
		if err != nil {
			return fmt.Errorf("%d of %d connections stand: %w", len(o.free), len(o.conns), err)
		}
		if err := o.wait(); err != nil {
			return err
		}
	}
}

func (o *loop) close() {
	for i := range o.conns {
		if o.conns[i].state != closed {
			_ = unix.Close(o.conns[i].fd)
		}
	}
	_ = unix.Close(o.timer)
	_ = unix.Close(o.poll)
}

func (o *loop) run(ctx context.Context) error {
	o.result.Start = time.Now()
	for swept := time.Duration(0); ; {
		now := time.Since(o.result.Start)
		if now-swept > tick {
			o.sweep(now)
			swept = now
		}
		o.send(now)
		if ctx.Err() != nil || o.next == o.total && o.inFlight == 0 {
			return nil
		}
		if err := o.arm(); err != nil {
			return err
		}
		if err := o.wait(); err != nil {
			return err
		}
	}
}

// send sends what is due, as far as there are connections.
func (o *loop) send(now time.Duration) {
	for ; o.next < o.total; o.next++ {
		due := o.load.due(o.next)
		if due > now {
			return
		}
		if len(o.free) == 0 {
			if now-due < o.load.Patience {
				return
			}
			o.result.Failed["no connection was free in time"]++
			continue
		}
		i := o.free[0]
		o.free = o.free[:copy(o.free, o.free[1:])]
		c := &o.conns[i]
		c.state, c.due, c.out = busy, due, o.load.Requests[o.next%len(o.load.Requests)]
		c.answer = answer{head: c.answer.head[:0]}
		o.inFlight++
		o.flush(i)
	}
}

// arm sets the timer to the next due time, when there is a connection for it.
func (o *loop) arm() error {
	if o.next == o.total || len(o.free) == 0 {
		return nil
	}
	wait := max(1, o.load.due(o.next)-time.Since(o.result.Start))
	return unix.TimerfdSettime(o.timer, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(wait))}, nil)
}

func (o *loop) wait() error {
	n, err := unix.EpollWait(o.poll, o.events[:], int(tick.Milliseconds()))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("epoll: %w", err)
	}
	for _, e := range o.events[:max(n, 0)] {
		if e.Pad == timerIndex {
			continue
		}
		i := int(e.Pad)
		c := &o.conns[i]
		switch {
		case c.state == closed || c.fd != int(e.Fd): // of a connection that ended a moment ago
		case c.state == connecting:
			o.connected(i)
		case e.Events&unix.EPOLLOUT != 0:
			o.flush(i)
		default:
			o.read(i)
		}
	}
	return nil
}

// sweep opens what is closed and gives up what nobody has patience for any more.
func (o *loop) sweep(now time.Duration) {
	for i := range o.conns {
		switch c := &o.conns[i]; {
		case c.state == closed:
			o.connect(i)
		case c.state == busy && now-c.due > o.load.Patience:
			o.drop(i, "no answer in time")
			o.connect(i)
		}
	}
}

// connect begins to; what becomes of it is seen later, and when it fails the next sweep tries again.
func (o *loop) connect(i int) {
	c := &o.conns[i]
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err = unix.Connect(fd, &o.to); errors.Is(err, unix.EINPROGRESS) || err == nil {
		err = unix.EpollCtl(o.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLOUT, Fd: int32(fd), Pad: int32(i)})
	}
	if err != nil {
		_ = unix.Close(fd)
		return
	}
	c.fd, c.state, c.full = fd, connecting, false
}

func (o *loop) connected(i int) {
	c := &o.conns[i]
	code, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil || code != 0 || o.watch(i, unix.EPOLLIN) != nil {
		o.drop(i, "")
		return
	}
	c.state = idle
	o.free = append(o.free, i)
}

func (o *loop) watch(i int, events uint32) error {
	fd := o.conns[i].fd
	return unix.EpollCtl(o.poll, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd), Pad: int32(i)})
}

// flush writes the request; what the socket does not take waits until it does.
func (o *loop) flush(i int) {
	c := &o.conns[i]
	n, err := unix.Write(c.fd, c.out)
	if errors.Is(err, unix.EAGAIN) {
		n, err = 0, nil
	}
	if err == nil {
		c.out = c.out[n:]
		if full := len(c.out) > 0; full != c.full {
			c.full = full
			events := uint32(unix.EPOLLIN)
			if full {
				events |= unix.EPOLLOUT
			}
			err = o.watch(i, events)
		}
	}
	if err != nil {
		o.drop(i, err.Error())
		o.connect(i)
	}
}

func (o *loop) read(i int) {
	c := &o.conns[i]
	n, err := unix.Read(c.fd, o.buf)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return
	}
	now := time.Since(o.result.Start)
	done := false
	switch {
	case err != nil:
	case n == 0:
		err = errors.New("the server closed the connection")
	case c.state == idle:
		err = errMore
	default:
		done, err = c.answer.take(o.buf[:n])
	}
	if err != nil {
		o.drop(i, err.Error())
		o.connect(i)
		return
	}
	if !done {
		return
	}
	o.result.Answers = append(o.result.Answers, Answer{Due: c.due, Took: now - c.due, Status: c.answer.status})
	o.inFlight--
	c.state = idle
	o.free = append(o.free, i)
	if c.answer.closes {
		o.drop(i, "")
		o.connect(i)
	}
}

// drop closes a connection; the request on it has failed.
func (o *loop) drop(i int, why string) {
	c := &o.conns[i]
	switch c.state {
	case busy:
		o.result.Failed[why]++
		o.inFlight--
	case idle:
		o.free = slices.DeleteFunc(o.free, func(free int) bool { return free == i })
	}
	_ = unix.Close(c.fd)
	c.state = closed
}
