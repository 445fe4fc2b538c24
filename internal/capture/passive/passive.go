// Package passive reads HTTP out of packets: of a capture file or of a network interface. It joins packet.Assembler and
// wire.Recorder; what it yields is to be taken after every packet.
package passive

import (
	"time"

	"github.com/reprise-io/reprise/internal/packet"
	"github.com/reprise-io/reprise/internal/wire"
)

// Config of a Reader.
type Config struct {
	Recorder wire.RecorderConfig
	Limits   packet.Limits
	Prefix   string                     // of connection ids, which are unique within a capture
	Wanted   func(*packet.Segment) bool // which segments are read; nil: all
}

// Reader turns packets into exchanges. It belongs to one goroutine.
type Reader struct {
	Recorder *wire.Recorder

	decoder   packet.Decoder
	assembler *packet.Assembler
	segment   packet.Segment
	prefix    string
	wanted    func(*packet.Segment) bool
	serial    uint64
}

// New returns a Reader that has seen nothing.
func New(cfg Config) *Reader {
	r := &Reader{Recorder: wire.NewRecorder(cfg.Recorder), prefix: cfg.Prefix, wanted: cfg.Wanted}
	r.assembler = packet.NewAssembler(r, cfg.Limits)
	return r
}

// Packet reads a packet; its data may be changed afterwards.
func (r *Reader) Packet(link packet.LinkType, data []byte, at time.Time) {
	if r.decoder.Decode(link, data, at, &r.segment) && (r.wanted == nil || r.wanted(&r.segment)) {
		r.assembler.Segment(&r.segment, at)
	}
}

// Tick tells the time of packets when there are none.
func (r *Reader) Tick(at time.Time) { r.assembler.Tick(at) }

// Finish ends all connections: the capture is over.
func (r *Reader) Finish() { r.assembler.Finish() }

// Counts are the Decoder's.
func (r *Reader) Counts() packet.Counts { return r.decoder.Counts }

// Stats are the Assembler's.
func (r *Reader) Stats() packet.Stats { return r.assembler.Stats }

// Connections returns how many are followed.
func (r *Reader) Connections() int { return r.assembler.Following() }
