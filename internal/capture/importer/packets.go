package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/reprise-io/reprise/internal/capture/passive"
	"github.com/reprise-io/reprise/internal/packet"
	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/wire"
)

const (
	// answerWait is how long, in the time of the packets, a request waits for its answer: a file has patience.
	answerWait = 5 * time.Minute
	// Of what waits, in bytes: from the first on requests go out without their answer, beyond the second they are lost.
	waitingMost = 128 << 20
	waitingEnd  = 512 << 20
	// expireEvery is how many packets go by between two looks at who has waited too long.
	expireEvery = 1 << 10
)

// packets turns a packet capture into exchanges.
type packets struct {
	file    *File
	stats   *Stats
	hash    [16]byte
	index   uint64
	each    func(*traffic.Exchange) error
	reader  *passive.Reader
	waiting waiting
}

// waiting counts the bytes of exchanges that are not finished.
type waiting struct{ bytes int64 }

func (w *waiting) TryAcquire(n int64) bool {
	if w.bytes+n > waitingEnd {
		return false
	}
	w.bytes += n
	return true
}

func (w *waiting) Release(n int64) { w.bytes -= n }

func (f *File) eachPacket(ctx context.Context, stats *Stats, each func(*traffic.Exchange) error) error {
	p := &packets{file: f, stats: stats, each: each}
	var err error
	if p.hash, err = f.survey(ctx, nil); err != nil {
		return err
	}
	content, err := f.content(&f.read)
	if err != nil {
		return err
	}
	p.reader = passive.New(passive.Config{Recorder: wire.RecorderConfig{
		Source: f.source(), TimeSource: traffic.PacketTime, BodyMax: f.bodyMax, ResponseWait: answerWait, Budget: &p.waiting,
	}})
	broken := p.readAll(&contextReader{ctx, content})
	if _, ours := errors.AsType[*packet.BrokenError](broken); broken != nil && !ours {
		return broken
	}
	p.reader.Finish()
	if err := p.take(); err != nil {
		return err
	}
	return p.verdict(broken)
}

// readAll reads to the end of the file. The error is a *packet.BrokenError or the caller's.
func (p *packets) readAll(content io.Reader) error {
	r, err := packet.NewReader(content)
	if err != nil {
		return err
	}
	for f := (packet.Frame{}); ; {
		switch err := r.Next(&f); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		p.stats.Packets++
		p.reader.Packet(f.Link, f.Data, f.Time)
		if p.stats.Packets%expireEvery == 0 {
			p.reader.Recorder.Expire(f.Time)
		}
		if p.waiting.bytes > waitingMost {
			p.reader.Recorder.Expire(time.Unix(math.MaxInt32, 0))
		}
		if p.reader.Recorder.Ready() > 0 {
			if err := p.take(); err != nil {
				return err
			}
		}
	}
}

// take hands over what is finished.
func (p *packets) take() error {
	for _, c := range p.reader.Recorder.Take() {
		p.waiting.Release(c.Bytes)
		p.index++
		c.Exchange.ID = traffic.MakeID(p.hash, p.index)
		if err := p.each(c.Exchange); err != nil {
			return err
		}
	}
	return nil
}

// verdict is the error at the end: nil when the file was whole and all that is HTTP in it was read.
func (p *packets) verdict(broken error) error {
	counts, opaque := &p.reader.Recorder.Counts, &p.reader.Recorder.Counts.Opaque
	p.stats.Gaps, p.stats.Orphans = p.reader.Stats().Gaps, counts.ResponsesForeign
	if b, ok := errors.AsType[*packet.BrokenError](broken); ok {
		return p.file.incomplete(p.stats, fmt.Sprintf("broken off at byte %d, behind %s", b.Offset, counted(b.Packets, "packet")), b.Reason, b)
	}
	if n := counts.Lost[wire.LostMemory]; n > 0 {
		return p.file.incomplete(p.stats, counted(n, "request")+" could not be kept", "too much was unfinished at one time", nil)
	}
	if p.stats.Exchanges == 0 {
		return p.file.incomplete(p.stats, "there is no HTTP request in it", fmt.Sprintf("%s, %s, of these TLS %d, other protocols %d",
			counted(p.stats.Packets, "packet"), counted(p.reader.Stats().Connections, "TCP connection"), opaque[wire.TLS], opaque[wire.NotHTTP]), nil)
	}
	return nil
}
