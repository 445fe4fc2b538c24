package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/reprise-io/reprise/e2e/openloop"
)

const (
	fixedRate        = 4000 // a second
	fixedConnections = 32
	fixedRounds      = 6 // for one of those that others have
	fixedShorter     = 3 // than turns at a fixed rate elsewhere
	fixedWarmer      = 3 // times as long as for loads as fast as they go
)

// quantiles of one turn, in ms.
type quantiles struct{ p50, p99, p999, max float64 }

func quantilesOf(r *openloop.Result) quantiles {
	took := r.All()
	at := func(q float64) float64 { return ms(openloop.Quantile(took, q)) }
	return quantiles{at(0.5), at(0.99), at(0.999), at(1)}
}

// fixed sends small GETs at a fixed rate through a way; times count from when each was due.
func fixed(ctx context.Context, addr string, l load, rate float64, length time.Duration) (*openloop.Result, error) {
	r, err := openloop.Load{
		Addr: addr, Requests: [][]byte{l.request(addr)}, Rate: rate, For: length, Connections: l.connections,
	}.Run(ctx)
	if err != nil {
		return nil, err
	}
	if len(r.Failed) > 0 {
		return nil, fmt.Errorf("%d of %d requests failed: %v", r.Failures(), r.Due, r.Failed)
	}
	for _, a := range r.Answers {
		if a.Status != 200 {
			return nil, fmt.Errorf("status %d", a.Status)
		}
	}
	return r, ctx.Err()
}

// rate measures what each way adds to an answer's time at a rate that all of them bear.
func (b *bench) rate(ctx context.Context) error {
	w, err := b.startWays(ctx, "rate",
		direct, haproxyTCP, tapProxy, nginxProxy, nginxMirror, mirrorToTap, envoyTCP, envoyHTTP, envoyShadow)
	if err != nil {
		return err
	}
	defer w.stop()
	if err := b.warm(ctx, w); err != nil {
		return err
	}
	// As fast as it goes, a broker gets few large batches. What it does for each of many small ones it compiles only now, for most of a
	// minute, on the cores that are measured.
	progress("warming up for %s at %d/s", fixedWarmer*b.warmUp, fixedRate)
	if _, err := fixed(ctx, w.by(tapProxy).addr, small(fixedConnections), fixedRate, fixedWarmer*b.warmUp); err != nil {
		return err
	}
	times := make(map[string][]quantiles)
	turns := make(map[string][]turn)
	// The tail of a turn is a matter of luck on a shared machine: many short turns tell more than a few long ones. Nobody always comes
	// after the same one, which may have left something to do.
	rounds, length := fixedRounds*b.rounds+1, b.fixedFor/fixedShorter
	order := rand.New(rand.NewPCG(1, 1))
	for round := range rounds {
		for _, i := range order.Perm(len(w.all)) {
			x := w.all[i]
			var q quantiles
			t, err := x.measure(ctx, func(addr string) (int, float64, error) {
				r, err := fixed(ctx, addr, small(fixedConnections), fixedRate, length)
				if err != nil {
					return 0, 0, err
				}
				q = quantilesOf(r)
				return len(r.Answers), fixedRate, nil
			})
			if err != nil {
				return fmt.Errorf("%s: %w", x.name, err)
			}
			times[x.name], turns[x.name] = append(times[x.name], q), append(turns[x.name], t)
			progress("rate, round %d: %-34s p50 %.3f p99 %.3f p99.9 %.3f max %.3f ms", round+1, x.name, q.p50, q.p99, q.p999, q.max)
		}
		both, err := atOnce(ctx, w, length)
		if err != nil {
			return err
		}
		for name, q := range both {
			times[name+together] = append(times[name+together], q)
		}
	}
	b.tables = append(b.tables, rateAsked(times), b.rateTable(w, times, turns), togetherTable(times))
	return nil
}

const (
	together      = ", at once" // in times: what a way did beside the other
	togetherOther = 1000        // a second through HAProxy, the rest through the tap
)

// atOnce sends one load through the tap and through HAProxy together: both meet the same machine, with Kafka at work on it.
func atOnce(ctx context.Context, w *ways, length time.Duration) (map[string]quantiles, error) {
	var beside *openloop.Result
	var besideErr error
	done := make(chan struct{})
	go func() {
		defer close(done)
		beside, besideErr = fixed(ctx, w.by(haproxyTCP).addr, small(fixedConnections), togetherOther, length)
	}()
	through, err := fixed(ctx, w.by(tapProxy).addr, small(fixedConnections), fixedRate-togetherOther, length)
	<-done
	if err := errors.Join(err, besideErr); err != nil {
		return nil, err
	}
	_, err = w.by(tapProxy).kept(ctx)
	return map[string]quantiles{tapProxy: quantilesOf(through), haproxyTCP: quantilesOf(beside)}, err
}

func togetherTable(times map[string][]quantiles) table {
	t := table{
		title: fmt.Sprintf("The same load through both at once: %d/s through the tap, %d/s through HAProxy, ms", fixedRate-togetherOther, togetherOther),
		head:  []string{"through", "p50", "p99", "p99.9", "p99 each round"},
		notes: []string{
			"Above, HAProxy has the two cores without Kafka at work, and the tap has not. Here both meet the same: what is left between them is the tap,",
			"and what HAProxy takes longer here than above is Kafka, redaction and compression on the cores of the generator and the origin.",
		},
	}
	for _, name := range []string{haproxyTCP, tapProxy} {
		var of [3][]float64
		for _, q := range times[name+together] {
			of[0], of[1], of[2] = append(of[0], q.p50), append(of[1], q.p99), append(of[2], q.p999)
		}
		t.rows = append(t.rows, []string{
			name, fmt.Sprintf("%.2f", median(of[0])), fmt.Sprintf("%.2f", median(of[1])), fmt.Sprintf("%.2f", median(of[2])), each(of[1], "%.2f"),
		})
	}
	v := added(times, tapProxy+together, haproxyTCP+together, p99)
	t.rows = append(t.rows, []string{"tap − HAProxy", "", fmt.Sprintf("%+.2f", median(v)), "", each(v, "%.2f")})
	return t
}

// added is what a way adds to another's time, round by round.
func added(times map[string][]quantiles, over, under string, f func(quantiles) float64) []float64 {
	v := make([]float64, len(times[over]))
	for i := range v {
		v[i] = f(times[over][i]) - f(times[under][i])
	}
	return v
}

func p50(q quantiles) float64 { return q.p50 }
func p99(q quantiles) float64 { return q.p99 }

func rateAsked(times map[string][]quantiles) table {
	t := table{
		title: fmt.Sprintf("What was asked: %d/s, ms that the tap adds to HAProxy's time", fixedRate),
		head:  []string{"", "asked", "median", "", "each round"},
	}
	for _, row := range []struct {
		name string
		bar  float64
		of   func(quantiles) float64
	}{{"p50", 0.2, p50}, {"p99", 0.5, p99}} {
		v := added(times, tapProxy, haproxyTCP, row.of)
		t.rows = append(t.rows, []string{row.name, fmt.Sprintf("≤ %.1f", row.bar), fmt.Sprintf("%.3f", median(v)), held(median(v) <= row.bar), each(v, "%.3f")})
	}
	return t
}

func (b *bench) rateTable(w *ways, times map[string][]quantiles, turns map[string][]turn) table {
	t := table{
		title: fmt.Sprintf("Time of an answer at %d/s: small GETs, %d connections, ms", fixedRate, fixedConnections),
		head:  []string{"through", "p50", "p99", "p99.9", "max", "p50 − HAProxy's", "p99 − HAProxy's", "CPU µs/request", "captured %", "p99 each round"},
		notes: []string{
			"Open loop: a request has its due time, whatever became of those before it, and its time counts from then (`e2e/openloop`). Its thread asks the",
			"kernel for short slices, or its own waits for a core would count as everybody's. The tap's event loop has nice value -10 when root",
			"runs this, as by default (`--forward-nice`); all others have 0.",
			fmt.Sprintf("Kafka has had %s of this load before, through the tap: until its JVM has compiled what a small batch takes, the tap's p99 is twice as high.", fixedWarmer*b.warmUp),
			fmt.Sprintf("Medians of %d rounds, each in an order of its own; differences are taken within a round. p99.9 and max of \"direct\" tell what the machine itself does.", len(times[direct])),
		},
	}
	for _, x := range w.all {
		of := func(f func(quantiles) float64) []float64 {
			v := make([]float64, len(times[x.name]))
			for i, q := range times[x.name] {
				v[i] = f(q)
			}
			return v
		}
		cells := []string{x.name}
		for _, f := range []func(quantiles) float64{p50, p99, func(q quantiles) float64 { return q.p999 }, func(q quantiles) float64 { return q.max }} {
			cells = append(cells, fmt.Sprintf("%.2f", median(of(f))))
		}
		for _, f := range []func(quantiles) float64{p50, p99} {
			cells = append(cells, fmt.Sprintf("%+.2f", median(added(times, x.name, haproxyTCP, f))))
		}
		cpu, captured := "", ""
		if len(x.programs) > 0 {
			cpu = fmt.Sprintf("%.1f", median(column(turns[x.name], func(t turn) float64 { return t.cpu })))
		}
		if x.kept != nil {
			captured = each(column(turns[x.name], func(t turn) float64 { return 100 * t.captured }), "%.2f")
		}
		t.rows = append(t.rows, append(cells, cpu, captured, each(of(p99), "%.2f")))
	}
	return t
}
