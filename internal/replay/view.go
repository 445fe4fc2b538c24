package replay

import (
	"fmt"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/report"
)

const (
	redrawEvery = 500 * time.Millisecond
	viewSamples = 20 // of which speeds are the mean: 10 s
	viewBar     = 20
	viewCodes   = 4
)

// view is how a run looks on a terminal while it goes on. It is used by one goroutine.
type view struct {
	samples []viewSample
}

type viewSample struct {
	at      time.Time
	capture time.Time // of the latest that was sent
	sent    int64
	done    int64
}

// draw returns the lines.
func (r *run) draw(now time.Time) []string {
	c := r.summary.Counts()
	done, of := r.intake.progress()
	v := &r.view
	v.samples = append(v.samples, viewSample{now, c.LastCapture, c.Fired + c.Failed, done})
	if len(v.samples) > viewSamples {
		v.samples = v.samples[1:]
	}
	if len(v.samples) > 1 && done < v.samples[len(v.samples)-2].done { // another loop
		v.samples = v.samples[len(v.samples)-1:]
	}
	first := v.samples[0]
	since := max(now.Sub(first.at).Seconds(), 1e-9)
	replicas := 0
	for _, other := range r.registry.replicas(r.opts.Run, r.generation.Number) {
		if other.AtWork(now) {
			replicas++
		}
	}

	var head strings.Builder
	if r.opts.Live {
		fmt.Fprintf(&head, "live %s   %s behind capture", r.opts.Run, r.opts.Lag)
	} else {
		fmt.Fprintf(&head, "run %s", r.opts.Run)
		if loop := r.loopName(); loop != "" {
			head.WriteString("   " + loop)
		}
		if !c.LastCapture.IsZero() {
			fmt.Fprintf(&head, "   captured %s", c.LastCapture.UTC().Format(time.DateTime))
		}
	}
	fmt.Fprintf(&head, "   target %s   %s", r.opts.address(), report.Count(int64(max(1, replicas)), "replica"))

	var pace strings.Builder
	if of > 0 {
		full := int(done * viewBar / of)
		fmt.Fprintf(&pace, " %3d %% ▕%s%s▏", done*100/of, strings.Repeat("█", full), strings.Repeat(" ", viewBar-full))
		if rate := float64(done-first.done) / since; rate > 0 && done < of {
			fmt.Fprintf(&pace, "   %s left", time.Duration(float64(of-done)/rate*float64(time.Second)).Round(time.Second))
		}
	}
	speed, paused := r.clock.timeline().Speed(now)
	switch {
	case r.clock.held.Load():
		pace.WriteString("   " + r.heldBy() + ": " + r.tryLift())
	case paused:
		fmt.Fprintf(&pace, "   paused: replayer %s %s goes on", control.VerbResume, r.opts.Run)
	case r.opts.Live:
		if !c.LastCapture.IsZero() {
			fmt.Fprintf(&pace, "   lag %.1f s", now.Sub(c.LastCapture).Seconds())
		}
	case speed == 0:
		pace.WriteString("   as fast as it can")
	default:
		fmt.Fprintf(&pace, "   asked %.1f×", speed)
	}
	if sparing := r.sparing(); sparing != "" {
		pace.WriteString("   " + sparing)
	}
	if !r.opts.Live && !first.capture.IsZero() && !paused {
		fmt.Fprintf(&pace, "   achieved %.1f×", c.LastCapture.Sub(first.capture).Seconds()/since)
	}

	var sent strings.Builder
	fmt.Fprintf(&sent, " fired %s   %s/s  ", report.Number(c.Fired), report.Number(int64(float64(c.Fired+c.Failed-first.sent)/since+0.5)))
	for i, s := range c.Statuses {
		if i == viewCodes {
			break
		}
		fmt.Fprintf(&sent, "  %d %.1f %%", s.Status, 100*float64(s.Count)/float64(max(1, c.Fired)))
	}
	fmt.Fprintf(&sent, "   in flight %d", r.volley.busy.Load())

	var times strings.Builder
	if r.opts.Live || !r.opts.Profile.IsMax() {
		fmt.Fprintf(&times, " lateness p50 %s p99 %s  ", millis(c.LatenessP50), millis(c.LatenessP99))
	}
	fmt.Fprintf(&times, " target p50 %s p99 %s", millis(c.TargetP50), millis(c.TargetP99))
	for _, n := range besides(&c) {
		fmt.Fprintf(&times, "   %s %s", n.name, report.Number(n.count))
	}
	return []string{head.String(), pace.String(), sent.String(), times.String()}
}

type namedCount struct {
	name  string
	count int64
}

// besides returns what was not simply fired.
func besides(c *report.Counts) (some []namedCount) {
	for _, n := range []namedCount{
		{"failed", c.Failed}, {"skipped", c.Skipped}, {"refused", c.Refused}, {"late", c.Late}, {"bad", c.Bad},
	} {
		if n.count > 0 {
			some = append(some, n)
		}
	}
	return some
}
