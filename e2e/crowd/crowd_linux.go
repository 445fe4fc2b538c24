package crowd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/reprise-io/reprise/internal/meter"
)

// Options describe a crowd. Addr and Rate must be given.
type Options struct {
	Addr        string
	Rate        float64 // requests a second, arriving as a Poisson process
	Connections int     // 0: 128
	Seed        uint64
}

// Crowd asks until it is stopped.
type Crowd struct {
	o       Options
	kinds   []kind
	idle    chan *client
	stopped atomic.Bool
	pacing  sync.WaitGroup
	asking  sync.WaitGroup

	mu    sync.Mutex
	tally Tally
}

// Tally is what a crowd got.
type Tally struct {
	Answers []Answer // whole and byte for byte right, in the order of their ends
	Failed  int      // without a whole answer, or with another than the origin's
	First   error    // of Failed
}

// Answer is one answer.
type Answer struct {
	Due  time.Time     // when the request was to be sent
	Took time.Duration // from then to the answer's last byte
}

const (
	patience = 20 * time.Second // for an answer; then it has failed
	// requests that a client makes on a connection before it comes again on another one
	leastTurns, moreTurns = 100, 300
)

// Start opens the connections and starts asking.
func Start(o Options) (*Crowd, error) {
	if o.Connections == 0 {
		o.Connections = 128
	}
	if o.Rate <= 0 {
		return nil, fmt.Errorf("rate %g: must be above 0", o.Rate)
	}
	c := &Crowd{o: o, kinds: messages(), idle: make(chan *client, o.Connections)}
	clients := make([]*client, o.Connections)
	for i := range clients {
		clients[i] = &client{crowd: c, asked: make(chan ask, 1), random: rand.New(rand.NewPCG(o.Seed, uint64(i)))}
		if err := clients[i].dial(); err != nil {
			for _, k := range clients[:i] {
				_ = k.conn.Close()
			}
			return nil, err
		}
	}
	for _, k := range clients {
		c.idle <- k
		c.asking.Go(k.run)
	}
	c.pacing.Go(c.pace)
	return c, nil
}

// Take returns what came since it was called last.
func (c *Crowd) Take() Tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tally
	c.tally = Tally{Answers: make([]Answer, 0, len(t.Answers))}
	return t
}

// Stop asks no more, waits for the answers that are due, and returns what came since the last Take.
func (c *Crowd) Stop() Tally {
	if c.stopped.CompareAndSwap(false, true) {
		c.pacing.Wait()
		for range c.o.Connections {
			close((<-c.idle).asked)
		}
		c.asking.Wait()
	}
	return c.Take()
}

// pace hands out what is due, each request at its time. It writes itself: a goroutine that had to be woken for that would be late.
func (c *Crowd) pace() {
	runtime.LockOSThread() // for good: the thread ends with it, as it is not like others
	_ = meter.Prompt()     // less of what it waits for a core counts as the tap's; no error where that cannot be
	random := rand.New(rand.NewPCG(c.o.Seed, 1<<32))
	due := time.Now()
	var buf []byte
	for number := uint64(0); !c.stopped.Load(); number++ {
		due = due.Add(time.Duration(random.ExpFloat64() / c.o.Rate * float64(time.Second)))
		for wait := time.Until(due); wait > 0; wait = time.Until(due) { // a signal ends a sleep
			interval := unix.NsecToTimespec(int64(wait))
			_ = unix.Nanosleep(&interval, nil)
		}
		k := &c.kinds[random.IntN(kinds)]
		buf = numbered(buf, k.request, k.inRequest, number)
		client := <-c.idle
		_ = client.conn.SetDeadline(time.Now().Add(patience))
		_, err := client.conn.Write(buf)
		client.asked <- ask{k, number, due, err}
	}
}

// ask is a request on its way.
type ask struct {
	*kind
	number uint64
	due    time.Time
	err    error // of writing it
}

// client is one connection at a time.
type client struct {
	crowd     *Crowd
	conn      net.Conn
	turns     int // before the next connection
	asked     chan ask
	random    *rand.Rand
	got, want []byte
}

func (k *client) run() {
	defer func() { _ = k.conn.Close() }()
	for a := range k.asked {
		err := k.read(a)
		took := time.Since(a.due)
		c := k.crowd
		c.mu.Lock()
		if err == nil {
			c.tally.Answers = append(c.tally.Answers, Answer{a.due, took})
		} else {
			if c.tally.Failed++; c.tally.First == nil {
				c.tally.First = fmt.Errorf("request %d, due %s, on %s, after %s: %w", a.number, a.due.Format(time.StampMilli), k.conn.LocalAddr(), took, err)
			}
		}
		c.mu.Unlock()
		if k.turns--; err != nil || k.turns <= 0 {
			k.again()
		}
		c.idle <- k
	}
}

var errOther = errors.New("not the origin's answer")

func (k *client) read(a ask) error {
	if a.err != nil {
		return a.err
	}
	k.want = numbered(k.want, a.answer, a.inAnswer, a.number)
	k.got = append(k.got[:0], k.want...)
	n, err := io.ReadFull(k.conn, k.got)
	if !bytes.Equal(k.got[:n], k.want[:n]) {
		return fmt.Errorf("%w: %.80q", errOther, k.got[:n])
	}
	if err != nil {
		return fmt.Errorf("after %d bytes of %d: %w", n, len(k.want), err)
	}
	return nil
}

// again takes another connection. Where none is had the client comes back without: its next request fails.
func (k *client) again() {
	_ = k.conn.Close()
	for range 100 {
		if k.dial() == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (k *client) dial() error {
	conn, err := net.DialTimeout("tcp", k.crowd.o.Addr, patience)
	if err != nil {
		return err
	}
	k.conn, k.turns = conn, leastTurns+k.random.IntN(moreTurns)
	return nil
}
