package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/e2e/proc"
	"github.com/reprise-io/reprise/e2e/sink"
	"github.com/reprise-io/reprise/internal/topic"
)

// The ways from a client to the origin, by the names that they have in the tables.
const (
	direct      = "direct"
	haproxyTCP  = "HAProxy, TCP"
	nginxProxy  = "nginx proxy"
	nginxMirror = "nginx mirror → sink"
	docsMirror  = "nginx mirror, as documented → sink"
	mirrorToTap = "nginx mirror → tap mirror"
	envoyTCP    = "Envoy, TCP"
	envoyHTTP   = "Envoy, HTTP"
	envoyShadow = "Envoy shadow → sink"
	tapProxy    = "tap proxy"
)

// way is one of them.
type way struct {
	name     string
	addr     string
	programs []*proc.Process // that stand in it: their time and memory is its cost
	// kept tells how many exchanges it has put away in all, once it owes none. nil: it is not its purpose.
	kept func(context.Context) (kept, error)
}

// kept is what a way that records has done so far.
type kept struct {
	seen    float64 // 0 for a sink, which sees what it stores
	stored  float64 // acknowledged by Kafka, or arrived at the sink
	dropped float64 // and counted as such
	unknown float64 // sent to Kafka, and never answered
}

// ways is all that stands between a client and the origin, running.
type ways struct {
	*bench
	all      []*way
	origin   string
	programs []*proc.Process
	ends     []func() error
}

// startWays runs the ways of the given names, in this order, all to one origin.
func (b *bench) startWays(ctx context.Context, prefix string, names ...string) (w *ways, err error) {
	w = &ways{bench: b}
	defer func() {
		if err != nil {
			w.stop()
		}
	}()
	p, origin, err := b.startOrigin()
	if err != nil {
		return nil, err
	}
	w.programs, w.origin = append(w.programs, p), origin
	if err := w.await(ctx, origin); err != nil {
		return nil, err
	}
	for _, name := range names {
		x := &way{name: name, addr: origin}
		if name != direct {
			if x.addr, err = proc.FreeAddr(); err != nil {
				return nil, err
			}
			err = w.start(ctx, x, prefix)
			w.programs = append(w.programs, x.programs...)
			if err == nil {
				err = w.await(ctx, x.addr)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		w.all = append(w.all, x)
	}
	return w, nil
}

// start runs what a way needs.
func (w *ways) start(ctx context.Context, x *way, prefix string) error {
	add := func(p *proc.Process, err error) error {
		if err == nil {
			x.programs = append(x.programs, p)
		}
		return err
	}
	switch x.name {
	case haproxyTCP:
		return add(w.startHAProxy(x.addr, w.origin))
	case nginxProxy:
		return add(w.startNginx("nginx-proxy", x.addr, w.origin, mirroring{}))
	case nginxMirror, docsMirror:
		s, err := w.startSink(ctx)
		if err != nil {
			return err
		}
		x.kept = arrived(s)
		documented := x.name == docsMirror
		return add(w.startNginx(fmt.Sprintf("nginx-mirror-%t", documented), x.addr, w.origin, mirroring{s.Addr(), documented}))
	case mirrorToTap:
		t, err := w.startTap(ctx, "mirror", prefix+"-mirror")
		if err != nil {
			return err
		}
		x.kept = t.kept
		x.programs = append(x.programs, t.Process)
		return add(w.startNginx("nginx-mirror-tap", x.addr, w.origin, mirroring{sink: t.addr}))
	case envoyTCP:
		return add(w.startEnvoy(ctx, "envoy-tcp.yaml", "envoy-tcp", x.addr, w.origin, ""))
	case envoyHTTP:
		return add(w.startEnvoy(ctx, "envoy-http.yaml", "envoy-http", x.addr, w.origin, ""))
	case envoyShadow:
		s, err := w.startSink(ctx)
		if err != nil {
			return err
		}
		x.kept = arrived(s)
		return add(w.startEnvoy(ctx, "envoy-http.yaml", "envoy-shadow", x.addr, w.origin, s.Addr()))
	case tapProxy:
		t, err := w.startTap(ctx, "proxy", prefix, "--upstream", w.origin)
		if err != nil {
			return err
		}
		x.addr, x.kept = t.addr, t.kept
		x.programs = append(x.programs, t.Process)
		return nil
	}
	return errors.New("nobody knows how to start it")
}

// by returns a way by its name.
func (w *ways) by(name string) *way {
	for _, x := range w.all {
		if x.name == name {
			return x
		}
	}
	return nil
}

// await waits until somebody listens on an address, and fails when one of the programs has ended.
func (w *ways) await(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return proc.Poll(ctx, func() error {
		for _, p := range w.programs {
			select {
			case <-p.Exited():
				return proc.Final(fmt.Errorf("%s has ended: %s", p.Name(), p.Stderr()))
			default:
			}
		}
		if proc.Free(addr) {
			return fmt.Errorf("nobody listens on %s", addr)
		}
		return nil
	})
}

func (w *ways) stop() {
	for _, p := range w.programs {
		_, _ = p.Stop(15 * time.Second) // killed when it does not
	}
	for _, end := range w.ends {
		_ = end()
	}
}

// startSink runs a target for copies, which answers as it should: at once and with nothing.
func (w *ways) startSink(ctx context.Context) (*sink.Sink, error) {
	s, err := sink.New(sink.Options{Count: true, Answer: []byte("HTTP/1.1 204 No Content\r\n\r\n")})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	w.ends = append(w.ends, func() error {
		cancel()
		return <-done
	})
	return s, nil
}

// arrived counts the copies at a sink, once no more come.
func arrived(s *sink.Sink) func(context.Context) (kept, error) {
	return func(ctx context.Context) (kept, error) {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		last, quiet := -1, 0
		err := proc.Poll(ctx, func() error { // every 20 ms
			now := s.Requests()
			if quiet++; now != last {
				last, quiet = now, 0
			}
			if quiet < 10 {
				return errors.New("copies are still coming")
			}
			return nil
		})
		return kept{stored: float64(s.Requests())}, err
	}
}

// tap is a running tap.
type tap struct {
	*proc.Process
	addr, admin string
	names       topic.Names
}

// startTap runs a tap with its defaults, and returns when it is ready and its topics are there.
func (b *bench) startTap(ctx context.Context, command, prefix string, more ...string) (t *tap, err error) {
	t = &tap{names: topic.NamesOf(prefix)}
	if t.addr, err = proc.FreeAddr(); err != nil {
		return nil, err
	}
	if t.admin, err = proc.FreeAddr(); err != nil {
		return nil, err
	}
	args := []string{command, "--admin", t.admin, "--brokers", b.broker.Addr(), "--topic-prefix", prefix, "--redact-key", "env:" + keyEnv}
	if command != "sniff" {
		args = append(args, "--listen", t.addr)
	}
	t.Process, err = proc.Start(proc.Options{
		Path: filepath.Join(b.bin, "tap"), Args: append(args, more...), Env: []string{keyEnv + "=" + benchKey},
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err = t.Ready(ctx, t.admin)
	if err == nil { // it makes its topics when it reaches Kafka; nothing is measured before
		err = proc.Poll(ctx, func() error {
			_, err := feed.Count(ctx, b.broker.Addr(), t.names.Exchanges)
			return err
		})
	}
	if err != nil {
		t.Kill()
		return nil, err
	}
	return t, nil
}

// kept waits until the tap owes nothing and tells what it has done.
func (t *tap) kept(ctx context.Context) (k kept, err error) {
	m, err := t.settled(ctx)
	of := func(result string) float64 { return m.Sum("reprise_tap_exchanges_total", `result="`+result+`"`) }
	k = kept{m.Sum("reprise_tap_seen_total"), of("produced"), of("dropped"), of("unknown")}
	if all := m.Sum("reprise_tap_exchanges_total"); err == nil && all != k.seen {
		err = fmt.Errorf("the tap has seen %.0f exchanges, and tells what became of %.0f", k.seen, all)
	}
	return k, err
}

func (t *tap) settled(ctx context.Context) (m proc.Metrics, err error) {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	err = proc.Poll(ctx, func() error {
		if m, err = proc.Scrape(ctx, t.admin); err != nil {
			return err
		}
		if n := m.Sum("reprise_tap_pending"); n > 0 {
			return fmt.Errorf("%.0f pending", n)
		}
		return nil
	})
	return m, err
}
