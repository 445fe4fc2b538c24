package replay

import (
	"context"
	"encoding/hex"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

const (
	// An outcome holds its offset back until it is stored, so it must not wait long for company; but one by one they cost
	// the broker more than the exchanges did.
	resultsLinger = 20 * time.Millisecond

	resultsRing   = 32 << 20 // bytes
	resultsBehind = 8 << 20  // bytes on their way above which nothing more is fired

	retryEvery = 250 * time.Millisecond
	warnEvery  = 10 * time.Second
)

// results stores outcomes and tells the partitions which offsets are done. What could not be stored is tried again for
// as long as the run lasts; it is safe for concurrent use.
type results struct {
	writer  *topic.Writer
	log     *slog.Logger
	relieve func() // called when behind may have changed

	bytes atomic.Int64 // on their way

	mu     sync.Mutex
	again  []*topic.Record
	warned time.Time
}

// ticket is whose offset an outcome holds back. It is its record's Owner.
type ticket struct {
	part   *partition
	offset int64
	firing int
	copies int
}

// parcel is an outcome on its way, in one piece of memory.
type parcel struct {
	ticket
	record topic.Record
}

func newResults(cfg topic.Config, names topic.Names, log *slog.Logger) (*results, error) {
	r := &results{log: log, relieve: func() {}}
	w, err := topic.NewWriter(topic.WriterConfig{
		Config: cfg, Topic: names.Results, Ensure: []topic.Spec{topic.ResultsSpec(names, 0)},
		RingBytes: resultsRing, Linger: resultsLinger, OnDone: r.done,
	})
	if err != nil {
		return nil, err
	}
	r.writer = w
	return r, nil
}

// put stores an outcome. It keeps nothing of o.
func (r *results) put(t ticket, o *traffic.Outcome) {
	rec := record(&t, o)
	r.bytes.Add(size(rec))
	r.writer.Put(rec)
}

// record is an outcome as it is stored, under the key "RUN/LOOP.CLONE/EXCHANGE/ATTEMPT". Key and value share their memory.
func record(t *ticket, o *traffic.Outcome) *topic.Record {
	at := o.FireTime
	if at.IsZero() {
		at = time.Now()
	}
	b := append(make([]byte, 0, 448), o.Run...)
	b = strconv.AppendUint(append(b, '/'), uint64(o.Loop), 10)
	b = strconv.AppendUint(append(b, '.'), uint64(o.Clone), 10)
	b = hex.AppendEncode(append(b, '/'), o.ExchangeID[:])
	b = strconv.AppendUint(append(b, '/'), uint64(o.Attempt), 10)
	n := len(b)
	b = traffic.AppendOutcome(b, o)
	p := &parcel{ticket: *t}
	p.record = topic.Record{Key: b[:n:n], Value: b[n:], Time: at, Owner: &p.ticket}
	return &p.record
}

func size(r *topic.Record) int64 { return int64(len(r.Key) + len(r.Value) + 128) }

func (r *results) behind() bool { return r.bytes.Load() > resultsBehind }

// done is told what became of an outcome. It may be called from within put.
func (r *results) done(rec *topic.Record, res topic.Result) {
	stored := res.State == topic.Acknowledged
	lost := res.Reason == topic.TooLarge
	closing := res.Reason == topic.Shutdown || res.Reason == topic.Closed
	t, _ := rec.Owner.(*ticket) // of every one that was put
	switch {
	case stored:
		t.part.done(t.firing, t.copies, t.offset)
	case lost:
		r.log.Warn("an outcome is too large for its topic and is not stored", "partition", t.part.id, "offset", t.offset)
		t.part.done(t.firing, t.copies, t.offset)
	case closing:
		t.part.abandon(t.firing)
	default:
		r.mu.Lock()
		r.again = append(r.again, rec)
		r.mu.Unlock()
		return
	}
	r.bytes.Add(-size(rec))
	r.relieve()
}

// run stores until ctx ends, then what it still can.
func (r *results) run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(retryEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				r.retry() // gets its last chance, or its reason, in the flush
				return
			case <-tick.C:
				r.retry()
			}
		}
	})
	err := r.writer.Run(ctx)
	wg.Wait()
	r.retry() // closed by now: every outcome comes to its end
	return err
}

func (r *results) retry() {
	r.mu.Lock()
	again := r.again
	r.again = nil
	warn := len(again) > 0 && time.Since(r.warned) > warnEvery
	if warn {
		r.warned = time.Now()
	}
	r.mu.Unlock()
	if warn {
		r.log.Warn("outcomes could not be stored and are tried again; nothing more is fired while too many wait", "outcomes", len(again))
	}
	r.writer.PutAll(again)
}
