package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/inspect"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/web"
)

type serveOptions struct {
	reading
	listen string
	show   bool
}

func newServeCommand() *cobra.Command {
	var o serveOptions
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve a page: rate, runs, exchanges, and where answers differ",
		Long: `Serve a page for this machine's browser until it is interrupted: what is recorded and how fast, the runs, how fast they send, how
late and how far behind (by the outcomes that they store, --results), their reports and differences, and exchanges with a filter, each in full.

There is no log-in: who reaches the address reads what is recorded. It is a loopback address unless --listen says another one. Bodies are hidden
without --show-bodies; whenever some are shown a line on stderr says of which exchange.`,
		Example: `  inspect serve
  inspect serve --listen 127.0.0.1:8900 --show-bodies`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
	fs := c.Flags()
	o.AddKafka(fs)
	o.AddLog(fs)
	fs.StringVar(&o.listen, "listen", "127.0.0.1:9410", "address to serve on")
	fs.BoolVar(&o.show, "show-bodies", false, "show bodies of exchanges")
	return c
}

// shutdownTimeout bounds how long open requests may hold up the end.
const shutdownTimeout = time.Second

func (o *serveOptions) run(ctx context.Context) error {
	log, err := o.Logger(os.Stderr)
	if err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(o.listen)
	if err != nil {
		return fault.BadUsage(fmt.Sprintf("bad --listen %q", o.listen), err.Error(), "--listen 127.0.0.1:9410")
	}
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fault.Listening(o.listen, err)
	}
	handler, err := web.Handler(web.Options{Source: &source{o}, Host: host, Logger: log})
	if err != nil {
		return err
	}
	if a, ok := listener.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		log.Warn("WHOEVER REACHES THIS ADDRESS READS WHAT IS RECORDED: there is no log-in", "listen", listener.Addr().String())
	}
	log.Info("serving", "url", "http://"+listener.Addr().String()+"/", "brokers", o.Brokers)
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), BaseContext: func(net.Listener) context.Context { return ctx },
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	shut, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if server.Shutdown(shut) != nil {
		_ = server.Close()
	}
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		return served
	}
	return context.Cause(ctx)
}

// source reads Kafka anew for each request of the page.
type source struct{ *serveOptions }

func (s *source) names() topic.Names { return topic.NamesOf(s.TopicPrefix) }

// with reads by a reader of its own: one is for one at a time.
func with[T any](s *source, read func(*inspect.Reader) (T, error)) (any, error) {
	cfg, err := s.topicConfig()
	if err != nil {
		return nil, err
	}
	reader, err := inspect.NewReader(cfg, s.names().Exchanges, func(string) {})
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	v, err := read(reader)
	if !inspect.HasData(err) {
		return nil, err
	}
	return v, err
}

func (s *source) query(q web.Query) (inspect.Query, error) {
	c := choosing{from: q.From, to: q.To, partition: inspect.AllPartitions}
	if f := strings.TrimSpace(q.Filter); f != "" {
		c.filters = []string{f}
	}
	wanted, err := c.query(time.Now())
	wanted.Limit = q.Limit
	return wanted, err
}

// Stats implements web.Source.
func (s *source) Stats(ctx context.Context, q web.Query) (any, error) {
	wanted, err := s.query(q)
	if err != nil {
		return nil, err
	}
	wanted.Limit = 0
	return with(s, func(r *inspect.Reader) (*inspect.Stats, error) { return r.Stats(ctx, wanted) })
}

// Runs implements web.Source. Where nobody has written a control topic there are none.
func (s *source) Runs(ctx context.Context) (any, error) {
	return with(s, func(r *inspect.Reader) ([]inspect.RunInfo, error) { return r.Runs(ctx, s.names().Control) })
}

// paceOver is how far back the page's charts reach.
const paceOver = 5 * time.Minute

// Pace implements web.Source.
func (s *source) Pace(ctx context.Context) (any, error) {
	return with(s, func(r *inspect.Reader) (*inspect.Pace, error) { return r.Pace(ctx, s.names().Results, paceOver) })
}

// Exchanges implements web.Source, without bodies.
func (s *source) Exchanges(ctx context.Context, q web.Query) (any, error) {
	wanted, err := s.query(q)
	if err != nil {
		return nil, err
	}
	return with(s, func(r *inspect.Reader) ([]json.RawMessage, error) {
		all := []json.RawMessage{}
		err := r.Cat(ctx, wanted, func(e inspect.Entry) error {
			var b bytes.Buffer
			err := inspect.PrintOne(&b, inspect.NDJSON, &inspect.Bodies{}, e)
			all = append(all, b.Bytes())
			return err
		})
		return all, err
	})
}

// Exchange implements web.Source.
func (s *source) Exchange(ctx context.Context, id string) (any, error) {
	name, err := inspect.ParseName(id)
	if err != nil {
		return nil, err
	}
	shown := showing{show: s.show}
	bodies, err := shown.bodies(&s.reading, inspect.Table, "serve", slog.String("id", id))
	if err != nil {
		return nil, err
	}
	return with(s, func(r *inspect.Reader) (map[string]string, error) {
		var b strings.Builder
		err := r.Get(ctx, name, func(e inspect.Entry) error { return inspect.PrintOne(&b, inspect.Table, bodies, e) })
		return map[string]string{"text": b.String()}, err
	})
}

// Report implements web.Source.
func (s *source) Report(ctx context.Context, run string) (any, error) {
	return with(s, func(r *inspect.Reader) (any, error) {
		rep, err := r.Report(ctx, s.names(), inspect.RunQuery{Run: run})
		if rep == nil {
			return nil, err
		}
		var text strings.Builder
		if err := rep.Text(&text); err != nil {
			return nil, err
		}
		return struct {
			Text   string         `json:"text"`
			Report *report.Report `json:"report"`
		}{text.String(), rep}, err
	})
}

// Diff implements web.Source. Differences are what was asked for, and no fault.
func (s *source) Diff(ctx context.Context, run string, limit int64) (any, error) {
	return with(s, func(r *inspect.Reader) ([]*inspect.Differing, error) {
		all := []*inspect.Differing{}
		err := r.Diff(ctx, s.names(), inspect.DiffQuery{RunQuery: inspect.RunQuery{Run: run}, Limit: limit}, func(d *inspect.Differing) error {
			all = append(all, d)
			return nil
		})
		if inspect.IsFinding(err) {
			err = nil
		}
		return all, err
	})
}
