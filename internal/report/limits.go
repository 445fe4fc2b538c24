package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Limits is what was to spare the target, and what it did. What was off is absent.
type Limits struct {
	Breaker      *Breaker  `json:"breaker,omitempty"`
	Adaptive     *Adaptive `json:"adaptive,omitempty"`
	MaxErrorRate float64   `json:"max_error_rate,omitempty"` // share of errors above which the run was to stop
}

// Breaker is when the target was left alone.
type Breaker struct {
	OpenedByErrors     int64   `json:"opened_by_errors"`      // times
	OpenedByRetryAfter int64   `json:"opened_by_retry_after"` // times that a 503 asked for it
	Open               bool    `json:"open"`                  // at the end
	OpenMs             float64 `json:"open_ms"`               // altogether, until its probes had gone well
	LongestMs          float64 `json:"longest_ms"`
	Probes             int64   `json:"probes"`
	Held               int64   `json:"held"` // requests that had left for the target and waited; others waited in the look-ahead
	LongestHeldMs      float64 `json:"longest_held_ms"`
}

// Adaptive is how many requests at a time the target was given.
type Adaptive struct {
	Lowest  int     `json:"lowest"`
	Last    int     `json:"last"`
	Most    int     `json:"most"`    // --concurrency
	Reached float64 `json:"reached"` // share of the run in which as many were under way as the limit was then
}

// limitLines says what spared the target.
func (r *Report) limitLines(line liner) {
	if r.Limits == nil {
		return
	}
	if b := r.Limits.Breaker; b != nil && b.OpenedByErrors+b.OpenedByRetryAfter > 0 {
		line("breaker", "%s", b.text())
	}
	if a := r.Limits.Adaptive; a != nil {
		line("adaptive", "at most %d of %d at a time at the end, %d at the lowest   reached for %s of the run", a.Last, a.Most, a.Lowest,
			share(int64(a.Reached*10000), 10000))
	}
}

func (b *Breaker) text() string {
	var why []string
	for _, w := range []named{{"errors", b.OpenedByErrors}, {"Retry-After", b.OpenedByRetryAfter}} {
		if w.count > 0 {
			why = append(why, w.name+" "+Number(w.count))
		}
	}
	text := fmt.Sprintf("open %s in %s (%s), at most %s   %s   %s waited, up to %s",
		Seconds(asTime(b.OpenMs)), Count(b.OpenedByErrors+b.OpenedByRetryAfter, "time"), strings.Join(why, ", "), Seconds(asTime(b.LongestMs)),
		Count(b.Probes, "probe"), Count(b.Held, "request"), Seconds(asTime(b.LongestHeldMs)))
	if b.Open {
		text += "   still open"
	}
	return text
}

func asTime(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

// Seconds writes a time in seconds: "0.4 s", "12 s", "1,204 s".
func Seconds(d time.Duration) string {
	if d < 10*time.Second {
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	}
	return Number(int64(d.Seconds()+.5)) + " s"
}
