package main

import (
	"cmp"

	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/replay"
	"github.com/reprise-io/reprise/internal/rules"
)

// applyLimits adds what bounds the load: a flag that was given, else what the file says, else the flag's default.
func (o *options) applyLimits(r *replay.Options, file *rules.Limits) error {
	if o.firing == nil {
		return nil
	}
	if !o.firing.Changed("rate-limit") {
		r.RateLimit = cmp.Or(file.Rate, r.RateLimit)
	}
	if !o.firing.Changed("concurrency") {
		r.Concurrency = cmp.Or(file.Concurrency, r.Concurrency)
	}
	r.Adaptive = o.adaptive
	if !o.firing.Changed("adaptive") {
		r.Adaptive = file.Adaptive
	}
	breaker, said, err := file.Breaker.Options()
	if o.firing.Changed("breaker") || !said && err == nil {
		breaker, err = fire.ParseBreaker(o.breaker)
	}
	if err != nil {
		return err
	}
	r.Breaker = breaker
	most := o.maxErrorRate
	if !o.firing.Changed("max-error-rate") {
		most = file.MaxErrorRate
	}
	if most == "" {
		return nil
	}
	rate, err := fire.ParseErrorRate(most, fire.DefaultMaxErrorRate())
	if err != nil {
		return err
	}
	r.MaxErrorRate = &rate
	return nil
}
