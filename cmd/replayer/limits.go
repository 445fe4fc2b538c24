package main

import (
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/replay"
)

// The values of --breaker that are no error rate.
const (
	on  = "on"
	off = "off"
)

// resolveLimits reads the flags that spare the target.
func (o *options) resolveLimits(r *replay.Options) (err error) {
	r.Adaptive = o.adaptive
	if o.breaker != "" && o.breaker != off {
		b := fire.DefaultBreaker()
		if o.breaker != on {
			if b.ErrorRate, err = fire.ParseErrorRate(o.breaker, b.ErrorRate); err != nil {
				return err
			}
		}
		if err = b.Check(); err != nil {
			return err
		}
		r.Breaker = &b
	}
	if o.maxErrorRate != "" {
		rate, err := fire.ParseErrorRate(o.maxErrorRate, fire.DefaultMaxErrorRate())
		if err != nil {
			return err
		}
		r.MaxErrorRate = &rate
	}
	return nil
}
