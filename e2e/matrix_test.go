//go:build e2e

package e2e_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/crowd"
	"github.com/reprise-io/reprise/e2e/link"
)

// illness is a state of Kafka. cure ends it, and returns when it is over on Kafka's side.
type illness struct {
	name       string
	hurt, cure func(t *testing.T)
	back       func(t *testing.T) error // nil: records are produced again
}

func nothing(*testing.T) {}

func (w *ward) illnesses() []illness {
	all := []illness{
		{name: "up", hurt: nothing, cure: nothing},
		{
			name: "stopped",
			hurt: func(*testing.T) { w.broker.Pause() },
			cure: func(*testing.T) { w.broker.Resume() },
		},
		{
			name: "black-holed",
			hurt: func(*testing.T) { w.link.Set(link.Fault{Hang: true}) },
			cure: func(*testing.T) { w.link.Set(link.Fault{}) },
		},
		{
			name: "slow",
			hurt: func(*testing.T) { w.link.Set(link.Fault{Delay: 300 * time.Millisecond, Rate: 256 << 10}) },
			cure: func(*testing.T) { w.link.Set(link.Fault{}) },
		},
		{
			name: "ACL revoked",
			hurt: func(t *testing.T) {
				for _, line := range w.rights {
					require.NoError(t, w.broker.Revoke(within(t, 2*time.Minute), line))
				}
			},
			cure: func(t *testing.T) { allow(t, w.broker, w.rights...) },
		},
		{
			name: "killed",
			hurt: func(*testing.T) { w.broker.Kill() },
			cure: w.startBroker,
		},
	}
	if w.disk != nil {
		all = append(all, illness{
			name: "disk full",
			hurt: func(t *testing.T) { require.NoError(t, w.disk.Fill(t.Context())) },
			cure: func(t *testing.T) {
				require.NoError(t, w.disk.Free(t.Context()))
				waitFor(t, 2*time.Minute, func() error { // it has ended by itself, or will
					select {
					case <-w.broker.Exited():
						return nil
					default:
						return fmt.Errorf("a broker whose disk was full goes on:\n%s", tail(w.broker.Log(), 5))
					}
				})
				w.broker.Kill()
				w.startBroker(t)
			},
		})
	}
	return append(all, illness{
		name: "topic deleted",
		hurt: func(t *testing.T) { require.NoError(t, w.broker.Delete(within(t, 2*time.Minute), w.names.Exchanges)) },
		cure: nothing,
		back: func(t *testing.T) error {
			if n := storedAt(t, w.broker, w.names.Exchanges); n == 0 {
				return fmt.Errorf("nothing in the new topic")
			}
			return nil
		},
	})
}

// matrix is how the test is run: short, or as long and as fast as is asked.
type matrix struct {
	rate     float64       // through the tap; a fifth of it goes past it
	calm     time.Duration // with Kafka up, before a bout is measured
	up, sick time.Duration // of a bout
	bouts    int           // at least; odd
	slack    time.Duration // by which the 99th percentile may be slower; a request that waits for a sick Kafka waits for seconds
}

// mostBouts are for where a machine stops one of the processes now and then: the median of all is judged, whatever it was before.
const mostBouts = 7

// notes are those of one illness.
type notes struct {
	name                string
	requests, failed    int
	bouts               []bout
	rss                 int64
	before, then, after counts
	back                time.Duration // from a cure until records were produced again, at the most
}

// bout is what one time of being well, and of being sick right after it, were like.
type bout struct{ up, sick span }

// span is how long answers took that were due in it, sorted, and what the tap took for each.
type span struct {
	through []time.Duration
	past    []time.Duration // asked of the origin itself at the same time: what the machine alone does
	cpu     time.Duration   // of the tap, a request
}

func took(answers []crowd.Answer, from, to time.Time) (times []time.Duration) {
	for _, a := range answers {
		if !a.Due.Before(from) && a.Due.Before(to) {
			times = append(times, a.Took)
		}
	}
	slices.Sort(times)
	return times
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// median of a figure of each bout.
func (n *notes) median(of func(bout) time.Duration) time.Duration {
	all := n.each(of)
	slices.Sort(all)
	return quantile(all, 0.5)
}

func (n *notes) each(of func(bout) time.Duration) (all []time.Duration) {
	for _, b := range n.bouts {
		all = append(all, of(b))
	}
	return all
}

func throughTap(b bout) time.Duration {
	return quantile(b.sick.through, 0.99) - quantile(b.up.through, 0.99)
}

func pastTap(b bout) time.Duration { return quantile(b.sick.past, 0.99) - quantile(b.up.past, 0.99) }

// slower is by how much the answers were at their 99th percentile. What those that did not come through the tap lost in the same
// bouts is the machine's doing, and excused; but not if the tap takes more of the machine than with Kafka up, which may be why.
func (n *notes) slower() time.Duration {
	through := n.median(throughTap)
	up := n.median(func(b bout) time.Duration { return b.up.cpu })
	if n.median(func(b bout) time.Duration { return b.sick.cpu }) > up+up/10 {
		return through
	}
	return min(through, n.median(func(b bout) time.Duration { return throughTap(b) - pastTap(b) }))
}

func TestProductionDoesNotNoticeASickKafka(t *testing.T) {
	m := matrix{rate: 2000, calm: 300 * time.Millisecond, up: 1500 * time.Millisecond, sick: 2500 * time.Millisecond, bouts: 1, slack: 50 * time.Millisecond}
	if chaosTime(t) > 0 {
		m = matrix{rate: 5000, calm: 3 * time.Second, up: 4 * time.Second, sick: 6 * time.Second, bouts: 3, slack: time.Millisecond}
	}
	// Who paces the crowd, woken, has to get one of Go's processors at once, or what it waits counts as the tap's.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.NumCPU() + 2))
	w := openWard(t)
	w.tap = startTapWith(t, w.prefix, w.origin.Addr(), append(w.broker.Login(tapUser),
		"--memory-max", "64MiB", "--spool-dir", filepath.Join(t.TempDir(), "spool"), "--spool-max", "1GiB")...)
	w.tap.warm(t)
	requests := 1
	var all []*notes
	for _, i := range w.illnesses() {
		t.Run(i.name, func(t *testing.T) {
			if i.name == "topic deleted" { // with the records that the audit wants to see
				w.audited(t)
			}
			n := w.watch(t, m, i)
			requests += n.requests
			n.after = w.settled(t, time.Minute, requests)
			all = append(all, n)
			require.Zero(t, n.failed, "production is untouched")
			if s := n.slower(); s > m.slack {
				t.Errorf("p99 is %s slower, the median of %d bouts: %s", s, len(n.bouts), n.each(throughTap))
			}
			if n.rss > budget+beside {
				t.Errorf("%d MiB", n.rss>>20)
			}
			if n.back > 30*time.Second {
				t.Errorf("records again after %s", n.back)
			}
		})
	}
	t.Logf("\n%s", drawn(m, all))
	w.tap.logDropped(t)
	code, err := w.tap.Stop(time.Minute)
	require.NoError(t, err)
	require.Equal(t, 130, code)
	requireNoSecret(t, w.tap.Stderr())
}

// watch has one crowd come through the tap and one past it while Kafka is well, gets sick, and is well again, bout by bout, and
// takes more bouts than it has to while these say that production notices.
func (w *ward) watch(t *testing.T, m matrix, i illness) *notes {
	t.Helper()
	n := &notes{name: i.name, before: w.tap.counts(t)}
	peak(t, w.tap.Process)
	begin := func(addr string, rate float64) *crowd.Crowd {
		c, err := crowd.Start(crowd.Options{Addr: addr, Rate: rate, Seed: 1})
		require.NoError(t, err)
		t.Cleanup(func() { c.Stop() })
		return c
	}
	through, past := begin(w.tap.addr, m.rate), begin(w.origin.Addr(), m.rate/5)
	note := func(got crowd.Tally) {
		n.requests, n.failed = n.requests+len(got.Answers)+got.Failed, n.failed+got.Failed
		if got.First != nil {
			t.Errorf("%v", got.First)
		}
	}
	for enough := false; !enough; {
		began := n.bout(t, m, i, w)
		got, beside := through.Take(), past.Take()
		note(got)
		last := &n.bouts[len(n.bouts)-1]
		last.up.through, last.up.past = took(got.Answers, began.up, began.hurt), took(beside.Answers, began.up, began.hurt)
		last.sick.through, last.sick.past = took(got.Answers, began.hurt, began.healing), took(beside.Answers, began.hurt, began.healing)
		last.up.cpu /= time.Duration(max(1, len(last.up.through)))
		last.sick.cpu /= time.Duration(max(1, len(last.sick.through)))
		t.Logf("p99 with Kafka up %s, then %s; past the tap %s, then %s", quantile(last.up.through, 0.99), quantile(last.sick.through, 0.99),
			quantile(last.up.past, 0.99), quantile(last.sick.past, 0.99))
		bouts := len(n.bouts)
		enough = bouts >= m.bouts && bouts%2 == 1 && (n.slower() <= m.slack || bouts >= mostBouts) || t.Failed()
	}
	note(through.Stop())
	require.Zero(t, past.Stop().Failed, "the way past the tap")
	n.rss = peak(t, w.tap.Process)
	return n
}

// times of a bout.
type times struct{ up, hurt, healing time.Time }

// bout makes Kafka sick once, and returns when it is well and all that it did not take is with it.
func (n *notes) bout(t *testing.T, m matrix, i illness, w *ward) (began times) {
	t.Helper()
	cpu := func() time.Duration {
		used, _, err := w.tap.UsageNow()
		require.NoError(t, err)
		return used
	}
	sleep(t, m.calm) // the first requests find everything cold
	used := cpu()
	began.up = time.Now()
	sleep(t, m.up)
	began.hurt = time.Now()
	usedUp := cpu()
	i.hurt(t)
	sleep(t, m.sick)
	began.healing = time.Now()
	n.bouts = append(n.bouts, bout{up: span{cpu: usedUp - used}, sick: span{cpu: cpu() - usedUp}})
	n.then = w.tap.counts(t)

	i.cure(t)
	cured, produced := time.Now(), w.tap.counts(t).produced
	back := i.back
	if back == nil {
		back = func(t *testing.T) error {
			if now := w.tap.counts(t).produced; now == produced {
				return fmt.Errorf("%d records were produced, and no more since the cure", now)
			}
			return nil
		}
	}
	waitFor(t, 45*time.Second, func() error { return back(t) })
	n.back = max(n.back, time.Since(cured))
	waitFor(t, time.Minute, func() error {
		if left := w.tap.counts(t).spooled; left > 0 {
			return fmt.Errorf("%d records are in the spool", left)
		}
		return nil
	})
	return began
}

// audited holds what the tap counted against the topic.
func (w *ward) audited(t *testing.T) {
	t.Helper()
	got := run(t, 2*time.Minute, "inspect", append([]string{"audit", "--topic-prefix", w.prefix}, w.broker.Login(inspectUser)...)...)
	require.Zero(t, got.Code, "%s\n%s", got.Stdout, got.Stderr)
}

// drawn is the table.
func drawn(m matrix, all []*notes) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%g requests/s through the tap, a fifth of it past it; open loop, one third POST; ms, medians of the bouts\n", m.rate)
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "Kafka\trequests\terrors\tp50 up\tsick\tp99 up\tsick\tp99.9 up\tsick\tpast the tap, p99 up\tsick\tslower\teach bout\tjudged\tCPU µs up\tsick\tRSS MiB\tproduced\tdropped\tunknown\tspooled then\tagain after s\t")
	ms := func(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/1e6) }
	for _, n := range all {
		columns := []string{n.name, strconv.Itoa(n.requests), strconv.Itoa(n.failed)}
		for _, q := range []float64{0.5, 0.99, 0.999} {
			columns = append(
				columns,
				ms(n.median(func(b bout) time.Duration { return quantile(b.up.through, q) })),
				ms(n.median(func(b bout) time.Duration { return quantile(b.sick.through, q) })),
			)
		}
		var each []string
		for _, d := range n.each(throughTap) {
			each = append(each, ms(d))
		}
		columns = append(
			columns,
			ms(n.median(func(b bout) time.Duration { return quantile(b.up.past, 0.99) })),
			ms(n.median(func(b bout) time.Duration { return quantile(b.sick.past, 0.99) })),
			ms(n.median(throughTap)), strings.Join(each, " "), ms(n.slower()),
			strconv.Itoa(int(n.median(func(b bout) time.Duration { return b.up.cpu }).Microseconds())),
			strconv.Itoa(int(n.median(func(b bout) time.Duration { return b.sick.cpu }).Microseconds())),
		)
		for _, c := range []int{
			int(n.rss >> 20), n.after.produced - n.before.produced, n.after.dropped - n.before.dropped, n.after.unknown - n.before.unknown, n.then.spooled,
		} {
			columns = append(columns, strconv.Itoa(c))
		}
		fmt.Fprintf(table, "%s\t%.1f\t\n", strings.Join(columns, "\t"), n.back.Seconds())
	}
	_ = table.Flush()
	return b.String()
}
