package tap

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/topic"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// reportEvery is how often a tap tells about itself on the control topic.
const reportEvery = 10 * time.Second

// reporter tells replayers which addresses are production, and everyone how the tap's arithmetic stands.
type reporter struct {
	report   *reprisev1.TapReport // counters and final are set for each record
	counters *Counters
	writer   *topic.Writer
}

// newReporter describes the tap and its source; nothing is written before run.
func newReporter(o Options, id [16]byte, src Source, digest []byte, c *Counters, w *topic.Writer) *reporter {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return &reporter{counters: c, writer: w, report: &reprisev1.TapReport{
		TapId:            id[:],
		Name:             o.Name,
		Source:           src.Kind.String(),
		Host:             host,
		HostId:           HostID(),
		Listen:           src.Listen,
		Upstream:         src.Upstream,
		ResponseWaitNano: uint64(src.ResponseWait),
		RulesDigest:      digest,
		StartedUnixNano:  uint64(time.Now().UnixNano()),
	}}
}

// run reports at once and then periodically until ctx ends.
func (r *reporter) run(ctx context.Context) {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		r.write(false)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// write puts one report; a final one has the counters of the whole life of the tap.
func (r *reporter) write(final bool) {
	r.report.Final, r.report.Counters = final, r.counters.Report()
	author := control.Author{Writer: fmt.Sprintf("tap %s pid %d", r.report.GetHost(), os.Getpid()), Time: time.Now()}
	record := author.Report(r.report)
	r.writer.Put(&topic.Record{Key: []byte(record.Key), Value: record.Value, Time: author.Time})
}

// logSummary says at the end what became of everything.
func logSummary(log *slog.Logger, c *reprisev1.Counters) {
	var dropped uint64
	for _, n := range c.GetDropped() {
		dropped += n
	}
	log.Info("tap stopped", "seen", c.GetSeen(), "produced", c.GetProduced(), "filtered", c.GetFiltered(),
		"sampled_out", c.GetSampledOut(), "dropped", dropped, "dropped_by_reason", c.GetDropped(), "unknown", c.GetUnknown(),
		"pending", c.GetPending())
}
