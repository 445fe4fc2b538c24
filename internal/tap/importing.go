package tap

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/rewrite"
	"github.com/reprise-io/reprise/internal/sample"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// importRing bounds what an import has read and Kafka has not acknowledged, in bytes.
const importRing = 32 << 20

// Importer filters, redacts and stores exchanges that come from files. Unlike a tap it waits for Kafka.
type Importer struct {
	filters  []*filter.Set
	key      rewrite.Key
	redactor redactor // nil: stored as read
	records  *topic.Writer
	room     chan struct{} // signalled when a record is done
	stored   atomic.Int64
	lost     atomic.Int64
	recall   *recall // nil: everything is stored, also what is there already
	Filtered int64   // exchanges that the filter left out, or that a replayer had caused
	Resumed  int64   // exchanges that were stored already
}

// NewImporter makes sure that Kafka answers and the topics are there.
func NewImporter(ctx context.Context, o Options) (*Importer, error) {
	admin, err := topic.NewAdmin(o.Topic)
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	if err := admin.Ping(ctx); err != nil {
		return nil, err
	}
	exchanges := []topic.Spec{topic.ExchangesSpec(o.Names, o.Partitions)}
	if err := admin.Ensure(ctx, exchanges); err != nil {
		return nil, err
	}
	if err := admin.Writable(ctx, o.Names.Exchanges); err != nil {
		return nil, err
	}
	if err := admin.Ensure(ctx, []topic.Spec{topic.ControlSpec(o.Names), topic.ResultsSpec(o.Names, o.Partitions)}); err != nil {
		o.Logger.Info("kafka topic is left to others to make", "cause", err) // an import needs it not
	}
	im := &Importer{filters: o.Filters, key: o.SessionKey, redactor: o.Redactor, room: make(chan struct{}, 1)}
	im.records, err = topic.NewWriter(topic.WriterConfig{
		Config: o.Topic, Topic: o.Names.Exchanges, Ensure: exchanges, RingBytes: 2 * importRing, Linger: 10 * time.Millisecond,
		FlushTimeout: time.Minute, OnDone: im.done,
	})
	return im, err
}

// Resume leaves out what an earlier import of the same file has stored.
func (im *Importer) Resume(o Options) { im.recall = &recall{config: o.Topic, topic: o.Names.Exchanges} }

func (im *Importer) done(_ *topic.Record, result topic.Result) {
	if result.State == topic.Acknowledged {
		im.stored.Add(1)
	} else {
		im.lost.Add(1)
	}
	select {
	case im.room <- struct{}{}:
	default:
	}
}

// Run stores what read gives it, until read returns; read must not use an exchange after giving it away. It returns how
// many exchanges Kafka has acknowledged; the error is read's, or about what Kafka did not take.
func (im *Importer) Run(ctx context.Context, read func(put func(*traffic.Exchange) error) error) (stored int64, err error) {
	writing := start(context.WithoutCancel(ctx), im.records.Run)
	readErr := read(func(x *traffic.Exchange) error { return im.put(ctx, x) })
	if err := writing.stop(); err != nil {
		return im.stored.Load(), err
	}
	if lost := im.lost.Load(); lost > 0 {
		return im.stored.Load(), &fault.Error{
			What:  fmt.Sprintf("%d of %d exchanges were not stored", lost, lost+im.stored.Load()),
			Cause: "Kafka did not acknowledge them", Try: "import the same file again: ids repeat, so nothing counts twice",
			Code: fault.Incomplete,
		}
	}
	return im.stored.Load(), readErr
}

func (im *Importer) put(ctx context.Context, x *traffic.Exchange) error {
	if im.recall != nil {
		switch stored, err := im.recall.has(ctx, x.ID); {
		case err != nil:
			return err
		case stored:
			im.Resumed++
			return nil
		}
	}
	keep, err := Prepare(x, im.filters, im.key, im.redactor)
	if err != nil {
		return err
	}
	if !keep {
		im.Filtered++
		return nil
	}
	for {
		if _, waiting := im.records.Pending(); waiting <= importRing {
			break
		}
		select {
		case <-im.room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	// Retention goes by the time of the import: a file of last month must not vanish at once.
	im.records.Put(newEncoder([]*traffic.Exchange{x}).record(x, time.Now()))
	return ctx.Err()
}

// markHeader is what requests of a replayer carry. They are never captured, and so not imported either.
const markHeader = "Reprise-Replay"

// Prepare filters and redacts one exchange of a file: what Importer stores and --print shows.
func Prepare(x *traffic.Exchange, filters []*filter.Set, key rewrite.Key, r redactor) (keep bool, err error) {
	if _, marked := traffic.Get(x.Request.Headers, markHeader); marked {
		return false, nil
	}
	for _, f := range filters {
		if keep, _ := f.Keep(x); !keep {
			return false, nil
		}
	}
	identify(x, key, sample.BySession, x.ID.Tap(), r)
	if r == nil {
		return true, nil
	}
	if err := applyRedactor(x, r, slog.New(slog.DiscardHandler)); err != nil {
		return false, fmt.Errorf("exchange %s cannot be redacted, so it is not stored: %w", x.ID, err)
	}
	return true, nil
}
