package replay

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/topic"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// registry is the control topic as this process knows it: what it has read of it, and its own proposals.
type registry struct {
	cfg    topic.Config
	admin  *topic.Admin
	name   string // of the topic
	writer string // unique to this process

	mu    sync.Mutex
	state control.State
	next  int64 // offset to read on from
}

// view lets look at what is known. It must not keep anything of it.
func (r *registry) view(look func(*control.State)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	look(&r.state)
}

// apply takes a record of the topic.
func (r *registry) apply(rec *topic.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Apply(rec.Offset, rec.Time, rec.Key, rec.Value)
	r.next = max(r.next, rec.Offset+1)
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
	r.mu.Lock()
	from, end := max(r.next, window[0].Start), window[0].End
	r.mu.Unlock()
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
			r.mu.Lock()
			r.next = max(r.next, end)
			r.mu.Unlock()
			return nil
		}
		if err != nil {
			return err
		}
		batch.Each(r.apply)
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
	var known []control.Address
	r.view(func(s *control.State) { known = s.Production() })
	all := make([]fire.Address, 0, len(known))
	for _, a := range known {
		all = append(all, fire.Address{HostPort: a.HostPort, HostID: a.HostID, Host: a.Host, Origin: a.Origin, Reported: a.Reported})
	}
	return all
}

// responseWait returns the longest --response-wait of the taps.
func (r *registry) responseWait() (wait time.Duration) {
	r.view(func(s *control.State) { wait = s.MaxResponseWait() })
	return wait
}

// generation returns a copy of what is known of one generation of a run, nil when that is nothing.
func (r *registry) generation(run string, number uint32) (g *control.Generation) {
	r.view(func(s *control.State) {
		if known := s.Run(run).Generation(number); known != nil {
			c := *known
			g = &c
		}
	})
	return g
}

// orders returns the commands for one generation of a run.
func (r *registry) orders(run string, number uint32) (orders []control.Order) {
	r.view(func(s *control.State) { orders = slices.Clone(s.Run(run).Generation(number).Orders()) })
	return orders
}

// replicas returns the processes that have worked on one generation of a run.
func (r *registry) replicas(run string, number uint32) (all []*control.Replica) {
	r.view(func(s *control.State) { all = s.Run(run).Generation(number).Replicas() })
	return all
}

// tallies returns what the processes that have worked on one generation of a run have told of what they sent, by writer.
func (r *registry) tallies(run string, number uint32) (all map[string]*reprisev1.RunTally) {
	r.view(func(s *control.State) { all = s.Run(run).Generation(number).Tallies() })
	return all
}

// writer names this process in its proposals; no other has the same name.
func writer() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("replayer %s pid %d %s", host, os.Getpid(), hex.EncodeToString(b[:]))
}
