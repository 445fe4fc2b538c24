package proxy

import (
	"sync/atomic"
	"time"
)

// How long an address that could not be connected to is passed over while there are others: twice as long each time.
const (
	firstBackOff   = time.Second
	longestBackOff = 30 * time.Second
	// trialTime is longer than one of several is waited for (giveUpSoon): until it is over one client finds out for all.
	trialTime = 5 * time.Second
)

// respite is when an address is tried again. Its times are since the resolver was made: the clock of the wall may jump. The zero
// value is an address that works.
type respite struct {
	failures atomic.Int32
	until    atomic.Int64 // ns; 0: it works
	trial    atomic.Bool  // until is that of a trial, not of a rest
}

// works reports that connecting did not fail when it was tried last.
func (r *respite) works() bool { return r.until.Load() == 0 }

// resting reports that connecting failed, and that it is not time yet to try again while there are others.
func (r *respite) resting(now time.Duration) bool { return int64(now) < r.until.Load() }

// try reports whether whoever asks is to find out if it works again: one at a time, when the rest is over.
func (r *respite) try(now time.Duration) bool {
	until := r.until.Load()
	if until == 0 || int64(now) < until || !r.until.CompareAndSwap(until, int64(now+trialTime)) {
		return false
	}
	r.trial.Store(true)
	return true
}

// failed lets it rest, longer each time. Others that were on their way when it failed are no new failures.
func (r *respite) failed(now time.Duration) {
	if r.resting(now) && !r.trial.Swap(false) {
		return
	}
	failures := min(r.failures.Add(1), 16)
	r.until.Store(int64(now + min(firstBackOff<<(failures-1), longestBackOff)))
}

// worked ends it, and reports whether there was one.
func (r *respite) worked() bool {
	if r.works() {
		return false
	}
	r.failures.Store(0)
	r.trial.Store(false)
	return r.until.Swap(0) != 0
}
