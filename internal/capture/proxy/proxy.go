// Package proxy is the tap in the line: a TCP pass-through that hands on every byte untouched and at once, and reads
// HTTP/1.x out of what went by afterwards. Nothing behind it (redaction, Kafka) can make it wait: finished exchanges
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
	"syscall"
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

// Config of a Proxy. Listen, Upstream and Sink are required.
type Config struct {
	Listen       string        // "host:port", ":8080", "[::1]:0"
	Upstream     string        // "host:port"; the name is resolved again when connecting fails
	Name         string        // of the source, for Exchange.Source
	BodyMax      int           // bytes kept of each body
	ResponseWait time.Duration // from the last request byte; 0: 2 s
	DrainTimeout time.Duration // for open connections after Run's context ended
	MarkHeader   string        // requests with this field are not captured; "": "Reprise-Replay"
	Loops        int           // event loops; 0: one per two cores
	Budget       wire.Budget   // nil: no bound
	Sink         Sink
	Logger       *slog.Logger // nil: discard
}

// Stats are totals since Listen, but Connections.
type Stats struct {
	Connections int64 // open now (pairs of client and upstream)
	Accepted    int64
	Refused     int64 // the upstream could not be connected to
	BytesIn     int64 // from clients
	BytesOut    int64 // from the upstream
	Opaque      int64 // connections that became opaque, for whatever reason
	Panics      int64 // of Opaque: a fault in the parser
}

const (
	defaultResponseWait = 2 * time.Second
	defaultMark         = "Reprise-Replay"
)

// Proxy is a listening pass-through. Listen makes it, Run serves.
type Proxy struct {
	cfg      Config
	listener net.Listener // owns the address; the loops accept by a duplicate of its descriptor
	listenFD int
	upstream *resolver
	loops    []*loop
	stats    counters
	draining atomic.Bool
}

// counters are Stats while the loops run.
type counters struct {
	connections, accepted, refused, bytesIn, bytesOut, opaque, panics atomic.Int64
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
	host, port, err := net.SplitHostPort(cfg.Upstream)
	if err != nil {
		return nil, fault.BadUsage(fmt.Sprintf("bad upstream %q", cfg.Upstream), err.Error(), "HOST:PORT, such as 127.0.0.1:9000")
	}
	ln, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, listenFault(cfg.Listen, err)
	}
	p := &Proxy{cfg: cfg, listener: ln, upstream: newResolver(host, port, cfg.Logger)}
	if p.listenFD, err = duplicate(ln.(*net.TCPListener)); err == nil {
		for range cfg.Loops {
			var l *loop
			if l, err = newLoop(p, len(p.loops)); err != nil {
				break
			}
			p.loops = append(p.loops, l)
		}
	}
	if err != nil {
		p.close()
		return nil, fmt.Errorf("listen on %s: %w", cfg.Listen, err)
	}
	return p, nil
}

func listenFault(address string, err error) error {
	f := &fault.Error{
		What: "cannot listen on " + address, Cause: err.Error(), Try: "another --listen address", Code: fault.Usage, Err: err,
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		f.Code, f.Cause, f.Try = fault.Failure, "the port is in use", "another --listen port, or end what uses it (ss -ltnp shows it)"
	case errors.Is(err, syscall.EACCES):
		f.Cause, f.Try = "ports below 1024 need CAP_NET_BIND_SERVICE", "a port above 1023, or setcap cap_net_bind_service+ep tap"
	}
	return f
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
func (p *Proxy) Addr() net.Addr { return p.listener.Addr() }

// Stats returns the counts so far.
func (p *Proxy) Stats() Stats {
	c := &p.stats
	return Stats{
		Connections: c.connections.Load(), Accepted: c.accepted.Load(), Refused: c.refused.Load(),
		BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(), Opaque: c.opaque.Load(), Panics: c.panics.Load(),
	}
}

// Run serves until ctx ends, then accepts no more and gives open connections DrainTimeout. Everything captured has been
// offered when it returns.
func (p *Proxy) Run(ctx context.Context) error {
	defer p.close()
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { p.upstream.run(serving) })
	var loops sync.WaitGroup
	for _, l := range p.loops {
		loops.Go(l.run)
	}
	<-ctx.Done()
	p.draining.Store(true)
	p.wake()
	loops.Wait()
	stop()
	wg.Wait()
	return nil
}

func (p *Proxy) wake() {
	for _, l := range p.loops {
		l.wake()
	}
}

func (p *Proxy) close() {
	for _, l := range p.loops {
		l.close()
	}
	if p.listenFD > 0 {
		_ = unix.Close(p.listenFD)
		p.listenFD = -1
	}
	_ = p.listener.Close()
}

func (p *Proxy) source() traffic.Source {
	return traffic.Source{Kind: traffic.Proxy, Name: []byte(p.cfg.Name)}
}
