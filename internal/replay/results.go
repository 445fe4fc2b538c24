package replay

import (
	"context"
	"fmt"
	"log/slog"
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

	mu      sync.Mutex
	waiting map[*topic.Record]ticket
	again   []*topic.Record
	warned  time.Time
}

// ticket is whose offset an outcome holds back.
type ticket struct {
	part   *partition
	offset int64
	firing int
	copies int
}

func newResults(cfg topic.Config, names topic.Names, log *slog.Logger) (*results, error) {
	r := &results{log: log, waiting: make(map[*topic.Record]ticket), relieve: func() {}}
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
	at := o.FireTime
	if at.IsZero() {
		at = time.Now()
	}
	rec := &topic.Record{
		Key:   fmt.Appendf(make([]byte, 0, 96), "%s/%d.%d/%s/%d", o.Run, o.Loop, o.Clone, o.ExchangeID, o.Attempt),
		Value: traffic.AppendOutcome(make([]byte, 0, 384), o),
		Time:  at,
	}
	r.bytes.Add(size(rec))
	r.mu.Lock()
	r.waiting[rec] = t
	r.mu.Unlock()
	r.writer.Put(rec)
}

func size(r *topic.Record) int64 { return int64(len(r.Key) + len(r.Value) + 128) }

func (r *results) behind() bool { return r.bytes.Load() > resultsBehind }

// done is told what became of an outcome. It may be called from within put.
func (r *results) done(rec *topic.Record, res topic.Result) {
	stored := res.State == topic.Acknowledged
	lost := res.Reason == topic.TooLarge
	closing := res.Reason == topic.Shutdown || res.Reason == topic.Closed
	r.mu.Lock()
	t := r.waiting[rec]
	switch {
	case stored || lost || closing:
		delete(r.waiting, rec)
	default:
		r.again = append(r.again, rec)
	}
	r.mu.Unlock()
	switch {
	case stored:
		t.part.done(t.firing, t.copies, t.offset)
	case lost:
		r.log.Warn("an outcome is too large for its topic and is not stored", "partition", t.part.id, "offset", t.offset)
		t.part.done(t.firing, t.copies, t.offset)
	case closing:
		t.part.abandon(t.firing)
	default:
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
