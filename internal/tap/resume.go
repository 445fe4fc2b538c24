package tap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// recall knows which exchanges of a file are in the topic already, by their ids. They need not be the first ones: an
// import that was killed leaves each partition at another place. It holds some bits for each exchange of one file.
type recall struct {
	config topic.Config
	topic  string
	file   [16]byte
	known  bool
	stored map[uint64]uint64 // 64 sequence numbers a word
}

// has reports whether the exchange is stored; at the first one of a file it reads the ids in the topic.
func (r *recall) has(ctx context.Context, id traffic.ID) (bool, error) {
	if !r.known || r.file != id.Tap() {
		r.file, r.known, r.stored = id.Tap(), true, make(map[uint64]uint64)
		if err := r.read(ctx); err != nil {
			return false, err
		}
	}
	return r.stored[id.Seq()>>6]&(1<<(id.Seq()&63)) != 0, nil
}

func (r *recall) read(ctx context.Context) error {
	admin, err := topic.NewAdmin(r.config)
	if err != nil {
		return err
	}
	defer admin.Close()
	spans, err := admin.Window(ctx, r.topic, time.Time{})
	if err != nil {
		return err
	}
	from, to := make(map[int32]int64), make(map[int32]int64)
	for p, s := range spans {
		from[p], to[p] = s.Start, s.End
	}
	reader, err := topic.NewAssignReader(topic.AssignConfig{Config: r.config, Topic: r.topic, From: from, To: to})
	if err != nil {
		return err
	}
	defer reader.Close()
	for {
		batch, err := reader.Poll(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return &fault.Error{
				What: fmt.Sprintf("cannot read what %s has of the file", r.topic), Cause: err.Error(),
				Try: "without --resume everything is imported again: ids repeat, so nothing counts twice", Err: err,
			}
		}
		batch.Each(r.note)
	}
}

func (r *recall) note(record *topic.Record) {
	for _, h := range record.Headers {
		if h.Key != traffic.HeaderID {
			continue
		}
		if id, err := traffic.ParseID(string(h.Value)); err == nil && id.Tap() == r.file {
			r.stored[id.Seq()>>6] |= 1 << (id.Seq() & 63)
		}
		return
	}
}
