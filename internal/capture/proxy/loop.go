package proxy

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	arenaSize   = 1 << 20 // what one batch can read before it is parsed
	eventsBatch = 256

	// clockEvery is for how many events, of some 10 µs each, the clock is read once. What they bring came before they were
	// told, rather than when their turn is.
	clockEvery = 16
)

// What epoll's data says beside a connection's slot and side.
const (
	listenData = -1
	wakeData   = -2
)

// loop serves its share of the connections. Everything in it belongs to the goroutine of run.
type loop struct {
	ledger
	epoll  int
	wakeFD int
	events []unix.EpollEvent

	pipe    pipe // for what is not read
	arena   []byte
	used    int
	glances []glance

	conns      []*conn // by slot
	free       []int32
	held       []*conn // clients that wait for the upstream's name
	greeting   []*conn // whose PROXY header is waited for, with those whose has come since
	spareFD    int     // kept back for a connection to the upstream; negative: none
	open       int
	generation int32
	serial     uint64
	prefix     []byte // of connection ids

	laps  atomic.Uint64
	asked uint64 // laps when Alive was called last

	listening   bool
	full        bool      // no place for another client
	acceptAgain time.Time // when to listen again; zero: nothing keeps it from it
	complained  time.Time
	deadline    time.Time // of draining; zero: not draining
}

// glance is what was seen of a connection while it was served, to be read out afterwards.
type glance struct {
	conn *conn
	kind kind
	data []byte // in the arena
	at   time.Time
}

type kind uint8

const (
	clientData kind = iota
	serverData
	clientEnd
	serverEnd
	over
	abortedByClient
)

func dataOf(side int) kind { return clientData + kind(side) }
func endOf(side int) kind  { return clientEnd + kind(side) }

func newLoop(p *Proxy, n int) (*loop, error) {
	l := &loop{
		ledger: newLedger(p), epoll: -1, wakeFD: -1, spareFD: -1, pipe: pipe{-1, -1}, events: make([]unix.EpollEvent, eventsBatch), arena: make([]byte, arenaSize),
	}
	var start [6]byte
	_, _ = rand.Read(start[:]) // never fails
	l.prefix = fmt.Appendf(hex.AppendEncode(nil, start[:]), "-%d-", n)
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll_create: %w", err)
	}
	if l.wakeFD, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		l.close()
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	if l.pipe, err = newPipe(); err != nil {
		p.cfg.Logger.Warn("no pipe: what is not read is passed on by copying", "error", err)
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeData}
	if err = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, l.wakeFD, &event); err != nil {
		l.close()
		return nil, fmt.Errorf("epoll_ctl: %w", err)
	}
	return l, nil
}

func (l *loop) close() {
	l.pipe.close()
	for _, fd := range []*int{&l.epoll, &l.wakeFD, &l.spareFD} {
		if *fd >= 0 {
			_ = unix.Close(*fd)
			*fd = -1
		}
	}
}

// wake may be called from any goroutine.
func (l *loop) wake() {
	_, _ = unix.Write(l.wakeFD, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// run serves until the proxy drains and no connection is left, or the time for that is over.
func (l *loop) run() {
	if told := l.p.cfg.Thread; told != nil {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		told(unix.Gettid())
	}
	l.listen()
	now := time.Now()
	for {
		l.laps.Add(1)
		n, err := unix.EpollWait(l.epoll, l.events, l.timeout(now))
		if err != nil && err != unix.EINTR {
			l.p.cfg.Logger.Error("epoll_wait failed", "error", err)
			n = 0
		}
		now = time.Now()
		for i := range max(n, 0) {
			if i%clockEvery == clockEvery-1 {
				now = time.Now()
			}
			l.dispatch(&l.events[i], now)
		}
		l.hurry(now)
		l.release(now)
		l.readOut()
		if !l.acceptAgain.IsZero() && !now.Before(l.acceptAgain) {
			l.acceptAgain = time.Time{}
			l.listen()
		}
		if l.p.draining.Load() && l.drained(now) {
			l.offer(now)
			return
		}
		l.hand(now)
	}
}

func (l *loop) dispatch(event *unix.EpollEvent, now time.Time) {
	switch event.Fd {
	case listenData:
		l.accept(now)
	case wakeData:
		var count [8]byte
		_, _ = unix.Read(l.wakeFD, count[:])
	default:
		c := l.conns[event.Fd>>1]
		if c != nil && c.generation == event.Pad { // else it was closed earlier in this batch
			l.ready(c, int(event.Fd&1), event.Events, now)
		}
	}
}

// timeout is how long there is nothing to do unless something happens, in ms as epoll wants it.
func (l *loop) timeout(now time.Time) int {
	next := l.recorder.Expire(now)
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if l.recorder.Ready() > 0 {
		sooner(l.offered.Add(offerAfter))
	}
	sooner(l.acceptAgain)
	sooner(l.deadline)
	if len(l.greeting) > 0 {
		sooner(l.greeting[0].patience)
	}
	if len(l.held) > 0 {
		sooner(l.held[0].patience)
	}
	if next.IsZero() {
		return -1
	}
	return int(max(0, next.Sub(now)+time.Millisecond-1) / time.Millisecond)
}

// listen takes new connections; several loops share the listener without all waking for one connection.
func (l *loop) listen() {
	if l.listening || l.p.draining.Load() {
		return
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLEXCLUSIVE, Fd: listenData}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, l.p.listenFD, &event); err != nil {
		l.p.cfg.Logger.Error("cannot listen", "error", err)
		return
	}
	l.listening = true
}

func (l *loop) unlisten() {
	if l.listening {
		_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, l.p.listenFD, nil)
		l.listening = false
	}
}

// drained reports that the loop may end. When the time for draining is over it closes what is left.
func (l *loop) drained(now time.Time) bool {
	if l.deadline.IsZero() {
		l.deadline = now.Add(max(l.p.cfg.DrainTimeout, 0))
		for l.accept(now) { // whom the kernel has let in is served
		}
		l.unlisten()
		l.acceptAgain = time.Time{}
		l.p.unlistened.Done()
	}
	if l.open > 0 && now.Before(l.deadline) {
		return false
	}
	l.readOut()
	for _, c := range l.conns {
		switch {
		case c == nil:
		case c.dialog.Idle():
			l.drop(c, false)
		default: // cut off inside a message: an end would look like the message's
			l.abort(c, server)
		}
	}
	l.readOut()
	return true
}

// room is where the next chunk is read to.
func (l *loop) room() []byte {
	if len(l.arena)-l.used < chunk {
		l.readOut()
	}
	return l.arena[l.used : l.used+chunk : l.used+chunk]
}

// keep keeps the first n bytes of room until they have been read out.
func (l *loop) keep(n int) []byte {
	data := l.arena[l.used : l.used+n : l.used+n]
	l.used += n
	return data
}

// note remembers what to read out later.
func (l *loop) note(c *conn, k kind, data []byte, at time.Time) {
	if k <= serverData {
		l.p.countBytes(int(k), len(data))
	}
	if c.opaque && data != nil {
		l.used -= len(data) // the last that was kept
		return
	}
	l.glances = append(l.glances, glance{c, k, data, at})
}

// readOut parses what this batch has seen, in its order.
func (l *loop) readOut() {
	for i := range l.glances {
		g := &l.glances[i]
		d := &g.conn.dialog
		l.read(d, g.kind, g.data, g.at)
		g.conn.opaque = d.Opaque()
		*g = glance{}
	}
	l.glances, l.used = l.glances[:0], 0
}
