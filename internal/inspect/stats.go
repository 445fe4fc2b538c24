package inspect

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/reprise-io/reprise/internal/paths"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// Stats is what a topic holds, within a window.
type Stats struct {
	Topic      string           `json:"topic"`
	Partitions int              `json:"partitions"`
	Exchanges  int64            `json:"exchanges"`
	Unreadable int64            `json:"unreadable"`
	Bytes      *int64           `json:"bytes,omitempty"` // of the whole topic on disk; absent when the broker does not tell
	First      *time.Time       `json:"first,omitempty"` // capture times; absent without exchanges
	Last       *time.Time       `json:"last,omitempty"`
	Rate       Rate             `json:"rate"`
	Routes     []RouteStats     `json:"routes"` // most frequent first
	Flags      map[string]int64 `json:"flags"`
	Taps       int              `json:"taps"`
	Imports    int              `json:"imports"`
	Missing    *uint64          `json:"missing_by_sequence,omitempty"` // absent when it cannot be told
}

// Rate is how many exchanges were captured when.
type Rate struct {
	Columns   []int64    `json:"columns"`              // exchanges in equal spans of time from first to last
	Peak      float64    `json:"peak_per_second"`      // in the fullest second
	PeakStart *time.Time `json:"peak_start,omitempty"` // absent without exchanges
}

// RouteStats is about one route: a method and a path template, or the method that gRPC requests call.
type RouteStats struct {
	Route        string  `json:"route"` // "GET /items/{id}", "POST /shop.Cart/Add"
	Count        int64   `json:"count"`
	Answered     int64   `json:"answered"`
	P50          float64 `json:"p50_ms"` // of the answered; 0 without
	P99          float64 `json:"p99_ms"`
	ClientErrors int64   `json:"status_4xx"`
	ServerErrors int64   `json:"status_5xx"`
	GRPCErrors   *int64  `json:"grpc_errors,omitempty"` // of the answered, with a grpc-status but 0; absent: not gRPC
}

const (
	rateColumns  = 24
	mostRoutes   = 1000 // more are counted together
	otherRoutes  = "* (other)"
	latencyTop   = int64(time.Hour / time.Microsecond)
	latencyDigit = 2
	// justNow is longer than a tap waits for an answer and Kafka for an acknowledgement.
	justNow = 40 * time.Second
)

// Stats reads everything that is wanted and counts it. Its error may be Incomplete, with the statistics of the rest.
func (r *Reader) Stats(ctx context.Context, q Query) (*Stats, error) {
	spans, err := r.spans(ctx, q.From, q.Partition)
	if err != nil {
		return nil, err
	}
	c := &counter{
		reader: r, choice: newChoice(q), rate: newRate(), routes: make(map[string]*route), flags: make(map[string]int64),
		sources: make(map[[16]byte]traffic.SourceKind), young: r.now().Add(-justNow),
	}
	if len(q.Filters) == 0 && q.Partition == AllPartitions {
		c.sequences = newSequences()
	}
	if err := r.scan(ctx, spans, c.take, nil); err != nil {
		return nil, err
	}
	s := &Stats{Topic: r.topic, Partitions: len(spans), Unreadable: r.bad.count}
	c.fill(s)
	cut := cutPartitions(spans)
	c.fillSequences(s, cut)
	s.Bytes = r.bytes(ctx)
	if c.count == 0 {
		r.noteNothing(ctx, length(spans), q)
	}
	return s, r.verdict()
}

// cutPartitions are those whose records do not begin with their first.
func cutPartitions(spans map[int32]topic.Range) (cut []int32) {
	for p, s := range spans {
		if s.Start > 0 {
			cut = append(cut, p)
		}
	}
	return cut
}

// bytes is what the whole topic takes on disk; nil when the broker does not tell.
func (r *Reader) bytes(ctx context.Context) *int64 {
	infos, err := r.admin.Describe(ctx, r.topic)
	if err != nil || len(infos) != 1 {
		return nil
	}
	var n int64
	for _, p := range infos[0].Partitions {
		if p.Bytes < 0 {
			return nil
		}
		n += p.Bytes
	}
	return &n
}

// counter counts exchanges.
type counter struct {
	reader    *Reader
	choice    *choice
	decoder   traffic.Decoder
	x         traffic.Exchange
	count     int64
	first     time.Time
	last      time.Time
	rate      *rate
	templates paths.Templates
	routes    map[string]*route
	flags     map[string]int64
	sources   map[[16]byte]traffic.SourceKind
	sequences *sequences // nil: not everything is read
	young     time.Time  // what was captured after that may have company on its way
}

type route struct {
	RouteStats
	latency *hdrhistogram.Histogram // µs; nil without answers
}

func (c *counter) take(rec *topic.Record) error {
	_, wanted, err := c.choice.wants(rec)
	switch {
	case errors.Is(err, traffic.ErrCorrupt):
		c.reader.skip(rec, err)
		return nil
	case err != nil:
		return err
	case !wanted:
		if id := c.choice.meta.ID; c.sequences != nil && id != (traffic.ID{}) {
			c.sequences.add(id.Tap(), rec.Partition, id.Seq(), false)
		}
		return nil
	}
	if err := c.decoder.Decode(rec.Value, &c.x); err != nil {
		c.reader.skip(rec, err)
		return nil
	}
	x := &c.x
	c.sources[x.ID.Tap()] = x.Source.Kind
	if c.sequences != nil {
		c.sequences.add(x.ID.Tap(), rec.Partition, x.ID.Seq(), x.CaptureTime.After(c.young))
	}
	if c.count++; c.count == 1 || x.CaptureTime.Before(c.first) {
		c.first = x.CaptureTime
	}
	if x.CaptureTime.After(c.last) {
		c.last = x.CaptureTime
	}
	c.rate.add(x.CaptureTime)
	for _, name := range x.Flags.Names() {
		c.flags[name]++
	}
	c.route(x).add(x)
	return nil
}

func (c *counter) route(x *traffic.Exchange) *route {
	path, grpc := x.GRPCMethod()
	if !grpc {
		path = []byte(c.templates.Template(x.Request.Target))
	}
	key := printable(x.Request.Method) + " " + printable(path)
	r := c.routes[key]
	if r == nil && len(c.routes) >= mostRoutes {
		key = otherRoutes
		r = c.routes[key]
	}
	if r == nil {
		r = &route{RouteStats: RouteStats{Route: key}}
		c.routes[key] = r
	}
	if grpc && r.GRPCErrors == nil {
		r.GRPCErrors = new(int64)
	}
	return r
}

func (r *route) add(x *traffic.Exchange) {
	r.Count++
	if x.Response == nil || x.Response.Status == 0 {
		return
	}
	r.Answered++
	switch x.Response.Status / 100 {
	case 4:
		r.ClientErrors++
	case 5:
		r.ServerErrors++
	}
	if status, ok := x.GRPCStatus(); ok && status != 0 && r.GRPCErrors != nil {
		*r.GRPCErrors++
	}
	if d := x.Response.Duration; d > 0 {
		if r.latency == nil {
			r.latency = hdrhistogram.New(1, latencyTop, latencyDigit)
		}
		_ = r.latency.RecordValue(min(d.Microseconds(), latencyTop)) // within its range
	}
}

// merge adds what was counted under a template that has turned out to be part of another.
func (r *route) merge(from *route) {
	r.Count += from.Count
	r.Answered += from.Answered
	r.ClientErrors += from.ClientErrors
	r.ServerErrors += from.ServerErrors
	if r.GRPCErrors == nil {
		r.GRPCErrors = from.GRPCErrors
	} else if from.GRPCErrors != nil {
		*r.GRPCErrors += *from.GRPCErrors
	}
	if r.latency == nil {
		r.latency = from.latency
	} else if from.latency != nil {
		r.latency.Merge(from.latency)
	}
}

func (c *counter) fill(s *Stats) {
	s.Exchanges, s.Flags = c.count, c.flags
	s.Rate.Columns = []int64{}
	if c.count > 0 {
		first, last := c.first, c.last
		s.First, s.Last = &first, &last
		s.Rate.Columns = c.rate.columns(first, last, rateColumns)
		perSecond, at := c.rate.peak()
		s.Rate.Peak, s.Rate.PeakStart = perSecond, &at
	}
	s.Routes = make([]RouteStats, 0, len(c.routes))
	for _, r := range c.regrouped() {
		if r.latency != nil {
			r.P50 = float64(r.latency.ValueAtQuantile(50)) / 1000
			r.P99 = float64(r.latency.ValueAtQuantile(99)) / 1000
		}
		s.Routes = append(s.Routes, r.RouteStats)
	}
	slices.SortFunc(s.Routes, func(a, b RouteStats) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Route, b.Route))
	})
	for _, kind := range c.sources {
		if kind == traffic.Import {
			s.Imports++
		} else {
			s.Taps++
		}
	}
}

// regrouped joins routes that are the same by what has been learned since: a place where names stood at first can have
// turned out to hold values.
func (c *counter) regrouped() map[string]*route {
	all := make(map[string]*route, len(c.routes))
	for _, r := range c.routes {
		method, path, _ := strings.Cut(r.Route, " ")
		if r.GRPCErrors == nil && strings.HasPrefix(path, "/") && !strings.HasSuffix(path, "/…") {
			r.Route = method + " " + c.templates.Template([]byte(path))
		}
		if same := all[r.Route]; same != nil {
			same.merge(r)
		} else {
			all[r.Route] = r
		}
	}
	return all
}

// fillSequences counts what is missing of the taps. Imports have the index in their file for a number, and a filter may
// have left some out.
func (c *counter) fillSequences(s *Stats, cut []int32) {
	if c.sequences == nil || c.sequences.full {
		return
	}
	var missing uint64
	for tap, kind := range c.sources {
		if kind == traffic.Import {
			continue
		}
		n, ok := c.sequences.missing(tap, cut)
		if !ok {
			return
		}
		missing += n
	}
	s.Missing = &missing
}
