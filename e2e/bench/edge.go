package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/e2e/proc"
	"github.com/reprise-io/reprise/e2e/sink"
	"github.com/reprise-io/reprise/internal/topic"
)

// connections of wrk: one thread of it is enough for them.
const connections = "32"

// warmUp is how long the tap captures before anything is measured.
const warmUp = 12 * time.Second

// edge measures requests a second through each proxy to the same nginx, small GETs on keep-alive connections. The tap
// captures all of it to Kafka; the others only pass it on, and nginx's mirror sends a copy of each request to a sink.
func (b *bench) edge(ctx context.Context) (err error) {
	e := &edge{bench: b, names: topic.NamesOf("edge")}
	defer e.stop()
	if err := e.start(ctx); err != nil {
		return err
	}
	// A broker that has just started compiles its own code on the cores that are measured: it has its fill first.
	progress("edge: warming up")
	if _, err := wrk(ctx, e.addr["tap proxy"], warmUp); err != nil {
		return err
	}
	if _, err := e.settle(ctx); err != nil {
		return err
	}
	warm, err := feed.Count(ctx, b.broker.Addr(), e.names.Exchanges)
	if err != nil {
		return err
	}
	who := []string{"direct", "HAProxy, TCP", "tap proxy", "nginx proxy", "nginx mirror"}
	persecond := make(map[string][]float64)
	var ratio, captured []float64
	var seen, produced, dropped float64
	for round := range b.rounds {
		for i := range who {
			name := who[(i+round)%len(who)] // nobody has always the same predecessor
			before, err := e.tapMetrics(ctx)
			if err != nil {
				return err
			}
			got, err := wrk(ctx, e.addr[name], b.wrkFor)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			persecond[name] = append(persecond[name], got.perSecond)
			progress("edge, round %d: %-13s %7.0f/s", round+1, name, got.perSecond)
			if name != "tap proxy" {
				continue
			}
			after, err := e.settle(ctx)
			if err != nil {
				return err
			}
			count := func(metric string, labels ...string) float64 {
				return after.Sum(metric, labels...) - before.Sum(metric, labels...)
			}
			s, p := count("reprise_tap_seen_total"), count("reprise_tap_exchanges_total", `result="produced"`)
			seen, produced = seen+s, produced+p
			dropped += count("reprise_tap_exchanges_total", `result="dropped"`)
			captured = append(captured, p/max(s, float64(got.requests)))
		}
		n := len(persecond["direct"]) - 1
		ratio = append(ratio, persecond["tap proxy"][n]/persecond["HAProxy, TCP"][n])
	}
	stored, err := feed.Count(ctx, b.broker.Addr(), e.names.Exchanges)
	if err != nil {
		return err
	}
	stored -= warm
	t := table{
		title: fmt.Sprintf("At the edge: requests/s, %s keep-alive connections, small GETs", connections),
		head:  []string{"through", "requests/s", "of direct", "of HAProxy", "each round"},
		notes: []string{
			fmt.Sprintf("tap ÷ HAProxy in each round: %s; median **%.2f**.", each(ratio, "%.2f"), median(ratio)),
			fmt.Sprintf("Captured to Kafka in each round: %s %%. In all: seen %.0f, acknowledged %.0f, dropped %.0f, in the topic %d.",
				each(percent(captured), "%.2f"), seen, produced, dropped, stored),
		},
	}
	for _, name := range who {
		var ofDirect, ofHAProxy []float64
		for i, v := range persecond[name] {
			ofDirect = append(ofDirect, v/persecond["direct"][i])
			ofHAProxy = append(ofHAProxy, v/persecond["HAProxy, TCP"][i])
		}
		t.rows = append(t.rows, []string{
			name, fmt.Sprintf("%.0f", median(persecond[name])), fmt.Sprintf("%.2f", median(ofDirect)),
			fmt.Sprintf("%.2f", median(ofHAProxy)), each(persecond[name], "%.0f"),
		})
	}
	b.tables = append(b.tables, t)
	return nil
}

func percent(v []float64) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = 100 * x
	}
	return out
}

// edge is everything that stands between wrk and the origin.
type edge struct {
	*bench
	names    topic.Names
	addr     map[string]string // by who
	admin    string            // of the tap
	programs []*proc.Process
	endSink  func() error
}

func (e *edge) start(ctx context.Context) (err error) {
	e.addr = make(map[string]string)
	for _, name := range []string{"direct", "HAProxy, TCP", "tap proxy", "nginx proxy", "nginx mirror", "admin"} {
		if e.addr[name], err = proc.FreeAddr(); err != nil {
			return err
		}
	}
	e.admin = e.addr["admin"]
	s, err := sink.New(sink.Options{Count: true, Answer: []byte("HTTP/1.1 204 No Content\r\n\r\n")})
	if err != nil {
		return err
	}
	sinkCtx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(sinkCtx) }()
	e.endSink = func() error {
		cancel()
		return <-done
	}
	config := func(name, text string) (path string) {
		path = filepath.Join(e.dir, name)
		err = errors.Join(err, os.WriteFile(path, []byte(text), 0o644))
		return path
	}
	origin := config("origin.conf", nginxConf(e.dir, "origin", `server { listen `+e.addr["direct"]+
		`; location / { return 200 "a small answer of about a hundred bytes, as many services give when they are asked for one\n"; } }`))
	proxies := config("proxies.conf", nginxConf(e.dir, "proxies", fmt.Sprintf(`
  upstream origin { server %s; keepalive 64; }
  upstream sink { server %s; keepalive 64; }
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  server { listen %s; location / { proxy_pass http://origin; } }
  server { listen %s; location / { mirror /copy; proxy_pass http://origin; }
           location = /copy { internal; proxy_pass http://sink$request_uri; } }`,
		e.addr["direct"], s.Addr(), e.addr["nginx proxy"], e.addr["nginx mirror"])))
	haproxy := config("haproxy.cfg", fmt.Sprintf(`global
  maxconn 2000
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen pass
  bind %s
  server origin %s
`, e.addr["HAProxy, TCP"], e.addr["direct"]))
	if err != nil {
		return err
	}
	for _, o := range []proc.Options{
		{Path: nginx(), Args: []string{"-c", origin, "-e", "stderr"}},
		{Path: nginx(), Args: []string{"-c", proxies, "-e", "stderr"}},
		{Path: "haproxy", Args: []string{"-db", "-f", haproxy}},
		{Path: filepath.Join(e.bin, "tap"), Args: []string{
			"proxy", "--listen", e.addr["tap proxy"], "--upstream", e.addr["direct"], "--admin", e.admin,
			"--brokers", e.broker.Addr(), "--topic-prefix", "edge",
		}},
	} {
		p, err := proc.Start(o)
		if err != nil {
			return err
		}
		e.programs = append(e.programs, p)
	}
	waiting, cancel2 := context.WithTimeout(ctx, 30*time.Second)
	defer cancel2()
	for name, addr := range e.addr {
		if err := proc.Poll(waiting, func() error { return e.answers(addr) }); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	// The tap makes its topics when it reaches Kafka; nothing is measured before.
	return proc.Poll(waiting, func() error {
		_, err := feed.Count(waiting, e.broker.Addr(), e.names.Exchanges)
		return err
	})
}

// answers tells whether a port is open, and fails for good when a program has ended.
func (e *edge) answers(addr string) error {
	for _, p := range e.programs {
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
}

func (e *edge) stop() {
	for _, p := range e.programs {
		_, _ = p.Stop(15 * time.Second) // killed when it does not
	}
	if e.endSink != nil {
		_ = e.endSink()
	}
}

func (e *edge) tapMetrics(ctx context.Context) (proc.Metrics, error) {
	return proc.Scrape(ctx, e.admin)
}

// settle waits until the tap owes nothing.
func (e *edge) settle(ctx context.Context) (m proc.Metrics, err error) {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	err = proc.Poll(ctx, func() error {
		if m, err = e.tapMetrics(ctx); err != nil {
			return err
		}
		if n := m.Sum("reprise_tap_pending"); n > 0 {
			return fmt.Errorf("%.0f pending", n)
		}
		return nil
	})
	return m, err
}

// nginx is where Debian has it, also when sbin is not in the path.
func nginx() string {
	if _, err := os.Stat("/usr/sbin/nginx"); err == nil {
		return "/usr/sbin/nginx"
	}
	return "nginx"
}

func nginxConf(dir, name, http string) string {
	var paths strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&paths, "  %s_temp_path %s/%s-%s;\n", kind, dir, name, kind)
	}
	return fmt.Sprintf(`daemon off;
worker_processes auto;
pid %s/%s.pid;
error_log stderr error;
events { worker_connections 2048; }
http {
  access_log off;
  keepalive_requests 1000000000;
%s%s
}
`, dir, name, paths.String(), http)
}

// wrkResult is what wrk tells.
type wrkResult struct {
	perSecond float64
	requests  int
}

func wrk(ctx context.Context, addr string, length time.Duration) (r wrkResult, err error) {
	ctx, cancel := context.WithTimeout(ctx, length+30*time.Second)
	defer cancel()
	got, err := proc.Run(ctx, proc.Options{
		Path: "wrk", Args: []string{"-t1", "-c" + connections, "-d" + strconv.Itoa(int(length.Seconds())) + "s", "http://" + addr + "/items/1"},
	})
	if err != nil {
		return r, err
	}
	for _, bad := range []string{"Socket errors", "Non-2xx"} {
		if strings.Contains(got.Stdout, bad) {
			return r, fmt.Errorf("wrk: %s", got.Stdout)
		}
	}
	rate := regexp.MustCompile(`Requests/sec:\s+([\d.]+)`).FindStringSubmatch(got.Stdout)
	count := regexp.MustCompile(`(\d+) requests in`).FindStringSubmatch(got.Stdout)
	if got.Code != 0 || rate == nil || count == nil {
		return r, fmt.Errorf("wrk: exit code %d: %s%s", got.Code, got.Stdout, got.Stderr)
	}
	if r.perSecond, err = strconv.ParseFloat(rate[1], 64); err != nil {
		return r, err
	}
	r.requests, err = strconv.Atoi(count[1])
	return r, err
}
