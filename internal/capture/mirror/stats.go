package mirror

import (
	"sync/atomic"

	"github.com/reprise-io/reprise/internal/wire"
)

// loss is why a request that came is not kept.
type loss uint8

const (
	lostMarked loss = iota + 1
	lostMemory
	lostMalformed
	lostLargeHeader
	lostAmbiguous
	lostIncomplete
	lostPanic
	losses
)

// String returns the reason under which a Sink counts it.
func (l loss) String() string {
	return [losses]string{
		"", wire.LostMarked.String(), wire.LostMemory.String(), wire.LostMalformed.String(), wire.LostLargeHeader.String(),
		"ambiguous", "incomplete", wire.LostPanic.String(),
	}[l]
}

// cut is what kept a request from arriving whole.
type cut uint8

const (
	cutClosed  cut = iota // the gateway closed the connection
	cutReset              // it reset the connection, or the stream
	cutTimeout            // nothing came for minutes
	cutDrained            // the tap ended
	cutLength             // HTTP/2: another length than was announced
	cutRefused            // HTTP/2: more streams at once than were offered
	cuts
)

// Incomplete is how many requests did not arrive whole, by what kept them from it.
type Incomplete struct{ Closed, Reset, Timeout, Drained, Length, Refused int64 }

// Stats are totals since Listen, but Connections.
type Stats struct {
	Connections int64 // open now
	Accepted    int64
	Refused     int64 // over MaxConnections, closed at once
	Bytes       int64 // from gateways
	Answered    int64 // whole requests
	Unreadable  int64 // connections that brought TLS or something else that is no HTTP
	Panics      int64 // connections that a fault in the parser ended
	Incomplete  Incomplete
}

// counters are Stats while connections are served.
type counters struct {
	connections, accepted, refused, bytes, answered, unreadable, panics atomic.Int64

	cut [cuts]atomic.Int64
}

// Stats returns the counts so far.
func (m *Mirror) Stats() Stats {
	c := &m.stats
	return Stats{
		Connections: c.connections.Load(), Accepted: c.accepted.Load(), Refused: c.refused.Load(), Bytes: c.bytes.Load(),
		Answered: c.answered.Load(), Unreadable: c.unreadable.Load(), Panics: c.panics.Load(),
		Incomplete: Incomplete{
			Closed: c.cut[cutClosed].Load(), Reset: c.cut[cutReset].Load(), Timeout: c.cut[cutTimeout].Load(),
			Drained: c.cut[cutDrained].Load(), Length: c.cut[cutLength].Load(), Refused: c.cut[cutRefused].Load(),
		},
	}
}
