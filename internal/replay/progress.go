package replay

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/schedule"
)

// talkEvery is how often a line of progress is written.
const talkEvery = 5 * time.Second

// load samples what held the run up. It is used by one goroutine.
type load struct {
	samples, saturated, starved, awaiting, decoding int64
	ordered                                         int64 // requests waited for those before them, while there were free senders
	open, adaptive                                  int64 // the breaker was; the adaptive limit was reached

	awaited     map[int32]int64 // samples in which a partition was waited for
	lastSampled time.Time
	lastBusy    int64
	lastFired   int64
	lastTold    time.Time
}

// sample notes what the run waits for at a moment.
func (r *run) sample(now time.Time) {
	l := &r.load
	l.samples++
	if r.volley.saturated() {
		l.saturated++
	} else if r.volley.order.Held() > 0 {
		l.ordered++
	}
	if r.valve != nil {
		switch s := r.valve.Stats(); {
		case s.Open:
			l.open++
		case s.Full:
			l.adaptive++
		}
	}
	if r.ahead.empty() {
		l.starved++
	}
	if partition, earliest, ok := r.ahead.awaited(); ok {
		if due, standing := r.clock.due(earliest); standing == schedule.Scheduled && due.Before(now) {
			l.awaiting++
			if l.awaited == nil {
				l.awaited = make(map[int32]int64)
			}
			l.awaited[partition]++
		}
	}
	if rel := r.releaser.Load(); rel != nil {
		busy := rel.busy.Load()
		if since := now.Sub(l.lastSampled); !l.lastSampled.IsZero() && busy-l.lastBusy > int64(since)*8/10 {
			l.decoding++
		}
		l.lastBusy, l.lastSampled = busy, now
	}
}

// limitedBy says what kept the run from the speed it was asked for; empty: nothing.
func (r *run) limitedBy() string {
	l, o := &r.load, r.opts
	if c := r.summary.Counts(); c.Fired == 0 && c.Failed > 0 {
		return "target (" + noAnswers(r.summary.Tally().Failed) + ")"
	}
	achieved, asked := r.summary.Achieved(r.shortened()), r.asked()
	if rel := r.releaser.Load(); rel != nil && rel.limit.Delayed() > r.read()*int64(r.sieve.clones.n)/10 {
		return fmt.Sprintf("--rate-limit %v (%s requests were put off)", o.RateLimit, report.Number(rel.limit.Delayed()))
	}
	if l.samples == 0 || achieved == 0 || !o.Live && asked > 0 && achieved >= 0.98*asked || o.Live && (l.saturated+l.open+l.adaptive)*10 < l.samples {
		return ""
	}
	share := func(n int64) int64 { return n * 100 / l.samples }
	most := max(l.saturated, l.starved, l.awaiting, l.decoding, l.open, l.adaptive)
	switch {
	case share(most) < 10:
	case most == l.open:
		return fmt.Sprintf("target (breaker open %s)", report.Seconds(r.valve.Stats().OpenFor))
	case most == l.adaptive:
		return fmt.Sprintf("target (adaptive limit %d reached for %d %% of the run)", r.valve.Stats().Limit, share(l.adaptive))
	case most == l.saturated:
		return fmt.Sprintf("target (concurrency %d reached for %d %% of the run)", o.Concurrency, share(l.saturated))
	case most == l.starved:
		return fmt.Sprintf("reading from Kafka (nothing to send for %d %% of the run)", share(l.starved))
	case most == l.awaiting:
		id := slices.MaxFunc(slices.Collect(maps.Keys(l.awaited)), func(a, b int32) int { return cmp.Compare(l.awaited[a], l.awaited[b]) })
		return fmt.Sprintf("partitions (the others waited for %d for %d %% of the run)", id, share(l.awaited[id]))
	case most == l.decoding:
		return fmt.Sprintf("decoding (for %d %% of the run nothing else was done with what was read)", share(l.decoding))
	}
	if r.volley.order.Expired() > 0 {
		return fmt.Sprintf("order (%s requests waited longer than --order-wait for those before them)", report.Number(int64(r.volley.order.Expired())))
	}
	if share(l.ordered) >= 50 {
		return fmt.Sprintf("order (requests waited for those before them for %d %% of the run)", share(l.ordered))
	}
	return "replayer"
}

// asked returns the speed that the schedule wanted in the mean for what was sent; 0: as fast as it can, or nothing was sent.
func (r *run) asked() float64 {
	if r.opts.Live {
		return 1
	}
	first, last := r.summary.Captured()
	from, standing := r.clock.due(first)
	to, end := r.clock.due(last)
	speed := r.generation.Spec.GetSpeed()
	if standing != schedule.Scheduled || end != schedule.Scheduled {
		return speed
	}
	return meanSpeed(last.Sub(first)-r.shortened(), to.Sub(from), speed)
}

// meanSpeed returns how fast captured time was to pass within a time of the schedule: wanted itself where only the rounding of due
// times to nanoseconds tells the two apart, or nothing can be told.
func meanSpeed(captured, scheduled time.Duration, wanted float64) float64 {
	if scheduled <= 0 || wanted > 0 && (scheduled-time.Duration(float64(captured)/wanted)).Abs() < time.Microsecond {
		return wanted
	}
	return captured.Seconds() / scheduled.Seconds()
}

// shortened returns how much captured time between what was sent the schedule has left out.
func (r *run) shortened() time.Duration {
	first, last := r.summary.Captured()
	gaps := r.clock.gaps.Load()
	return last.Sub(first) - gaps.Squeeze(last).Sub(gaps.Squeeze(first))
}

// commands returns what was commanded while the run went on.
func (r *run) commands() (all []report.Command) {
	for _, o := range r.registry.orders(r.opts.Run, r.generation.Number) {
		all = append(all, report.Command{Verb: o.GetVerb(), Argument: o.GetArgument(), By: o.Writer, At: o.At.UTC()})
	}
	return all
}

// announce says once what is going to happen.
func (r *run) announce() {
	o := r.opts
	if o.Live {
		fmt.Fprintf(o.Talk, "live %s: following %s %s behind capture, target %s\n", o.Run, r.names.Exchanges, o.Lag, o.address())
		return
	}
	var records int64
	for _, w := range r.intake.windows {
		records += w.End - w.Start
	}
	how := "first request " + r.clock.timeline().Begins().Format(time.TimeOnly)
	if o.Profile.IsMax() {
		how = "at once"
	}
	load := ""
	if o.Clones > 1 {
		load = fmt.Sprintf(", %d times as many users", o.Clones)
	}
	if loop := r.loopName(); loop != "" {
		load += ", " + loop
	}
	fmt.Fprintf(o.Talk, "run %s: %s in %s%s, speed %s, target %s, %s\n", o.Run, report.Count(records, "record"),
		report.Count(int64(len(r.intake.windows)), "partition"), load, o.Profile, o.address(), how)
	if done, _ := r.intake.progress(); done > 0 {
		fmt.Fprintf(o.Talk, "  resumed: %s done before\n", report.Count(done, "record"))
	}
}

// tell writes one line about how it goes.
func (r *run) tell(now time.Time) {
	c := r.summary.Counts()
	since := now.Sub(r.load.lastTold)
	if r.load.lastTold.IsZero() {
		since = now.Sub(r.started)
	}
	sent := c.Fired + c.Failed
	rate := float64(sent-r.load.lastFired) / since.Seconds()
	r.load.lastFired, r.load.lastTold = sent, now

	var b strings.Builder
	if loop := r.loopName(); loop != "" {
		b.WriteString(" " + loop)
	}
	if done, of := r.intake.progress(); of > 0 {
		fmt.Fprintf(&b, " %3d %%", done*100/of)
	}
	if speed, paused := r.clock.timeline().Speed(now); paused {
		b.WriteString("  paused")
	} else if !r.opts.Live && speed != r.opts.Profile[0].From {
		fmt.Fprintf(&b, "  speed %.2f×", speed)
	}
	if sparing := r.sparing(); sparing != "" {
		b.WriteString("  " + sparing)
	}
	fmt.Fprintf(&b, "  fired %s  %s/s", report.Number(c.Fired), report.Number(int64(rate+0.5)))
	if r.opts.Live && !c.LastCapture.IsZero() {
		fmt.Fprintf(&b, "  lag %.1f s", now.Sub(c.LastCapture).Seconds())
	}
	if r.opts.Live || !r.opts.Profile.IsMax() {
		fmt.Fprintf(&b, "  lateness p50 %s p99 %s", millis(c.LatenessP50), millis(c.LatenessP99))
	}
	fmt.Fprintf(&b, "  target p50 %s p99 %s  in flight %d", millis(c.TargetP50), millis(c.TargetP99), r.volley.busy.Load())
	for _, n := range besides(&c) {
		fmt.Fprintf(&b, "  %s %s", n.name, report.Number(n.count))
	}
	fmt.Fprintln(r.opts.Talk, b.String())
}

func millis(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	if ms < 10 {
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}
