package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/reprise-io/reprise/internal/admin"
	"github.com/reprise-io/reprise/internal/tap"
)

// liveOptions holds the flags of every source that listens for live traffic.
type liveOptions struct {
	captureOptions
	listen       string
	drainTimeout time.Duration
	embedded     string
}

func (o *liveOptions) addFlags(c *cobra.Command) {
	fs := c.Flags()
	fs.StringVar(&o.listen, "listen", "", "address to listen on, such as :8080")
	o.captureOptions.addFlags(fs)
	fs.DurationVar(&o.drainTimeout, "drain-timeout", 10*time.Second, "how long open connections may go on after SIGTERM")
	fs.StringVar(&o.embedded, "embedded", "", "also run a Kafka-compatible broker for one machine on the first of --brokers, with its data in this directory")
	_ = c.MarkFlagRequired("listen")
}

// capture runs a source, with the admin server and the embedded broker beside it.
func (o *liveOptions) capture(ctx context.Context, t *tap.Tap, reg *prometheus.Registry, log *slog.Logger, src tap.Source) error {
	adm, err := o.listenAdmin(reg, log)
	if err != nil {
		return err
	}
	if o.embedded != "" {
		b, err := startBroker(o.embedded, o.Brokers[0], o.TopicPrefix, log)
		if err != nil { // no reason to keep the traffic waiting
			log.Error("THE EMBEDDED BROKER DID NOT START: traffic passes, nothing is stored there", "error", err)
		} else {
			defer b.Close()
		}
	}
	stopAdmin := serveAdmin(ctx, adm, log)
	defer stopAdmin()
	said := []any{"listen", src.Listen[0], "brokers", o.Brokers}
	if len(src.Upstream) > 0 {
		said = append(said, "upstream", src.Upstream[0])
	}
	log.Info("listening", said...)
	return t.Run(ctx, src)
}

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

// listenAdmin binds --admin, if it is given.
func (o *captureOptions) listenAdmin(reg *prometheus.Registry, log *slog.Logger) (*admin.Server, error) {
	if o.Admin == "" {
		return nil, nil
	}
	return admin.Listen(admin.Options{Listen: o.Admin, Pprof: o.Pprof, Gatherer: reg, Logger: log})
}

// serveAdmin serves until the returned function is called: longer than the traffic, so that the last counters can be read.
func serveAdmin(ctx context.Context, s *admin.Server, log *slog.Logger) (stop func()) {
	if s == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	log.Info("admin", "listen", s.Addr().String())
	return func() {
		cancel()
		if err := <-ended; err != nil {
			log.Warn("admin server", "error", err)
		}
	}
}
