package main

import "github.com/prometheus/client_golang/prometheus"

// stat is a number that a source counts itself: a counter, or else a gauge.
type stat[S any] struct {
	name, help string
	value      func(S) int64
	gauge      bool
}

// registerStats exports what a source counts itself.
func registerStats[S any](reg prometheus.Registerer, read func() S, stats []stat[S]) error {
	for _, m := range stats {
		value := func() float64 { return float64(m.value(read())) }
		var c prometheus.Collector = prometheus.NewCounterFunc(prometheus.CounterOpts{Name: m.name, Help: m.help}, value)
		if m.gauge {
			c = prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: m.name, Help: m.help}, value)
		}
		if err := reg.Register(c); err != nil {
			return err
		}
	}
	return nil
}
