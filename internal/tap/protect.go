package tap

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/reprise-io/reprise/internal/meter"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// reasonProtection names what was not captured because the tap had switched capture off by itself.
const reasonProtection = "self_protection"

const (
	lookEvery = time.Second
	// trimEvery is how often memory is given back to the kernel while there is too much of it: nothing else lets it fall
	// when nothing is captured.
	trimEvery = 10 * time.Second
)

// protector switches capture off while the tap uses more than it is to, so that forwarding has the rest.
type protector struct {
	bounds  meter.Bounds
	measure func() (meter.Use, error)
	wanted  func() bool // people want capture to be on
	shut    func(bool)  // keep nothing more, or keep again
	due     func()      // a report is
	trim    func()
	log     *slog.Logger

	limits  guardLimits
	guard   guard // of run
	trimmed time.Time
	blind   bool // it could not measure

	mu       sync.Mutex
	now      *reprisev1.SelfProtection // nil: capture is not off by itself
	switches map[string]uint64
	share    float64
}

func newProtector(o Options, p *Pipeline, b *board) *protector {
	limits := guardLimits{cpu: o.MaxCPU.of(o.Bounds), memory: o.MaxRSS.of(o.Bounds)}
	return &protector{
		bounds: o.Bounds, measure: meter.Read, wanted: p.wanted, shut: p.cfg.Budget.shut.Store, due: b.due, trim: debug.FreeOSMemory,
		log: o.Logger, limits: limits, guard: guard{limits: limits}, switches: map[string]uint64{causeCPU: 0, causeMemory: 0},
	}
}

// run looks every second until ctx ends. Without a limit there is nothing to do.
func (p *protector) run(ctx context.Context) error {
	if p.limits == (guardLimits{}) {
		return nil
	}
	p.log.Info("self-protection", "max_cpu", p.sayCPU(p.limits.cpu), "max_rss", sayBytes(p.limits.memory))
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		p.look(time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (p *protector) look(now time.Time) {
	used, err := p.measure()
	if err != nil {
		if !p.blind {
			p.log.Error("THE TAP CANNOT MEASURE ITSELF: capture goes on without self-protection", "error", err)
		}
		p.blind = true
		return
	}
	p.blind = false
	was, off, wanted := p.guard.cause, p.guard.off, p.wanted()
	v := p.guard.look(usage{now, used.CPU, used.Resident}, p.bounds.CPUs, wanted)
	p.mu.Lock()
	p.share = v.share
	p.mu.Unlock()
	switch {
	case !v.changed:
	case !off:
		p.switchedOff(v, now)
	case wanted:
		p.note(nil)
		p.shut(false)
		p.log.Warn("CAPTURE SWITCHED ITSELF ON AGAIN", "was_off_by", was, "cpu", p.sayCPU(v.share), "rss", sayBytes(v.resident))
	default:
		p.note(nil)
		p.shut(false)
		p.log.Info("capture was off by itself and is off by command or configuration now")
	}
	if p.guard.off && p.guard.cause == causeMemory && p.guard.quiet.IsZero() && now.Sub(p.trimmed) >= trimEvery {
		p.trimmed = now
		p.trim()
	}
}

func (p *protector) switchedOff(v verdict, now time.Time) {
	g, limits := &p.guard, p.limits
	p.shut(true)
	s := &reprisev1.SelfProtection{Cause: g.cause, SinceUnixNano: unixNano(now), Value: v.share, Limit: limits.cpu}
	value, limit, lower, try := p.sayCPU(v.share), p.sayCPU(limits.cpu), p.sayCPU(limits.cpu*lowerBound),
		"less to capture (tap set --sample 10%, --exclude), more CPU for the tap, or another --max-cpu"
	if g.cause == causeMemory {
		s.Value, s.Limit = float64(v.resident), float64(limits.memory)
		value, limit, lower = sayBytes(v.resident), sayBytes(limits.memory), sayBytes(int64(float64(limits.memory)*lowerBound))
		try = "a smaller --memory-max, fewer connections (--max-connections), more memory for the tap, or another --max-rss"
	}
	p.note(s)
	p.log.Warn("CAPTURE SWITCHED ITSELF OFF: traffic passes and is counted, nothing is recorded", "because_of", g.cause, "value", value, "limit", limit,
		"back", fmt.Sprintf("when it has been below %s for %s", lower, g.wait), "try", try)
}

// note keeps what reports and metrics tell.
func (p *protector) note(s *reprisev1.SelfProtection) {
	p.mu.Lock()
	if p.now = s; s != nil {
		p.switches[s.GetCause()]++
	}
	p.mu.Unlock()
	p.due()
}

// report is nil while capture is not off by itself.
func (p *protector) report() *reprisev1.SelfProtection {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *protector) sayCPU(share float64) string {
	if share == 0 {
		return "none"
	}
	return fmt.Sprintf("%.0f%% of %.3g CPUs", share*100, p.bounds.CPUs)
}

func sayBytes(n int64) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// register exports what the protector does.
func (p *protector) register(r prometheus.Registerer) error {
	return r.Register((*protectorMetrics)(p))
}

type protectorMetrics protector

// Describe implements prometheus.Collector.
func (m *protectorMetrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements prometheus.Collector.
func (m *protectorMetrics) Collect(ch chan<- prometheus.Metric) {
	p := (*protector)(m)
	p.mu.Lock()
	defer p.mu.Unlock()
	metric := func(name, help string, kind prometheus.ValueType, value float64, labels ...string) {
		var names []string
		if len(labels) > 0 {
			names = []string{"cause"}
		}
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, names, nil), kind, value, labels...)
	}
	for cause, n := range p.switches {
		off := 0.0
		if p.now.GetCause() == cause {
			off = 1
		}
		metric("reprise_tap_self_protection_off", "1 while capture has switched itself off.", prometheus.GaugeValue, off, cause)
		metric("reprise_tap_self_protection_total", "Times that capture has switched itself off.", prometheus.CounterValue, float64(n), cause)
	}
	metric("reprise_tap_cpu_share", "Share of the CPU that it may use which the tap used over the last seconds; 0 without --max-cpu and --max-rss.", prometheus.GaugeValue, p.share)
	metric("reprise_tap_cpu_max_share", "Share above which capture switches itself off (--max-cpu); 0: never.", prometheus.GaugeValue, p.limits.cpu)
	metric("reprise_tap_rss_max_bytes", "Resident bytes above which capture switches itself off (--max-rss); 0: never.", prometheus.GaugeValue, float64(p.limits.memory))
}
