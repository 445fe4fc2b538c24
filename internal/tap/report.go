package tap

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/topic"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// reportEvery is how often a tap tells about itself on the control topic.
const reportEvery = 10 * time.Second

// reporter tells replayers which addresses are production, and everyone how the tap's arithmetic stands.
type reporter struct {
	report   *reprisev1.TapReport // counters, settings and final are set for each record
	counters *Counters
	board    *board
	pipeline *Pipeline
	guarding *protector
	writer   *topic.Writer
	loops    loopWatch
	log      *slog.Logger
}

// loopEvery is how often it is said at most that replays come through the tap.
const loopEvery = time.Minute

// loopWatch notices that replays come through the tap.
type loopWatch struct {
	marked uint64
	said   time.Time
}

// look returns how many marked requests have come since that was last said; 0: there is nothing to say now.
func (l *loopWatch) look(marked uint64, now time.Time) uint64 {
	n := marked - l.marked
	if n == 0 || !l.said.IsZero() && now.Sub(l.said) < loopEvery {
		return 0
	}
	l.marked, l.said = marked, now
	return n
}

// newReporter describes the tap and its sources; nothing is written before run.
func newReporter(t *Tap, sources []Source) *reporter {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	host = strings.ToValidUTF8(host, "?") // as reports need it

	r := &reprisev1.TapReport{
		TapId:           t.id[:],
		Name:            t.opts.Name,
		Host:            host,
		HostId:          HostID(),
		StartedUnixNano: uint64(time.Now().UnixNano()),
	}
	var kinds []string
	for _, src := range sources {
		if kind := src.Kind.String(); !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
		r.Listen = append(r.Listen, src.Listen...)
		for _, u := range src.Upstream {
			r.Upstream = append(r.Upstream, strings.ToValidUTF8(u, "?"))
		}
		r.ResponseWaitNano = max(r.ResponseWaitNano, uint64(src.ResponseWait))
	}
	r.Source = strings.Join(kinds, ",")
	return &reporter{report: r, counters: t.pipeline.Counters(), board: t.board, pipeline: t.pipeline, guarding: t.guarding, writer: t.control, log: t.opts.Logger}
}

// run reports at once, then periodically and when settings change, until ctx ends.
func (r *reporter) run(ctx context.Context) {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		r.write(false)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-r.board.changed:
		}
	}
}

// write puts one report; a final one has the counters of the whole life of the tap.
func (r *reporter) write(final bool) {
	r.report.Final, r.report.Counters, r.report.Settings = final, r.counters.Report(), r.board.report()
	r.report.SelfProtection = r.guarding.report()
	if n := r.loops.look(r.report.GetCounters().GetMarked(), time.Now()); n > 0 {
		r.log.Warn("a replay comes through this tap: passed on, counted (filtered, marked) and not recorded", "requests", n,
			"try", "look where the replayer's target leads (DNS, gateway), unless this tap stands before pre-production")
	}
	r.report.Rules, r.report.RulesDigest = r.board.rules().report(), r.pipeline.digest()
	author := control.Author{Writer: fmt.Sprintf("tap %s pid %d", r.report.GetHost(), os.Getpid()), Time: time.Now()}
	record := author.Report(r.report)
	r.writer.Put(&topic.Record{Key: []byte(record.Key), Value: record.Value, Time: author.Time})
}

// logSummary says at the end what became of everything.
func logSummary(log *slog.Logger, c *reprisev1.Counters) {
	var dropped uint64
	reasons := c.GetDropped()
	for _, n := range reasons {
		dropped += n
	}
	if reasons == nil {
		reasons = map[string]uint64{} // an object in JSON, whatever happened
	}
	log.Info("tap stopped", "seen", c.GetSeen(), "recovered", c.GetRecovered(), "produced", c.GetProduced(), "filtered", c.GetFiltered(),
		"sampled_out", c.GetSampledOut(), "dropped", dropped, "dropped_by_reason", reasons, "unknown", c.GetUnknown(),
		"pending", c.GetPending(), "spooled", c.GetSpooled())
}
