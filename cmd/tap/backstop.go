package main

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/reprise-io/reprise/internal/meter"
)

// gcPercent trades memory, of which capture holds little, for time that the traffic needs.
const gcPercent = 400

// spareProcs are there so that an event loop that comes back from the kernel finds a P at once, however busy the rest is.
const spareProcs = 2

// What the process may take beside what capture holds, before the garbage collector works harder.
const (
	besideCapture  = 30 << 20 // with the pages that the collector does not count, the process stays within 64 MiB
	perConnection  = 4 << 10
	fewConnections = 64  // are allowed for from the start
	groupShare     = 0.8 // of the control group's memory: collecting comes before --max-rss, and that before the kernel
	aboveLive      = 4   // a fourth is added to what is in use: what traffic needs must not keep the collector busy
	holdStep       = 16 << 20
	stepEvery      = 2 * time.Second
)

// backstop is the garbage collector's limit above the budget that capture keeps by itself. It grows with the connections that
// are open, and with what is really held, as by clients that do not read: a fixed one for all that could be would be none, and
// one for few would let the collector eat a crowded tap's time.
type backstop struct {
	memoryMax int64
	group     int64 // 0: none
	allowed   int64 // connections that the limit in force is for
	inForce   int64
	by        string
}

// newBackstop sets the limit for few connections. What the environment says (GOMEMLIMIT, GOGC) is stronger.
func newBackstop(memoryMax int64, bounds meter.Bounds, log *slog.Logger) *backstop {
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + spareProcs)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	b := &backstop{memoryMax: memoryMax, group: bounds.Memory, by: os.Getenv("GOMEMLIMIT")}
	if group := float64(b.group); group > 0 && float64(memoryMax+besideCapture) > group*groupShare {
		log.Warn("the memory that this process may have is less than capture may want: it may be killed before it sheds",
			"control_group", mebibytes(b.group), "memory_max", mebibytes(memoryMax),
			"try", "--memory-max "+mebibytes(max(1<<20, int64(group*groupShare)-besideCapture))+", or a limit of "+mebibytes(int64(float64(memoryMax+besideCapture)/groupShare)))
	}
	if b.by != "" {
		log.Info("GOMEMLIMIT is set: it is the limit of the garbage collector, not what follows from --memory-max", "GOMEMLIMIT", b.by,
			"would_be", mebibytes(b.limit(fewConnections)))
		if now := debug.SetMemoryLimit(-1); now < memoryMax+besideCapture {
			log.Warn("GOMEMLIMIT is below --memory-max and what a tap takes beside it: when capture holds much, collecting garbage takes the time that traffic needs",
				"GOMEMLIMIT", b.by, "memory_max", mebibytes(memoryMax), "beside", mebibytes(besideCapture))
		}
		return b
	}
	b.allow(fewConnections)
	return b
}

// limit is --memory-max, what a process takes, and what connections do.
func (b *backstop) limit(connections int64) int64 {
	return b.within(b.memoryMax + besideCapture + perConnection*min(connections, math.MaxInt64/4/perConnection))
}

// within bounds a limit by what the control group has.
func (b *backstop) within(limit int64) int64 {
	if b.group > 0 {
		limit = min(limit, int64(float64(b.group)*groupShare))
	}
	return limit
}

// allow raises the limit in powers of two, as setting it stops everything for a moment. It never falls.
func (b *backstop) allow(connections int64) {
	if connections > b.allowed {
		b.allowed = connections
		b.raise(b.limit(connections))
	}
}

// hold keeps the limit a fourth above the bytes that the last collection has found in use.
func (b *backstop) hold(live int64) {
	b.raise(b.within((live + live/aboveLive + holdStep - 1) / holdStep * holdStep))
}

func (b *backstop) raise(limit int64) {
	if b.by == "" && limit > b.inForce {
		b.inForce = limit
		debug.SetMemoryLimit(limit)
	}
}

// run follows the number of connections, and what is in use, until ctx ends.
func (b *backstop) run(ctx context.Context, open func() int64) {
	tick := time.NewTicker(stepEvery)
	defer tick.Stop()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if n := open(); n > b.allowed {
				b.allow(powerAbove(n))
			}
			if metrics.Read(live); live[0].Value.Kind() == metrics.KindUint64 {
				b.hold(int64(live[0].Value.Uint64()))
			}
		}
	}
}

// powerAbove is the least power of two that is not below n.
func powerAbove(n int64) int64 {
	p := int64(1)
	for p < n && p < math.MaxInt64/4 {
		p *= 2
	}
	return p
}

func mebibytes(n int64) string { return fmt.Sprintf("%dMiB", n>>20) }
