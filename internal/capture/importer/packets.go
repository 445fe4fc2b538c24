package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/reprise-io/reprise/internal/capture/passive"
	"github.com/reprise-io/reprise/internal/fault"
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

// Batches of exchanges go from the goroutine that reads to the one that hands over.
const (
	batchCount = 256
	batchBytes = 1 << 20
	batches    = 2 // that wait
)

// WholePackets is what to do about a capture that kept only the beginnings of packets.
const WholePackets = "capture whole packets: tcpdump -s 0 -w FILE"

// UnreadRequests is why a request of a packet capture is counted as Broken.
const UnreadRequests = "malformed, or with a header of more than 64 KiB"

// packets turns a packet capture into exchanges.
type packets struct {
	file    *File
	stats   *Stats
	hash    [16]byte
	packets int64
	cut     int64 // packets that are not whole
	longest int   // of these, in bytes
	index   uint64
	reader  *passive.Reader
	waiting waiting
	batch   []*traffic.Exchange
	bytes   int64 // of batch
	out     chan []*traffic.Exchange
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
	p := &packets{file: f, stats: stats, out: make(chan []*traffic.Exchange, batches)}
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
	reading, stop := context.WithCancel(ctx)
	defer stop()
	read := make(chan error, 1)
	go func() {
		defer close(p.out)
		read <- p.run(reading, &contextReader{reading, content})
	}()
	var failed error
	for batch := range p.out {
		for _, x := range batch {
			if failed == nil {
				failed = each(x)
			}
		}
		if failed != nil {
			stop()
		}
	}
	broken := <-read
	if failed != nil {
		return failed
	}
	if _, ours := errors.AsType[*packet.BrokenError](broken); broken != nil && !ours {
		return broken
	}
	return p.verdict(broken)
}

// run reads the file and puts what it finds into out. The error is a *packet.BrokenError or that of ctx.
func (p *packets) run(ctx context.Context, content io.Reader) error {
	broken := p.readAll(ctx, content)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	p.reader.Finish()
	p.take()
	p.send(ctx)
	return broken
}

func (p *packets) readAll(ctx context.Context, content io.Reader) error {
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
		p.packets++
		if f.Time.IsZero() { // the capture does not say; what goes on without a time keeps this one, so that the order counts
			f.Time = p.file.modTime
		}
		if len(f.Data) < f.Length {
			p.cut++
			p.longest = max(p.longest, len(f.Data))
		}
		p.reader.Packet(f.Link, f.Data, f.Time)
		if p.packets%expireEvery == 0 {
			p.reader.Recorder.Expire(f.Time)
		}
		if p.waiting.bytes > waitingMost {
			p.reader.Recorder.Expire(time.Unix(math.MaxInt32, 0))
		}
		if p.reader.Recorder.Ready() > 0 {
			p.take()
			if (len(p.batch) >= batchCount || p.bytes >= batchBytes) && !p.send(ctx) {
				return context.Cause(ctx)
			}
		}
	}
}

// take puts what is finished into the batch.
func (p *packets) take() {
	for _, c := range p.reader.Recorder.Take() {
		p.waiting.Release(c.Bytes)
		p.index++
		c.Exchange.ID = traffic.MakeID(p.hash, p.index)
		p.batch = append(p.batch, c.Exchange)
		p.bytes += c.Bytes
	}
}

// send hands the batch over; false when nobody takes it any more.
func (p *packets) send(ctx context.Context) bool {
	select {
	case p.out <- p.batch:
		p.batch, p.bytes = make([]*traffic.Exchange, 0, batchCount), 0
		return true
	case <-ctx.Done():
		return false
	}
}

// verdict is the error at the end: nil when the file was whole and all that is HTTP in it was read.
func (p *packets) verdict(broken error) error {
	counts, opaque := &p.reader.Recorder.Counts, &p.reader.Recorder.Counts.Opaque
	p.stats.Packets, p.stats.Cut = p.packets, p.cut
	p.stats.Gaps, p.stats.Orphans = p.reader.Stats().Gaps, counts.ResponsesForeign
	p.stats.Broken = counts.Lost[wire.LostMalformed] + counts.Lost[wire.LostLargeHeader] + counts.Lost[wire.LostStreams] + counts.Lost[wire.LostPanic]
	if b, ok := errors.AsType[*packet.BrokenError](broken); ok {
		return p.file.incomplete(p.stats, fmt.Sprintf("broken off at byte %d, behind %s", b.Offset, counted(b.Packets, "packet")), b.Reason, b)
	}
	if n := counts.Lost[wire.LostMemory]; n > 0 {
		return p.file.incomplete(p.stats, counted(n, "request")+" could not be kept", "too much was unfinished at one time", nil)
	}
	if p.stats.Exchanges > 0 {
		return nil
	}
	const what = "there is no HTTP request in it"
	cause := fmt.Sprintf("%s, %s, of these TLS %d, other protocols %d",
		counted(p.packets, "packet"), counted(p.reader.Stats().Connections, "TCP connection"), opaque[wire.TLS], opaque[wire.NotHTTP])
	if p.stats.Broken > 0 {
		cause += fmt.Sprintf("; %s could not be read: %s", counted(p.stats.Broken, "request"), UnreadRequests)
	}
	if p.cut == 0 {
		return p.file.incomplete(p.stats, what, cause, nil)
	}
	return fault.New(p.file.name+": "+what,
		fmt.Sprintf("%s; %d of the packets are cut: the capture kept at most %d bytes of each (snaplen)", cause, p.cut, p.longest), WholePackets)
}
