package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/reprise-io/reprise/e2e/proc"
	"github.com/reprise-io/reprise/e2e/sink"
)

// shot is what programs fired in a turn.
type shot struct {
	arrivals []sink.Arrival // in the order in which they came; nil: they were only counted
	requests int
	cpu      time.Duration // of all of them, from start to end
	stdout   string        // of the first
	began    time.Time     // when the first was started
}

// each is the CPU time of one request, in µs.
func (s shot) each() float64 { return float64(s.cpu.Microseconds()) / float64(max(1, s.requests)) }

// firing is a turn: who fires at a sink, and until when.
type firing struct {
	programs func(addr string) ([]proc.Options, error)
	// endless programs are ended when so many requests have come or when none came for two seconds; 0: they end by themselves.
	endless int
	within  time.Duration
	sink    sink.Options
}

// fire runs the programs, all at once, beside a sink.
func (b *bench) fire(ctx context.Context, f firing) (s shot, err error) {
	target, err := sink.New(f.sink)
	if err != nil {
		return s, err
	}
	ctx, cancel := context.WithTimeout(ctx, f.within)
	defer cancel()
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- target.Run(serving) }()
	defer func() {
		end()
		err = cmp.Or(err, <-done)
		s.arrivals, s.requests = target.Arrivals(), target.Requests()
	}()
	all, err := f.programs(target.Addr())
	if err != nil {
		return s, err
	}
	var running []*proc.Process
	defer func() {
		for _, p := range running {
			p.Kill()
		}
	}()
	s.began = time.Now()
	for _, o := range all {
		p, err := proc.Start(o)
		if err != nil {
			return s, err
		}
		running = append(running, p)
	}
	if f.endless > 0 {
		quiet(ctx, target, f.endless)
		for _, p := range running {
			_, _ = p.Stop(3 * time.Second) // killed when it does not
		}
	}
	for i, p := range running {
		code, err := p.Wait(ctx)
		if err == nil && code != 0 {
			err = fmt.Errorf("exit code %d", code)
		}
		if err != nil && f.endless == 0 {
			return s, fmt.Errorf("%s: %w\n%s", filepath.Base(all[i].Path), err, p.Stderr())
		}
		cpu, _ := p.Usage()
		s.cpu += cpu
	}
	s.stdout = running[0].Stdout()
	return s, nil
}

// quiet waits until a sink has had so many requests, or none for two seconds since the first, or until ctx ends.
func quiet(ctx context.Context, target *sink.Sink, requests int) {
	last, since := 0, time.Now()
	_ = proc.Poll(ctx, func() error {
		now := target.Requests()
		if now != last {
			last, since = now, time.Now()
		}
		if now >= requests || now > 0 && time.Since(since) > 2*time.Second {
			return nil
		}
		return errors.New("requests are still coming")
	})
}
