package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/topic"
)

// registry is the control topic as this process knows it: what it has read of it, and its own proposals.
type registry struct {
	cfg    topic.Config
	admin  *topic.Admin
	name   string // of the topic
	writer string // unique to this process

	state control.State
	next  int64 // offset to read on from
}

// catchUp reads what was written since the last call.
func (r *registry) catchUp(ctx context.Context) error {
	window, err := r.admin.Window(ctx, r.name, time.Time{})
	if err != nil {
		return err
	}
	if len(window) != 1 {
		return fault.New(fmt.Sprintf("topic %q has %d partitions, want 1", r.name, len(window)),
			"the order of proposals decides, and there is none between partitions",
			"delete the topic and start again: it is created as it should be")
	}
	from, end := max(r.next, window[0].Start), window[0].End
	if from >= end {
		return nil
	}
	reader, err := topic.NewAssignReader(topic.AssignConfig{
		Config: r.cfg, Topic: r.name, From: map[int32]int64{0: from}, To: map[int32]int64{0: end},
	})
	if err != nil {
		return err
	}
	defer reader.Close()
	for {
		batch, err := reader.Poll(ctx)
		if errors.Is(err, io.EOF) {
			r.next = end
			return nil
		}
		if err != nil {
			return err
		}
		batch.Each(func(rec *topic.Record) { r.state.Apply(rec.Offset, rec.Key, rec.Value) })
	}
}

// propose writes a record and reads the topic up to it and beyond, so that the state says who has won.
func (r *registry) propose(ctx context.Context, record control.Record) error {
	if err := r.write(ctx, record); err != nil {
		return err
	}
	return r.catchUp(ctx)
}

func (r *registry) write(ctx context.Context, record control.Record) error {
	_, err := topic.Produce(ctx, r.cfg, r.name, &topic.Record{Key: []byte(record.Key), Value: record.Value, Time: time.Now()})
	return err
}

func (r *registry) author() control.Author { return control.Author{Writer: r.writer, Time: time.Now()} }

// production returns what the taps reported, as the guard takes it.
func (r *registry) production() []fire.Address {
	known := r.state.Production()
	all := make([]fire.Address, 0, len(known))
	for _, a := range known {
		all = append(all, fire.Address{HostPort: a.HostPort, HostID: a.HostID, Host: a.Host, Origin: a.Origin, Reported: a.Reported})
	}
	return all
}
