// Package proxy is the tap in the line: a TCP pass-through that hands on every byte untouched and at once, and reads
// HTTP out of what went by afterwards. Nothing behind it (redaction, Kafka) can make it wait: finished exchanges
// are offered to a Sink that never blocks.
//
// Connections live on event loops (epoll), several thousand to a loop and no goroutine each. A loop reads once, writes
// on, and parses what it has read only when every ready connection has been served. The bytes stand meanwhile where
// they were read, so that forwarding costs no copy and parsing no wake-up.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/wire"
)

// Sink takes what was captured. Its methods are called from the event loops, several at a time when there are several
// loops, and must never block nor wait for a lock that is held during I/O.
type Sink interface {
	// Offer passes on finished exchanges with their Budget (Captured.Bytes each). The slice is the proxy's and valid
	// during the call only; the exchanges are the Sink's from then on.
	Offer(batch []wire.Captured)
	// Shed counts n exchanges that were seen and not kept, by one of wire's losses: "marked" (they carry MarkHeader),
	// "memory" (Budget refused) and so on. Nothing of Budget passes.
	Shed(reason string, n int)
}

// Config of a Proxy. Listen, Upstreams and Sink are required.
type Config struct {
	Listen       string                                         // "host:port", ":8080", "[::1]:0"
	Upstreams    []string                                       // "host:port", taken in turns; a name is resolved again when connecting fails
	Bind         func(address string) (*net.TCPListener, error) // of Listen; nil: a new socket
	Name         string                                         // of the source, for Exchange.Source
	BodyMax      int                                            // bytes kept of each body; 0: none
	ResponseWait time.Duration                                  // from the last request byte; 0: 2 s
	DrainTimeout time.Duration                                  // for open connections after Run's context ended; 0: none
	MarkHeader   string                                         // requests with this field are not captured; "": "Reprise-Replay"
	Loops        int                                            // event loops; 0: one per two cores
	// MaxConnections is how many clients are served at once; further ones wait in the kernel. 0: as many as there are
	// descriptors for.
	MaxConnections int
	Descriptors    Descriptors // two for each connection, and some for each loop; nil: as many as the kernel gives
	ProtocolIn     Protocol    // what every connection must begin with; it is not passed on
	ProtocolOut    Protocol    // what every connection to an upstream begins with
	TLS            TLS         // zero: bytes pass as they are
	Budget         wire.Budget // nil: no bound
	Sink           Sink
	Thread         func(id int) // is told the thread of each event loop, on that thread, before it serves; nil: nobody asks
	Logger         *slog.Logger // nil: discard
}

// Descriptors are file descriptors that connections share with others.
type Descriptors interface {
	// Take takes n, if so many are left; anyway takes them even then, and returns true.
	Take(n int, anyway bool) bool
	Give(n int)
}

// plenty are as many descriptors as the kernel gives.
type plenty struct{}

func (plenty) Take(int, bool) bool { return true }
func (plenty) Give(int)            {}

// How many descriptors things have.
const (
	perConnection = 2 // of the client and to the upstream
	perLoop       = 5 // epoll, eventfd, one kept back, a pipe
)

const (
	defaultResponseWait = 2 * time.Second
	defaultMark         = "Reprise-Replay"
)

// Proxy is a listening pass-through. Listen makes it, Run serves.
type Proxy struct {
	cfg        Config
	addr       net.Addr
	listenFD   int
	upstreams  *upstreams
	loops      []*loop
	stats      counters
	draining   atomic.Bool
	unlistened sync.WaitGroup // loops that still accept

	crypt  *crypt         // nil: no TLS of our own
	desks  []*desk        // for relays
	adopt  sync.Mutex     // of who has three descriptors for a moment
	relays sync.WaitGroup // their goroutines
	apart  sync.Once      // is said
	over   context.Context
	cut    context.CancelFunc // of over: relays have no more time
}

// Listen binds the address; a *fault.Error says why it cannot. A name of the upstream that does not resolve is no
// error: it is tried again.
func Listen(cfg Config) (*Proxy, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.ResponseWait == 0 {
		cfg.ResponseWait = defaultResponseWait
	}
	if cfg.MarkHeader == "" {
		cfg.MarkHeader = defaultMark
	}
	if cfg.Loops <= 0 {
		cfg.Loops = max(1, runtime.NumCPU()/2)
	}
	if cfg.Descriptors == nil {
		cfg.Descriptors = plenty{}
	}
	cfg.BodyMax = max(cfg.BodyMax, 0)
	to, err := newUpstreams(cfg.Upstreams, cfg.Logger)
	if err != nil {
		return nil, err
	}
	crypt, err := newCrypt(cfg.TLS, cfg.Logger)
	if err != nil {
		return nil, err
	}
	if cfg.Bind == nil {
		cfg.Bind = bind
	}
	ln, err := cfg.Bind(cfg.Listen)
	if err != nil {
		return nil, fault.Listening(cfg.Listen, err)
	}
	defer ln.Close() // the loops accept by a duplicate of its descriptor, unknown to the Go runtime's poller
	if err := to.notAt(ln.Addr()); err != nil {
		return nil, err
	}
	p := &Proxy{cfg: cfg, addr: ln.Addr(), listenFD: -1, upstreams: to, crypt: crypt}
	p.over, p.cut = context.WithCancel(context.Background())
	if p.listenFD, err = duplicate(ln); err == nil {
		setOptions(p.listenFD)
		for range cfg.Loops {
			var l *loop
			if l, err = newLoop(p, len(p.loops)); err != nil {
				break
			}
			p.loops = append(p.loops, l)
			cfg.Descriptors.Take(perLoop, true) // for good
			if crypt != nil {
				p.desks = append(p.desks, &desk{ledger: newLedger(p), news: make(chan struct{}, 1)})
			}
		}
	}
	if err != nil {
		p.close()
		return nil, fmt.Errorf("listen on %s: %w", cfg.Listen, err)
	}
	return p, nil
}

func bind(address string) (*net.TCPListener, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return ln.(*net.TCPListener), nil
}

// duplicate gives the loops a descriptor of their own: the listener's belongs to the Go runtime.
func duplicate(ln *net.TCPListener) (fd int, err error) {
	raw, err := ln.SyscallConn()
	if err != nil {
		return -1, err
	}
	ctlErr := raw.Control(func(listening uintptr) {
		fd, err = unix.FcntlInt(listening, unix.F_DUPFD_CLOEXEC, 0)
	})
	return fd, errors.Join(ctlErr, err)
}

// Addr is the bound address.
func (p *Proxy) Addr() net.Addr { return p.addr }

// Run serves until ctx ends, then accepts no more and gives open connections DrainTimeout. Everything captured has been
// offered when it returns. It can be called once.
func (p *Proxy) Run(ctx context.Context) error {
	defer p.close()
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	var resolver, loops sync.WaitGroup
	resolver.Go(func() { p.upstreams.run(serving, p.wake) })
	p.unlistened.Add(len(p.loops))
	for _, l := range p.loops {
		loops.Go(l.run)
	}
	desks := p.openDesks()
	<-ctx.Done()
	p.draining.Store(true)
	cut := time.AfterFunc(max(p.cfg.DrainTimeout, 0), p.cut)
	defer cut.Stop()
	p.wake()
	p.unlistened.Wait()
	p.unlisten() // at once, for who comes while others drain is to go elsewhere
	loops.Wait()
	p.relays.Wait()
	desks()
	stop()
	resolver.Wait()
	return nil
}

// Alive reports whether every event loop has come round since it was asked last, and makes them come round again. One
// goroutine may ask.
func (p *Proxy) Alive() bool {
	alive := true
	for _, l := range p.loops {
		laps := l.laps.Load()
		alive = alive && laps != l.asked
		l.asked = laps
	}
	p.wake()
	return alive
}

// Close gives the address of a Proxy back that does not Run.
func (p *Proxy) Close() { p.close() }

func (p *Proxy) wake() {
	for _, l := range p.loops {
		l.wake()
	}
}

func (p *Proxy) close() {
	p.cut()
	for _, l := range p.loops {
		l.close()
	}
	p.unlisten()
}

func (p *Proxy) unlisten() {
	if p.listenFD >= 0 {
		_ = unix.Close(p.listenFD)
		p.listenFD = -1
	}
}

func (p *Proxy) scheme() string {
	if p.crypt != nil {
		return "https"
	}
	return "http"
}

func (p *Proxy) source() traffic.Source {
	return traffic.Source{Kind: traffic.Proxy, Name: []byte(p.cfg.Name)}
}
