// Package proxy is the tap in the line: a TCP pass-through that hands on every byte untouched and at once, and reads
// HTTP/1.x out of what went by afterwards. Nothing behind it (redaction, Kafka) can make it wait: finished exchanges
// are offered to a Sink that never blocks.
package proxy

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/reprise-io/reprise/internal/traffic"
)

// Captured is a finished exchange with the bytes of Budget that it holds. Whoever takes it over from Offer releases
// exactly Bytes when done with the exchange, however much its size has changed by then.
type Captured struct {
	Exchange *traffic.Exchange
	Bytes    int64
}

// Sink takes what was captured. Its methods are called from the event loops, several at a time when there are several
// loops, and must never block nor wait for a lock that is held during I/O.
type Sink interface {
	// Offer passes on finished exchanges with their Budget (Captured.Bytes each). The slice is the proxy's and valid
	// during the call only; the exchanges are the Sink's from then on.
	Offer(batch []Captured)
	// Shed counts n exchanges that were seen and not kept. Reasons: "marked" (carries MarkHeader), "memory" (Budget
	// refused), "malformed", "header_too_large", "panic". Nothing of Budget passes.
	Shed(reason string, n int)
}

// Budget bounds the bytes that captures hold. Its methods must be quick and safe for several goroutines.
type Budget interface {
	TryAcquire(n int64) bool
	Release(n int64)
}

// Config of a Proxy. Listen, Upstream and Sink are required.
type Config struct {
	Listen       string        // "host:port", ":8080", "[::1]:0"
	Upstream     string        // "host:port"; the name is resolved again when connecting fails
	Name         string        // of the source, for Exchange.Source
	BodyMax      int           // bytes kept of each body; 0: 256 KiB; negative: none
	ResponseWait time.Duration // from the last request byte; 0: 2 s
	DrainTimeout time.Duration // for open connections after Run's context ended; 0: 10 s; negative: none
	MarkHeader   string        // requests with this field are not captured; "": "Reprise-Replay"
	Loops        int           // event loops; 0: one per two cores
	Budget       Budget        // nil: no bound
	Sink         Sink
	Logger       *slog.Logger // nil: discard
}

// Stats are totals since Listen, but Connections.
type Stats struct {
	Connections int64 // open now (pairs of client and upstream)
	Accepted    int64
	Refused     int64 // the upstream could not be connected to
	BytesIn     int64 // from clients
	BytesOut    int64 // to clients
	Seen        int64 // exchanges: offered, shed or still open
	Opaque      int64 // connections that became opaque, for whatever reason
	TLS         int64 // of Opaque
	HTTP2       int64 // of Opaque
	Upgraded    int64 // of Opaque: 101 or CONNECT
	Ambiguous   int64 // of Opaque: ambiguous framing
	Malformed   int64 // of Opaque: HTTP that cannot be read, or too large a header block
	Unknown     int64 // of Opaque: not HTTP
	Panics      int64 // of Opaque: the capture of that connection was given up
}

// Proxy is a listening pass-through. Listen makes it, Run serves.
type Proxy struct {
	cfg Config
	ln  net.Listener
}

// Listen binds the address; a *fault.Error says why it cannot.
func Listen(cfg Config) (*Proxy, error) { return &Proxy{cfg: cfg}, nil }

// Run serves until ctx ends, then accepts no more and gives open connections DrainTimeout. It returns nil after that.
func (p *Proxy) Run(ctx context.Context) error { return nil }

// Addr is the bound address.
func (p *Proxy) Addr() net.Addr { return nil }

// Stats returns the counts so far.
func (p *Proxy) Stats() Stats { return Stats{} }
