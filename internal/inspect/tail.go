package inspect

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// Tail calls show for the last n of what is wanted among the last n of every partition, then for what is appended, until
// ctx ends; flush comes after every batch. New exchanges come as they are stored, and within a batch by capture time.
func (r *Reader) Tail(ctx context.Context, q Query, n int64, show func(Entry) error, flush func() error) error {
	spans, err := r.spans(ctx, time.Time{}, q.Partition)
	if err != nil {
		return err
	}
	f := &follower{reader: r, choice: newChoice(q), show: show}
	next := make(map[int32]int64, len(spans))
	for p, s := range spans {
		next[p] = s.End
		s.Start = max(s.Start, s.End-n)
		spans[p] = s
	}
	if err := r.scan(ctx, spans, f.take, nil); err != nil {
		return err
	}
	if err := f.showLast(int(n)); err != nil {
		return err
	}
	if err := flush(); err != nil {
		return err
	}
	return f.follow(ctx, next, flush)
}

type follower struct {
	reader  *Reader
	choice  *choice
	waiting []wanted
	decoder traffic.Decoder
	x       traffic.Exchange
	show    func(Entry) error
}

type wanted struct {
	at  time.Time
	rec *topic.Record
}

func (f *follower) take(rec *topic.Record) error {
	at, want, err := f.choice.wants(rec)
	switch {
	case errors.Is(err, traffic.ErrCorrupt):
		f.reader.skip(rec, err)
	case err != nil:
		return err
	case want:
		f.waiting = append(f.waiting, wanted{at, rec})
	}
	return nil
}

// showLast shows the n latest of what waits, and forgets the others.
func (f *follower) showLast(n int) error {
	slices.SortStableFunc(f.waiting, func(a, b wanted) int { return a.at.Compare(b.at) })
	last := f.waiting[max(0, len(f.waiting)-n):]
	f.waiting = nil
	for _, w := range last {
		if err := f.decoder.Decode(w.rec.Value, &f.x); err != nil {
			f.reader.skip(w.rec, err)
			continue
		}
		if err := f.show(Entry{&f.x, w.rec}); err != nil {
			return err
		}
	}
	return nil
}

func (f *follower) follow(ctx context.Context, next map[int32]int64, flush func() error) error {
	r := f.reader
	reader, err := topic.NewAssignReader(topic.AssignConfig{Config: r.cfg, Topic: r.topic, From: next})
	if err != nil {
		return err
	}
	defer reader.Close()
	for {
		batch, err := reader.Poll(ctx)
		if err != nil {
			return ended(ctx, err)
		}
		if err := visitAll(batch, f.take); err != nil {
			return err
		}
		if err := f.showLast(len(f.waiting)); err != nil {
			return err
		}
		if err := flush(); err != nil {
			return err
		}
	}
}
