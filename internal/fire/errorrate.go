package fire

import (
	"fmt"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/threshold"
)

// ErrorRate is a share of errors in a sliding window of time: 5 % of what was answered in the last 30 s. What is an error
// says Valve.
type ErrorRate struct {
	Above   float64       // share, 0 < Above < 1: an error rate above it is too high
	Within  time.Duration // length of the window
	AtLeast int           // so many must be in the window for it to mean something; 0: 1
}

// Bounds of the window of an ErrorRate.
const (
	shortestWindow = time.Second
	longestWindow  = time.Hour
)

// ParseErrorRate reads "5%", "5%/30s" or "error_rate > 5%/30s"; what is not said is as in unless.
func ParseErrorRate(s string, unless ErrorRate) (ErrorRate, error) {
	r := unless
	text, err := threshold.Split(s)
	if err != nil {
		return r, badErrorRate(s, err.Error())
	}
	if text.Name != "" && text.Name != "error_rate" {
		return r, badErrorRate(s, "it is about error_rate only")
	}
	percent, err := threshold.Percent(text.Value)
	if err != nil {
		return r, badErrorRate(s, err.Error())
	}
	r.Above = percent / 100
	if text.Windowed {
		r.Within = text.Window
	}
	return r, r.check(s)
}

func (r ErrorRate) check(s string) error {
	switch {
	case !(r.Above > 0 && r.Above < 1):
		return badErrorRate(s, "want a rate above 0 % and below 100 %")
	case r.Within < shortestWindow || r.Within > longestWindow:
		return badErrorRate(s, fmt.Sprintf("want a window from %s to %s", shortestWindow, longestWindow))
	}
	return nil
}

// Check returns a *fault.Error about what cannot be.
func (r ErrorRate) Check() error { return r.check(r.String()) }

func badErrorRate(s, cause string) error {
	return fault.BadUsage("bad error rate "+strconv.Quote(s), cause, "5%, 5%/30s, or 'error_rate > 50%/10s'")
}

// String returns it as ParseErrorRate reads it.
func (r ErrorRate) String() string {
	return percent(r.Above) + "%/" + r.Within.String()
}

// percent writes a share without the sign, in up to two digits behind the point.
func percent(share float64) string {
	return strconv.FormatFloat(math.Round(share*10000)/100, 'f', -1, 64)
}

// ErrorCount is how many answers there were in a window, and how many of them were errors.
type ErrorCount struct {
	Errors, All int
	Within      time.Duration
}

// String says it: "7.1 % of 412 requests failed within 30s".
func (c ErrorCount) String() string {
	return fmt.Sprintf("%s %% of %d requests failed within %s", percent(float64(c.Errors)/float64(max(1, c.All))), c.All, c.Within)
}

const windowSlices = 10

// errorWindow counts errors exactly, in slices of its length. It is safe for concurrent use.
type errorWindow struct {
	rate  ErrorRate
	start time.Time

	mu     sync.Mutex
	slices [windowSlices]struct {
		number      int64 // of the slice, since start
		errors, all int
	}
}

func newErrorWindow(rate ErrorRate) *errorWindow { return &errorWindow{rate: rate, start: time.Now()} }

func (w *errorWindow) number() int64 {
	return int64(time.Since(w.start) / (w.rate.Within / windowSlices))
}

// add counts one answer and reports whether there are too many errors now.
func (w *errorWindow) add(isError bool) (ErrorCount, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.number()
	s := &w.slices[n%windowSlices]
	if s.number != n {
		s.number, s.errors, s.all = n, 0, 0
	}
	s.all++
	if isError {
		s.errors++
	}
	c := w.sum(n)
	return c, c.All >= w.rate.AtLeast && float64(c.Errors) > w.rate.Above*float64(c.All)
}

// count returns what is in the window.
func (w *errorWindow) count() ErrorCount {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sum(w.number())
}

func (w *errorWindow) sum(n int64) ErrorCount {
	c := ErrorCount{Within: w.rate.Within}
	for i := range w.slices {
		if s := &w.slices[i]; n-s.number < windowSlices {
			c.Errors += s.errors
			c.All += s.all
		}
	}
	return c
}
