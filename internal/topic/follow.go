package topic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
)

// Follow reads the one partition of a control topic from its beginning and then on, for as long as seen says so: each is given every record,
// seen the offset up to which all are read, first when everything is that was there at the start. The error is about what
// does not pass, or the context's.
func Follow(ctx context.Context, cfg Config, name string, each func(*Record), seen func(next int64) (more bool)) error {
	from, end, err := extent(ctx, cfg, name)
	if err != nil {
		return err
	}
	if from < end {
		// The topic has holes where it was compacted, also at its end: only a bounded reader gets over those.
		err := readUpTo(ctx, cfg, name, from, end, func(b *Batch) bool { b.Each(each); return true })
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	if !seen(end) {
		return nil
	}
	return readUpTo(ctx, cfg, name, end, -1, func(b *Batch) bool {
		b.Each(each)
		last := b.Partitions[len(b.Partitions)-1].Records
		return seen(last[len(last)-1].Offset + 1)
	})
}

// Question is what Ask writes to a control topic, and how it knows the answer. Its functions are called one at a time.
type Question struct {
	Each     func(*Record)                   // is given every record, those that Put wrote too
	Put      func(ctx context.Context) error // called once, when all that was there has been read; its error ends Ask
	Answered func() bool                     // looked at after Put and after whatever comes then
	Wait     time.Duration                   // how long to wait for the answer after Put
}

// Ask reads a control topic, puts a question to those who follow it, and reads on until it is answered. That Wait is over is no
// error: whoever asks knows what is missing.
func Ask(ctx context.Context, cfg Config, name string, q Question) error {
	waiting, enough := context.WithCancel(ctx)
	defer enough()
	var put bool
	var failed error
	err := Follow(waiting, cfg, name, q.Each, func(int64) (more bool) {
		if !put {
			put = true
			if failed = q.Put(ctx); failed != nil {
				return false
			}
			timer := time.AfterFunc(q.Wait, enough)
			context.AfterFunc(waiting, func() { timer.Stop() })
		}
		return !q.Answered()
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case failed != nil:
		return failed
	case waiting.Err() != nil:
		return nil
	}
	return err
}

// extent returns the offsets of a control topic.
func extent(ctx context.Context, cfg Config, name string) (from, end int64, err error) {
	admin, err := NewAdmin(cfg)
	if err != nil {
		return 0, 0, err
	}
	defer admin.Close()
	if err := admin.Ping(ctx); err != nil {
		return 0, 0, err
	}
	window, err := admin.Window(ctx, name, time.Time{})
	if err != nil {
		return 0, 0, err
	}
	if len(window) != 1 {
		return 0, 0, fault.New(fmt.Sprintf("topic %q has %d partitions, want 1", name, len(window)),
			"the order of commands decides, and there is none between partitions",
			"delete the topic and start a tap: it is created as it should be")
	}
	return window[0].Start, window[0].End, nil
}

// readUpTo polls until an error or until take has enough. end -1: for ever.
func readUpTo(ctx context.Context, cfg Config, name string, from, end int64, take func(*Batch) (more bool)) error {
	c := AssignConfig{
		Config: cfg, Topic: name, From: map[int32]int64{0: from},
		Fetch: FetchBounds{MaxBytes: 1 << 20, MaxFetches: 1, MaxRecords: 512},
	}
	if end >= 0 {
		c.To = map[int32]int64{0: end}
	}
	r, err := NewAssignReader(c)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		batch, err := r.Poll(ctx)
		if err != nil {
			return err
		}
		if !take(batch) {
			return nil
		}
	}
}
