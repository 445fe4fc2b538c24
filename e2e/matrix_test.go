//go:build e2e

package e2e_test

import (
	"fmt"
	"path/filepath"
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

// notes are those of one illness.
type notes struct {
	name                string
	requests, failed    int
	up, sick, healing   pace
	upNoise, sickNoise  time.Duration
	rss                 int64
	before, then, after counts
	back                time.Duration // from the cure until records were produced again
}

// pace is how long answers took.
type pace struct {
	all     []time.Duration // sorted
	windows []time.Duration // the 99th percentile of each quarter of a second, sorted
}

const window = 250 * time.Millisecond

// add takes in the answers that were due in [from, to).
func (p *pace) add(answers []crowd.Answer, from, to time.Time) {
	windows := make(map[int64][]time.Duration)
	for _, a := range answers {
		if !a.Due.Before(from) && a.Due.Before(to) {
			p.all = append(p.all, a.Took)
			n := int64(a.Due.Sub(from) / window)
			windows[n] = append(windows[n], a.Took)
		}
	}
	for _, w := range windows {
		slices.Sort(w)
		p.windows = append(p.windows, quantile(w, 0.99))
	}
	slices.Sort(p.all)
	slices.Sort(p.windows)
}

// quiet is the 99th percentile while nothing else had the machine: in one quarter of the time it was no worse.
func (p *pace) quiet() time.Duration { return quantile(p.windows, 0.25) }

// slower is by how much the answers were at their 99th percentile, altogether and in quiet times.
func (n notes) slower() (all, quiet time.Duration) {
	return quantile(n.sick.all, 0.99) - quantile(n.up.all, 0.99), n.sick.quiet() - n.up.quiet()
}

// unnoticed tells whether production was as fast as before: within slack, and what the machine was late by itself. Where that is
// more than a few milliseconds, some process had to wait for others all the time, and quiet times have to do.
func (n notes) unnoticed(slack time.Duration) bool {
	all, quiet := n.slower()
	own := max(n.upNoise, n.sickNoise)
	return all <= slack+2*own || own > 3*time.Millisecond && quiet <= slack+own
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// matrix is how the test is run: short, or as long and as fast as is asked.
type matrix struct {
	rate     float64
	up, sick time.Duration
	slack    time.Duration // by which the 99th percentile may be slower; a request that waits for a sick Kafka waits for seconds
}

func TestProductionDoesNotNoticeASickKafka(t *testing.T) {
	m := matrix{rate: 2000, up: 1500 * time.Millisecond, sick: 2500 * time.Millisecond, slack: 50 * time.Millisecond}
	if chaosTime(t) > 0 {
		m = matrix{rate: 5000, up: 3 * time.Second, sick: 6 * time.Second, slack: time.Millisecond}
	}
	w := openWard(t)
	w.tap = startTapWith(t, w.prefix, w.origin.Addr(), append(w.broker.Login(tapUser),
		"--memory-max", "64MiB", "--spool-dir", filepath.Join(t.TempDir(), "spool"), "--spool-max", "1GiB")...)
	w.tap.warm(t)
	requests := 1
	var all []notes
	for _, i := range w.illnesses() {
		if i.name == "topic deleted" { // with the records that the audit wants to see
			w.audited(t)
		}
		for try := 1; ; try++ {
			n := w.watch(t, m, i)
			requests += n.requests
			n.after = w.settled(t, time.Minute, requests)
			all = append(all, n)
			// A machine that stops one of the processes for a moment does so once; what Kafka does to production it does each time.
			if n.unnoticed(m.slack) || try == 3 || t.Failed() {
				break
			}
		}
		n := all[len(all)-1]
		require.Zero(t, n.failed, "%s: production is untouched", n.name)
		if !n.unnoticed(m.slack) {
			all, quiet := n.slower()
			t.Errorf("%s: p99 %s slower, in quiet times %s, and so three times", n.name, all, quiet)
		}
		if n.rss > budget+beside {
			t.Errorf("%s: %d MiB", n.name, n.rss>>20)
		}
		if n.back > 30*time.Second {
			t.Errorf("%s: records again after %s", n.name, n.back)
		}
	}
	t.Logf("\n%s", drawn(m, all))
	code, err := w.tap.Stop(time.Minute)
	require.NoError(t, err)
	require.Equal(t, 130, code)
	requireNoSecret(t, w.tap.Stderr())
}

// watch has a crowd come while Kafka is well, gets sick, and is well again.
func (w *ward) watch(t *testing.T, m matrix, i illness) notes {
	t.Helper()
	n := notes{name: i.name, before: w.tap.counts(t)}
	peak(t, w.tap.Process)
	c, err := crowd.Start(crowd.Options{Addr: w.tap.addr, Rate: m.rate, Seed: 1})
	require.NoError(t, err)
	stop := func() crowd.Tally { return c.Stop() }
	t.Cleanup(func() { stop() })
	sleep(t, 300*time.Millisecond) // the first requests find everything cold

	begin, own := time.Now(), noise(t)
	sleep(t, m.up)
	upNoise := own()
	hurt, own := time.Now(), noise(t)
	i.hurt(t)
	sleep(t, m.sick)
	healing, sickNoise := time.Now(), own()
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
	n.back = time.Since(cured)
	again, own := time.Now(), noise(t)
	sleep(t, m.up)
	n.upNoise, n.sickNoise = max(upNoise, own()), sickNoise
	end := time.Now()
	got := stop()
	n.rss = peak(t, w.tap.Process)
	n.requests, n.failed = len(got.Answers)+got.Failed, got.Failed
	if got.First != nil {
		t.Errorf("%s: %v", i.name, got.First)
	}
	n.up.add(got.Answers, begin, hurt)
	n.up.add(got.Answers, again, end)
	n.sick.add(got.Answers, hurt, healing)
	n.healing.add(got.Answers, healing, again)
	return n
}

// audited holds what the tap counted against the topic.
func (w *ward) audited(t *testing.T) {
	t.Helper()
	got := run(t, 2*time.Minute, "inspect", append([]string{"audit", "--topic-prefix", w.prefix}, w.broker.Login(inspectUser)...)...)
	require.Zero(t, got.Code, "%s\n%s", got.Stdout, got.Stderr)
}

// drawn is the table.
func drawn(m matrix, all []notes) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%g requests/s, open loop, one third POST; times in ms, the machine's own lateness (p99 of a timer) beside them\n", m.rate)
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "Kafka\trequests\terrors\tp50 up\tsick\tp99 up\tsick\tslower\tin quiet times\tgetting well\town up\tsick\tRSS MiB\tproduced\tdropped\tunknown\tspooled then\tagain after s\t")
	ms := func(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/1e6) }
	for _, n := range all {
		slower, quiet := n.slower()
		columns := []string{n.name, strconv.Itoa(n.requests), strconv.Itoa(n.failed)}
		for _, d := range []time.Duration{
			quantile(n.up.all, 0.5), quantile(n.sick.all, 0.5), quantile(n.up.all, 0.99), quantile(n.sick.all, 0.99), slower, quiet,
			quantile(n.healing.all, 0.99), n.upNoise, n.sickNoise,
		} {
			columns = append(columns, ms(d))
		}
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
