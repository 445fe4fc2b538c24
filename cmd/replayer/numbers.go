package main

import (
	"strconv"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
)

// checkNumbers refuses what was given and is out of its range: the default in its place would be another run than the one that was
// asked for. Nothing given is no fault.
func (o *options) checkNumbers() error {
	if o.given == nil {
		return nil
	}
	const someTime = "want a time above 0"
	for _, f := range []struct {
		flag      string
		bad       bool
		want, try string
	}{
		{"run", o.run == "", "without a name nobody could resume it", "--run monday-2, or no --run for a new name"},
		{"sample", o.sample == "", "want a share above 0%", "--sample 10%"},
		{"clone", o.clones < 1, "want 1 or more", "--clone 5"},
		{"wait-replicas", o.waitReplicas < 1, "want 1 or more", "--wait-replicas 3"},
		{"concurrency", o.concurrency < 1, "want 1 or more", "--concurrency 500"},
		{"retries", o.retries < 0, "want 0 or more", "--retries 2"},
		{"timeout", o.timeout <= 0, someTime, "--timeout 30s"},
		{"order-wait", o.orderWait <= 0, someTime, "--order-wait 10s; --order none, if none is to wait"},
		{"late-after", o.lateAfter <= 0, someTime, "--late-after 100ms"},
		{"look-ahead", o.lookAhead < 1<<20, "want 1MiB or more", "--look-ahead 64MiB"},
		{"lag", o.lag <= 0, someTime, "--lag 3s"},
		{"max-stale", o.maxStale <= 0, someTime, "--max-stale " + time.Minute.String()},
		{"duration", o.duration < 0, "want 0 or more", "--duration 1h; 0 for no end"},
	} {
		if f.bad && o.given.Changed(f.flag) {
			return fault.BadUsage("bad --"+f.flag+" "+strconv.Quote(o.given.Lookup(f.flag).Value.String()), f.want, f.try)
		}
	}
	return nil
}
