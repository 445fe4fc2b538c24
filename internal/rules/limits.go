package rules

import (
	"math"
	"time"

	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/yamlfile"
)

// Limits is the section that bounds the load. It is no part of the digest: it changes how fast is fired, not what, and may
// be another one when a run is resumed. A flag goes before its key.
type Limits struct {
	Rate         float64 `yaml:"rate" doc:"most requests a second of all replicas together; --rate-limit"`
	Concurrency  int     `yaml:"concurrency" doc:"most requests in flight of a replica; --concurrency"`
	Adaptive     bool    `yaml:"adaptive" default:"off" doc:"fewer at a time while answers take longer than they did; --adaptive"`
	Breaker      Breaker `yaml:"breaker" doc:"when the target is left alone, and probed; --breaker"`
	MaxErrorRate string  `yaml:"max-error-rate" doc:"stop the run with exit code 3 when more than this fails: 5%, or 5%/30s; --max-error-rate"`
}

// Breaker is "on", "off", an error rate, or keys.
type Breaker struct {
	Text      string        `yaml:",text" doc:"on, off or an error rate: 50%/10s"`
	ErrorRate string        `yaml:"error-rate" default:"50%/10s" doc:"it opens above it"`
	AtLeast   int           `yaml:"at-least" default:"20" doc:"so many answers must there be in that time"`
	Wait      time.Duration `yaml:"wait" default:"1s" doc:"until the target is probed; twice as long each time that this fails"`
	Longest   time.Duration `yaml:"longest-wait" default:"30s" doc:"that it waits, whatever Retry-After asks for"`
	Probes    int           `yaml:"probes" default:"3" doc:"requests that must go well for it to close"`
}

// Check implements yamlfile.Checker.
func (l *Limits) Check(f *yamlfile.File) {
	if l.Rate < 0 || math.IsNaN(l.Rate) || math.IsInf(l.Rate, 0) {
		f.At(&l.Rate, "rate cannot be %v: want requests a second, such as 500", l.Rate)
	}
	if l.Concurrency < 0 {
		f.At(&l.Concurrency, "concurrency cannot be %d: want a number of requests, such as 64", l.Concurrency)
	}
	if l.MaxErrorRate == "" {
		return
	}
	if _, err := fire.ParseErrorRate(l.MaxErrorRate, fire.DefaultMaxErrorRate()); err != nil {
		f.At(&l.MaxErrorRate, "%s", err)
	}
}

// Check implements yamlfile.Checker.
func (b *Breaker) Check(f *yamlfile.File) {
	if _, _, err := b.Options(); err != nil {
		f.At(b.place(), "%s", err)
	}
}

// place is the value that an error is most likely about.
func (b *Breaker) place() any {
	switch {
	case b.Text != "":
		return &b.Text
	case b.ErrorRate != "":
		return &b.ErrorRate
	case b.Wait != 0:
		return &b.Wait
	case b.Longest != 0:
		return &b.Longest
	}
	return &b.Probes
}

// Options returns the breaker of the sender; nil: none. said is false when the file does not speak of one.
func (b *Breaker) Options() (breaker *fire.Breaker, said bool, err error) {
	if *b == (Breaker{}) {
		return nil, false, nil
	}
	if b.Text != "" {
		breaker, err = fire.ParseBreaker(b.Text)
		return breaker, true, err
	}
	o := fire.DefaultBreaker()
	if b.ErrorRate != "" {
		if o.ErrorRate, err = fire.ParseErrorRate(b.ErrorRate, o.ErrorRate); err != nil {
			return nil, true, err
		}
	}
	if b.AtLeast != 0 {
		o.AtLeast = b.AtLeast
	}
	if b.Wait != 0 {
		o.Wait = b.Wait
		o.Longest = max(o.Longest, o.Wait)
	}
	if b.Longest != 0 {
		o.Longest = b.Longest
	}
	if b.Probes != 0 {
		o.Probes = b.Probes
	}
	return &o, true, o.Check()
}
