package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-io/reprise/e2e/proc"
	"github.com/reprise-io/reprise/e2e/shop"
	"github.com/reprise-io/reprise/internal/report"
)

// demo is one showing. Its parts fill in what the screen at the end tells.
type demo struct {
	bin, dir string
	traffic  time.Duration
	rate     float64
	anyPorts bool
	verbose  bool

	at     addresses
	visits shop.Visits
	tap    proc.Metrics
	hidden map[string]int // redacted values in the topic, by rule
	lag    time.Duration
	live   *report.Report
	fast   *report.Report
	writes int64 // that reached pre-production
}

// addresses are where everything listens, all on loopback.
type addresses struct{ shop, tap, next, broker, tapAdmin, liveAdmin string }

// lag is how far live replay follows behind.
const lag = 3 * time.Second

// key makes the pseudonyms of the demo the same in the tap and in the replayers. A real one is a secret.
const key = "REPRISE_DEMO_KEY=a key for demonstrations only"

func (d *demo) run(ctx context.Context) error {
	start := time.Now()
	say := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%4.1f s  %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, args...))
	}
	if err := d.prepare(); err != nil {
		return err
	}
	production, err := serveShop(d.at.shop, shop.Options{})
	if err != nil {
		return err
	}
	defer production.close()
	next, err := serveShop(d.at.next, shop.PreProduction())
	if err != nil {
		return err
	}
	defer next.close()

	say("tap in front of the shop, with a Kafka-compatible broker inside (for one machine)")
	tap, err := d.startTap(ctx)
	if err != nil {
		return err
	}
	defer tap.Kill()
	say("live replay at the shop's next version, %s behind", lag)
	live, err := d.startLive(ctx)
	if err != nil {
		return err
	}
	defer live.Kill()

	say("visitors for %.0f s, %.0f requests a second", d.traffic.Seconds(), d.rate)
	d.visits, err = shop.Visit{URL: "http://" + d.at.tap, Rate: d.rate, For: d.traffic, Seed: 1}.Run(ctx)
	if err = errors.Join(err, ctx.Err()); err != nil {
		return err
	}
	say("live replay catches up")
	if err := d.endLive(ctx, live); err != nil {
		return err
	}
	say("the same traffic again, twice as fast")
	if err := d.runFast(ctx); err != nil {
		return err
	}
	if err := d.endTap(ctx, tap); err != nil {
		return err
	}
	d.writes = next.Writes()
	say("done\n")
	return d.show(os.Stdout)
}

// prepare empties the data folder and finds a free port for everyone.
func (d *demo) prepare() error {
	for _, name := range []string{"tap", "replayer"} {
		if _, err := os.Stat(filepath.Join(d.bin, name)); err != nil {
			return fmt.Errorf("%w: run make demo, or make build first", err)
		}
	}
	data := filepath.Join(d.dir, "kafka")
	if err := os.RemoveAll(data); err != nil {
		return err
	}
	if err := os.MkdirAll(data, 0o755); err != nil {
		return err
	}
	var taken []string
	for _, p := range []struct {
		addr *string
		port int
	}{
		{&d.at.shop, 18080},
		{&d.at.tap, 18081},
		{&d.at.next, 18090},
		{&d.at.broker, 19092},
		{&d.at.tapAdmin, 18085},
		{&d.at.liveAdmin, 18095},
	} {
		*p.addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port))
		choose := d.anyPorts
		for choose || !proc.Free(*p.addr) || slices.Contains(taken, *p.addr) {
			choose = false
			var err error
			if *p.addr, err = proc.FreeAddr(); err != nil {
				return err
			}
		}
		taken = append(taken, *p.addr)
	}
	return nil
}

func (d *demo) data() string { return filepath.Join(d.dir, "kafka") }

func (d *demo) options(program string, args ...string) proc.Options {
	o := proc.Options{Path: filepath.Join(d.bin, program), Args: args, Env: []string{key}}
	if d.verbose {
		o.Log = os.Stderr
	}
	return o
}

// started bounds how long a program may take until it is ready, and to end.
const started = time.Minute

func (d *demo) startTap(ctx context.Context) (*proc.Process, error) {
	tap, err := proc.Start(d.options("tap", "proxy", "--listen", d.at.tap, "--upstream", d.at.shop, "--name", "demo",
		"--embedded", d.data(), "--brokers", d.at.broker, "--admin", d.at.tapAdmin,
		"--redact-key", "env:REPRISE_DEMO_KEY", "--log-format", "text"))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, started)
	defer cancel()
	err = tap.Ready(ctx, d.at.tapAdmin)
	if err == nil {
		err = proc.Poll(ctx, func() error { return dial(d.at.broker) })
	}
	if err != nil {
		tap.Kill()
		return nil, err
	}
	return tap, nil
}

func dial(addr string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

func (d *demo) startLive(ctx context.Context) (*proc.Process, error) {
	live, err := proc.Start(d.options("replayer", "live", "--brokers", d.at.broker,
		"--target", "http://"+d.at.next, "--allow-target", d.at.next, "--lag", lag.String(),
		"--admin", d.at.liveAdmin, "--redact-key", "env:REPRISE_DEMO_KEY", "-o", "json"))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, started)
	defer cancel()
	if err := live.Ready(ctx, d.at.liveAdmin); err != nil {
		live.Kill()
		return nil, err
	}
	return live, nil
}

// endLive waits until live replay has dealt with all that was recorded, notes its lag on the way, and ends it.
func (d *demo) endLive(ctx context.Context, live *proc.Process) error {
	waiting, cancel := context.WithTimeout(ctx, lag+started)
	defer cancel()
	err := proc.Poll(waiting, func() error {
		m, err := proc.Scrape(waiting, d.at.liveAdmin)
		if err != nil {
			return err
		}
		if l := m.Sum("reprise_replay_lag_seconds"); l > 0 && d.lag == 0 {
			d.lag = time.Duration(l * float64(time.Second))
		}
		done := m.Sum("reprise_replay_fired_total") + m.Sum("reprise_replay_refused_total")
		if done < float64(d.visits.Requests) {
			return fmt.Errorf("%.0f of %d dealt with", done, d.visits.Requests)
		}
		return nil
	})
	// What is missing is told by the numbers on the screen.
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if _, err := live.Stop(started); err != nil {
		return err
	}
	if d.live, err = summary(live.Stdout()); err != nil {
		return fmt.Errorf("live: %w\n%s", err, live.Stderr())
	}
	return nil
}

func (d *demo) runFast(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.traffic+2*started)
	defer cancel()
	got, err := proc.Run(ctx, d.options("replayer", "run", "--run", "twice", "--brokers", d.at.broker,
		"--target", "http://"+d.at.next, "--allow-target", d.at.next, "--speed", "2",
		"--redact-key", "env:REPRISE_DEMO_KEY", "-o", "json"))
	if err != nil {
		return err
	}
	if d.fast, err = summary(got.Stdout); err != nil {
		return fmt.Errorf("run: exit code %d: %w\n%s", got.Code, err, got.Stderr)
	}
	return nil
}

// endTap notes the tap's counters and what is in the topic, and ends it with the broker.
func (d *demo) endTap(ctx context.Context, tap *proc.Process) (err error) {
	ctx, cancel := context.WithTimeout(ctx, started)
	defer cancel()
	if d.tap, err = proc.Scrape(ctx, d.at.tapAdmin); err != nil {
		return err
	}
	if d.hidden, err = redactions(ctx, d.at.broker); err != nil {
		return err
	}
	_, err = tap.Stop(started)
	return err
}

// summary reads the report that a replayer wrote to stdout with -o json.
func summary(stdout string) (*report.Report, error) {
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, "{") {
		return nil, io.ErrUnexpectedEOF
	}
	return report.Parse([]byte(last))
}
