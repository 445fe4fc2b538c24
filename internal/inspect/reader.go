// Package inspect reads recorded exchanges out of Kafka for people and scripts: it lists, follows, finds and counts them,
// and writes tables and JSON. It reads by assignment and so never disturbs a replay; it never writes to Kafka.
//
// A record that cannot be read is skipped, told and counted, and makes the whole Incomplete.
package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// AllPartitions is Query.Partition when all of them are wanted.
const AllPartitions = -1

// Query says which exchanges of a topic are wanted.
type Query struct {
	From, To  time.Time        // by capture time, From included and To not; zero: open
	Partition int32            // or AllPartitions
	Filters   []*filter.Filter // all of them must match
	Limit     int64            // 0: all
}

// Entry is an exchange and where it lies. Both are valid until the function that was given it returns.
type Entry struct {
	Exchange *traffic.Exchange
	Record   *topic.Record
}

// Reader reads one topic of exchanges. It is not safe for concurrent use.
type Reader struct {
	cfg   topic.Config
	topic string
	admin *topic.Admin
	note  func(string)
	bad   damage
	now   func() time.Time
}

// NewReader connects lazily. note is given lines for a person, such as one for every record that cannot be read.
func NewReader(cfg topic.Config, name string, note func(string)) (*Reader, error) {
	admin, err := topic.NewAdmin(cfg)
	if err != nil {
		return nil, err
	}
	return &Reader{cfg: cfg, topic: name, admin: admin, note: note, now: time.Now}, nil
}

// Close ends all connections.
func (r *Reader) Close() { r.admin.Close() }

// errEnough ends a scan early.
var errEnough = errors.New("enough")

// spans are the offsets to read of each partition, up to what is in the log now.
func (r *Reader) spans(ctx context.Context, from time.Time, partition int32) (map[int32]topic.Range, error) {
	if err := r.admin.Ping(ctx); err != nil {
		return nil, err
	}
	all, err := r.admin.Window(ctx, r.topic, from)
	if err != nil || partition == AllPartitions {
		return all, err
	}
	one, ok := all[partition]
	if !ok {
		return nil, fault.BadUsage(fmt.Sprintf("topic %q has no partition %d", r.topic, partition),
			fmt.Sprintf("its partitions are 0 to %d", len(all)-1), "--partition N, or none for all of them")
	}
	return map[int32]topic.Range{partition: one}, nil
}

func length(spans map[int32]topic.Range) (n int64) {
	for _, s := range spans {
		n += s.End - s.Start
	}
	return n
}

// fetch reads little at a time of each partition, so that all of them advance together: fewer bytes are held, and that
// is faster too.
func fetch() topic.FetchBounds { return topic.FetchBounds{MaxPartitionBytes: 128 << 10} }

// scan calls visit for every record of the spans, in the order of each partition, and progress, if not nil, after each
// batch. errEnough ends it without an error.
func (r *Reader) scan(
	ctx context.Context, spans map[int32]topic.Range, visit func(*topic.Record) error, progress func(*topic.AssignReader) error,
) error {
	from, to := make(map[int32]int64), make(map[int32]int64)
	for p, s := range spans {
		from[p], to[p] = s.Start, s.End
	}
	reader, err := topic.NewAssignReader(topic.AssignConfig{Config: r.cfg, Topic: r.topic, From: from, To: to, Fetch: fetch()})
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
			return ended(ctx, err)
		}
		err = visitAll(batch, visit)
		if err == nil && progress != nil {
			err = progress(reader)
		}
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func visitAll(batch *topic.Batch, visit func(*topic.Record) error) error {
	for i := range batch.Partitions {
		records := batch.Partitions[i].Records
		for j := range records {
			if err := visit(&records[j]); err != nil {
				return err
			}
		}
	}
	return nil
}

// ended prefers the reason why ctx ended.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// damage counts the records that cannot be read.
type damage struct {
	count int64
	first []string
}

// toldDamage bounds the lines about records that cannot be read: a topic of something else would fill the screen.
const toldDamage = 10

// skip notes a record that cannot be read.
func (r *Reader) skip(rec *topic.Record, err error) {
	r.bad.count++
	if r.bad.count > toldDamage {
		return
	}
	place := fmt.Sprintf("partition %d offset %d", rec.Partition, rec.Offset)
	r.bad.first = append(r.bad.first, place)
	r.note(fmt.Sprintf("skipped %s: %v", place, err))
}

// verdict is the error at the end: nil when every record could be read.
func (r *Reader) verdict() error {
	if r.bad.count == 0 {
		return nil
	}
	where := strings.Join(r.bad.first, ", ")
	if more := r.bad.count - int64(len(r.bad.first)); more > 0 {
		where += fmt.Sprintf(" and %d more", more)
	}
	what := fmt.Sprintf("%d records of %s could not be read and were left out", r.bad.count, r.topic)
	if r.bad.count == 1 {
		what = fmt.Sprintf("1 record of %s could not be read and was left out", r.topic)
	}
	return &fault.Error{
		What: what, Cause: where, Try: "kcat -C -t " + r.topic + " -p PARTITION -o OFFSET -c 1 shows what is there",
		Code: fault.Incomplete,
	}
}

// noteNothing says why there was nothing to show.
func (r *Reader) noteNothing(ctx context.Context, looked int64, q Query) {
	if looked > 0 {
		r.note(fmt.Sprintf("none of %s matched", report.Count(looked, "exchange")))
		return
	}
	if !q.From.IsZero() || q.Partition != AllPartitions {
		if all, err := r.admin.Window(ctx, r.topic, time.Time{}); err == nil && length(all) > 0 {
			r.note(fmt.Sprintf("nothing of topic %s lies in that window", r.topic))
			return
		}
	}
	r.note(fmt.Sprintf("topic %s is empty", r.topic))
}

func sortedNames(m map[string]int64) []string { return slices.Sorted(maps.Keys(m)) }

// HasData reports whether what was read before err is an answer: all of it, or what is there when some records could not
// be read.
func HasData(err error) bool { return err == nil || fault.Code(err) == fault.Incomplete }

// IsFinding reports whether all was read, and something was found.
func IsFinding(err error) bool { return fault.Code(err) == fault.Finding }
