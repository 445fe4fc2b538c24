package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/reprise-io/reprise/cmd/internal/cli"
	"github.com/reprise-io/reprise/internal/admin"
	"github.com/reprise-io/reprise/internal/handover"
	"github.com/reprise-io/reprise/internal/meter"
	"github.com/reprise-io/reprise/internal/tap"
)

// lastLines is how long at the end stderr is waited for.
const lastLines = time.Second

// placed is a source with its place in the process.
type placed struct {
	source
	kind string
	name string // in records
}

// running is what a SIGHUP can reach.
type running struct {
	tap   *tap.Tap
	book  *ruleBook
	level *slog.LevelVar
	log   *slog.Logger
}

// run is the life of a tap process: it takes everything that the sources need, and then runs them until ctx ends. A source
// that cannot have what it needs, as its address, stops the process before any traffic is taken. reread is called, one call
// at a time, for each SIGHUP.
func (o *captureOptions) run(ctx context.Context, sources []placed, reread func(running)) error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // first of all: it must never end the process
	defer signal.Stop(hangups)
	upgrades := make(chan os.Signal, 1)
	signal.Notify(upgrades, syscall.SIGUSR2)
	defer signal.Stop(upgrades)
	if err := o.check().first(); err != nil {
		return err
	}
	outlet := cli.NewOutlet(os.Stderr) // what passes traffic on logs too, and must not wait for who reads it
	defer outlet.Close(lastLines)
	log, level, err := o.LeveledLogger(outlet)
	if err != nil {
		return err
	}
	outlet.Tell(func(lost int) { log.Warn("lines of this log were lost: nobody took them from stderr", "lines", lost) })
	for _, p := range sources {
		if err := p.check().first(); err != nil {
			return err
		}
	}
	if !o.Pprof {
		runtime.MemProfileRate = 0 // of what it samples nobody could ask, and it takes a hundredth of a busy tap's time
	}
	bounds := meter.Find()
	limit := newBackstop(int64(o.memoryMax), bounds, log)
	reg := newRegistry()
	book, err := o.openRules(log)
	if err != nil {
		return err
	}
	t, err := o.build(book, bounds, log, reg)
	if err != nil {
		return err
	}
	life, err := handover.Begin(ctx, o.takeover, log)
	if err != nil && ctx.Err() != nil {
		return nil //nolint:nilerr // it was to end before it began
	}
	if err != nil {
		return err
	}
	defer life.Close()
	descriptors, err := meter.FindDescriptors()
	if err != nil {
		log.Warn("how many descriptors there are is not known: none are kept for capture", "error", err)
	}
	opened, err := o.open(sources, site{tap: t, descriptors: descriptors, bind: life.Listen, bodyMax: int(o.bodyMax), log: log, reg: reg})
	if err != nil {
		return err
	}
	adm, err := o.listenAdmin(life.Listen, reg, log)
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
	for i, p := range sources {
		said := []any{"source", p.kind, "name", p.name, "listen", strings.Join(opened[i].Listen, ","), "brokers", o.Brokers}
		if len(opened[i].Upstream) > 0 {
			said = append(said, "upstream", strings.Join(opened[i].Upstream, ","))
		}
		log.Info("listening", said...)
	}
	stopRereading := obeyHangups(hangups, book.every(), func() {
		if book.changed() {
			say := book.read()
			o.rebase(t, book)
			say()
		}
	}, func() {
		tell(log, handover.Reloading()...)
		say := book.read()
		reread(running{t, book, level, log})
		say()
		for _, p := range sources {
			if s, ok := p.source.(interface{ reread() }); ok {
				s.reread()
			}
		}
		tell(log, handover.Ready)
	})
	defer stopRereading()
	if ctx.Err() != nil {
		return nil // the one before serves on: a successor that is to end takes nothing over
	}
	ctx, finish := live(ctx, life, sources, upgrades, stopAdmin, limit, log)
	defer finish()
	return t.Run(ctx, opened...)
}

// open takes what the sources need.
func (o *captureOptions) open(sources []placed, common site) ([]tap.Source, error) {
	opened := make([]tap.Source, len(sources))
	for i, p := range sources {
		s := common
		s.name = p.name
		if len(sources) > 1 { // several of a kind have metrics of the same names
			s.log, s.reg = s.log.With("source", p.name), prometheus.WrapRegistererWith(prometheus.Labels{"source": p.name}, s.reg)
		}
		var err error
		if opened[i], err = p.open(s); err != nil {
			return nil, err
		}
	}
	return opened, nil
}

// obeyHangups calls reread for each signal, and look now and then if every is above 0, until the returned function is called.
func obeyHangups(hangups <-chan os.Signal, every time.Duration, look, reread func()) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		var tick <-chan time.Time
		if every > 0 {
			ticker := time.NewTicker(every)
			defer ticker.Stop()
			tick = ticker.C
		}
		for {
			select {
			case <-done:
				return
			case <-tick:
				look()
			case <-hangups:
				reread()
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// nothingToRead answers a SIGHUP where there is no configuration file.
func (o *captureOptions) nothingToRead(r running) {
	if r.book.path != "" {
		o.rebase(r.tap, r.book)
		return
	}
	r.log.Info("SIGHUP: there is no configuration or rules file to read again (tap run --config FILE, --rules FILE); " +
		"certificates and secrets are read again, and tap set changes what is captured while this runs")
}

// newRegistry returns a registry with the process's own metrics.
func newRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

// listenAdmin binds --admin, if it is given.
func (o *captureOptions) listenAdmin(
	bind func(string) (*net.TCPListener, error), reg *prometheus.Registry, log *slog.Logger,
) (*admin.Server, error) {
	if o.Admin == "" {
		return nil, nil
	}
	return admin.Listen(admin.Options{Listen: o.Admin, Bind: bind, Pprof: o.Pprof, Gatherer: reg, Logger: log})
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
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			log.Warn("admin server", "error", err)
		}
	})
}
