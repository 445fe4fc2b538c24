package inspect

import (
	"context"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// mostKeys bounds what is remembered of outcomes to know one that was stored twice: some 400 MB.
const mostKeys = 8 << 20

// outcomes calls each for every outcome of one generation of a run, the first of each (loop, clone, exchange, attempt) and in the
// order of each partition. o is valid until each returns. It returns how many there were.
//
// Outcomes of versions that did not name their generation are its own if they were stored between its beginning and until, when the
// next one began; zero: there is none.
func (r *Reader) outcomes(
	ctx context.Context, results, run string, g *control.Generation, until time.Time, each func(o *traffic.Outcome, rec *topic.Record) error,
) (int64, error) {
	c := &Reader{cfg: r.cfg, topic: results, admin: r.admin, note: r.note, now: r.now}
	began := g.Started().Add(-clockSlack)
	spans, err := c.spans(ctx, began, AllPartitions)
	if err != nil {
		return 0, err
	}
	var o traffic.Outcome
	var n int64
	seen := make(map[uint64]struct{})
	seed := maphash.MakeSeed()
	prefix := run + "/"
	err = c.scan(ctx, spans, func(rec *topic.Record) error {
		if len(rec.Key) < len(prefix) || string(rec.Key[:len(prefix)]) != prefix || rec.Time.Before(began) {
			return nil
		}
		if err := traffic.DecodeOutcome(rec.Value, &o); err != nil {
			c.skip(rec, err)
			return nil
		}
		switch {
		case o.Run != run, o.Generation != 0 && o.Generation != g.Number:
			return nil
		case o.Generation == 0 && !until.IsZero() && !rec.Time.Before(until.Add(-clockSlack)):
			return nil
		}
		key := maphash.Bytes(seed, rec.Key)
		if _, twice := seen[key]; twice {
			return nil
		}
		if len(seen) < mostKeys {
			seen[key] = struct{}{}
		}
		n++
		return each(&o, rec)
	}, nil)
	if err != nil {
		return n, err
	}
	if len(seen) == mostKeys {
		r.note(fmt.Sprintf("more than %s: of later ones that were stored twice both count", report.Count(mostKeys, "outcome")))
	}
	return n, c.verdict()
}

// clockSlack is how far the clocks of replicas may be apart.
const clockSlack = 500 * time.Millisecond

// nextStart is when the generation behind g began; zero: there is none.
func nextStart(state *control.State, run string, g *control.Generation) time.Time {
	next := state.Run(run).Generation(g.Number + 1)
	if next == nil {
		return time.Time{}
	}
	return next.Started()
}
