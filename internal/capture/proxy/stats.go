package proxy

import (
	"sync/atomic"

	"github.com/reprise-io/reprise/internal/wire"
)

// Stats are totals since Listen, but Connections.
type Stats struct {
	Connections int64 // open now (pairs of client and upstream)
	Accepted    int64
	Refused     int64 // the upstream could not be connected to
	Unheard     int64 // clients turned away for want of a good PROXY header
	Handshakes  int64 // of clients that failed
	Pauses      int64 // times that no connection was taken for a moment: descriptors had run out, or MaxConnections was reached
	BytesIn     int64 // from clients
	BytesOut    int64 // from the upstream
	Seen        int64 // exchanges: offered, shed or still open
	Unanswered  int64 // connections with a response that could not be read; their requests still are
	Opaque      int64 // connections that became opaque, for whatever reason
	TLS         int64 // of Opaque
	HTTP2       int64 // of Opaque: HTTP/2 whose frames or header compression cannot be followed
	Upgraded    int64 // of Opaque: 101, or 2xx to CONNECT
	Ambiguous   int64 // of Opaque: ambiguous framing
	Malformed   int64 // of Opaque: HTTP that cannot be read, or too large a header block
	Unknown     int64 // of Opaque: not HTTP
	Panics      int64 // of Opaque: a fault in the parser
}

// counters are Stats while the loops run.
type counters struct {
	connections, accepted, refused, unheard, handshakes, pauses, bytesIn, bytesOut, seen, unanswered atomic.Int64

	opaque [wire.Faults]atomic.Int64
}

// Stats returns the counts so far.
func (p *Proxy) Stats() Stats {
	c := &p.stats
	s := Stats{
		Connections: c.connections.Load(), Accepted: c.accepted.Load(), Refused: c.refused.Load(), Unheard: c.unheard.Load(), Handshakes: c.handshakes.Load(), Pauses: c.pauses.Load(),
		BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(), Seen: c.seen.Load(), Unanswered: c.unanswered.Load(),
		TLS: c.opaque[wire.TLS].Load(), HTTP2: c.opaque[wire.HTTP2].Load(), Upgraded: c.opaque[wire.Switched].Load(),
		Ambiguous: c.opaque[wire.Ambiguous].Load(), Unknown: c.opaque[wire.NotHTTP].Load(), Panics: c.opaque[0].Load(),
		Malformed: c.opaque[wire.Malformed].Load() + c.opaque[wire.TooLarge].Load(),
	}
	for i := range c.opaque {
		s.Opaque += c.opaque[i].Load()
	}
	return s
}

// countBytes adds n bytes that a side sent.
func (p *Proxy) countBytes(side, n int) {
	if side == client {
		p.stats.bytesIn.Add(int64(n))
	} else {
		p.stats.bytesOut.Add(int64(n))
	}
}
