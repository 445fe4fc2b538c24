package sample

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/paths"
	"github.com/reprise-io/reprise/internal/traffic"
)

// Keep is how much of each route is kept at least, whatever the share: so many exchanges a second. The zero value is nothing.
type Keep struct{ perSecond float64 }

// ParseKeep reads "1/s", "10/m" or "100/h", with or without " per route"; empty is nothing.
func ParseKeep(s string) (Keep, error) {
	text := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(s), "per route"))
	if text == "" && s == "" {
		return Keep{}, nil
	}
	number, unit, _ := strings.Cut(text, "/")
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	seconds := map[string]float64{"s": 1, "m": 60, "h": 3600}[strings.TrimSpace(unit)]
	if err != nil || seconds == 0 || !(n > 0) || n > 1e6 {
		return Keep{}, fault.BadUsage(fmt.Sprintf("bad quota %q", s), "want how many exchanges of each route are kept at least", "1/s per route, 10/m")
	}
	return Keep{n / seconds}, nil
}

// Given reports whether there is a quota.
func (k Keep) Given() bool { return k.perSecond > 0 }

// String writes the quota as ParseKeep reads it.
func (k Keep) String() string {
	if !k.Given() {
		return ""
	}
	for _, u := range []struct {
		name    string
		seconds float64
	}{{"s", 1}, {"m", 60}, {"h", 3600}} {
		if n := k.perSecond * u.seconds; n >= 1 || u.name == "h" {
			return strconv.FormatFloat(math.Round(n*1000)/1000, 'g', -1, 64) + "/" + u.name + " per route"
		}
	}
	return ""
}

// Bounds of a Quota.
const (
	maxRoutes  = 1024        // with an account of their own at a time; the others share one
	sweepEvery = time.Second // how often accounts that say nothing are looked for
	maxMethod  = 16          // bytes; a longer method is one of all of those
)

// Quota keeps exchanges of rare routes that a Share would leave out. Each route, a method and the template of a path, has an
// account that fills at the rate of the Keep, up to one second's worth or one exchange. What the share keeps is paid from it
// too, so a route that is not rare costs nothing more. It is safe for concurrent use, and remembers at most maxRoutes routes and
// what paths.Templates does.
type Quota struct {
	keep      Keep
	templates paths.Templates

	mu       sync.Mutex
	accounts map[string]*account
	others   account // of all routes that have none
	swept    time.Time
	kept     uint64
	overflow uint64
}

// account is a bucket of tokens: as many as there were at a time.
type account struct {
	tokens float64
	at     time.Time // zero: it is full
}

// NewQuota returns a quota in which every account is full.
func NewQuota(keep Keep) *Quota { return &Quota{keep: keep, accounts: make(map[string]*account)} }

// Take books x, which the share keeps or leaves out, and reports whether it is to be kept because its route is rare.
func (q *Quota) Take(x *traffic.Exchange, byShare bool, now time.Time) (rare bool) {
	route := q.route(x)
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.account(route, now)
	q.fill(a, now)
	switch {
	case byShare:
		a.tokens = max(0, a.tokens-1)
		return false
	case a.tokens < 1:
		return false
	}
	a.tokens--
	q.kept++
	return true
}

func (q *Quota) route(x *traffic.Exchange) string {
	method := x.Request.Method
	if len(method) > maxMethod {
		method = nil
	}
	return string(method) + " " + q.templates.Template(x.Request.Target)
}

// account returns that of a route; called locked.
func (q *Quota) account(route string, now time.Time) *account {
	if a := q.accounts[route]; a != nil {
		return a
	}
	if len(q.accounts) >= maxRoutes {
		q.sweep(now)
	}
	if len(q.accounts) >= maxRoutes {
		q.overflow++
		return &q.others
	}
	a := new(account)
	q.accounts[route] = a
	return a
}

// sweep forgets accounts that are full: a new one is too.
func (q *Quota) sweep(now time.Time) {
	if now.Sub(q.swept) < sweepEvery {
		return
	}
	q.swept = now
	for route, a := range q.accounts {
		if q.fill(a, now); a.tokens >= q.full() {
			delete(q.accounts, route)
		}
	}
}

// full is what an account holds at most.
func (q *Quota) full() float64 { return max(1, q.keep.perSecond) }

func (q *Quota) fill(a *account, now time.Time) {
	if a.at.IsZero() {
		a.tokens = q.full()
	} else if since := now.Sub(a.at); since > 0 {
		a.tokens = min(q.full(), a.tokens+since.Seconds()*q.keep.perSecond)
	}
	if a.at.IsZero() || now.After(a.at) {
		a.at = now
	}
}

// Stats are the figures of a Quota.
type Stats struct {
	Kept     uint64 // exchanges that the share would have left out
	Overflow uint64 // exchanges whose route had no account of its own
	Routes   int    // accounts now
}

// Stats returns the figures so far.
func (q *Quota) Stats() Stats {
	if q == nil {
		return Stats{}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return Stats{q.kept, q.overflow, len(q.accounts)}
}
