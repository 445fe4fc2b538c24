package replay_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/replay"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// stand is a broker with the topics of one prefix, and what was recorded there.
type stand struct {
	t     *testing.T
	cfg   topic.Config
	names topic.Names
	seq   uint64

	cluster *kfake.Cluster // nil in a process that is to be killed
}

// atATime is how many of the tests run at once that may: they wait for their schedules, not for a processor. Each has a
// broker of its own. Those that have to do something in time, or whose figures are times, run alone.
const atATime = "3"

func TestMain(m *testing.M) {
	flag.Parse()
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "test.parallel" })
	if !said {
		_ = flag.Set("test.parallel", atATime)
	}
	os.Exit(m.Run())
}

const testKey = "0123456789abcdef"

func newStand(t *testing.T, partitions int32) *stand {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	s := &stand{t: t, cfg: topic.Config{Brokers: c.ListenAddrs()}, names: topic.NamesOf("test"), cluster: c}
	s.ensure(topic.ExchangesSpec(s.names, partitions), topic.ControlSpec(s.names))
	return s
}

func (s *stand) ensure(specs ...topic.Spec) {
	s.t.Helper()
	admin, err := topic.NewAdmin(s.cfg)
	require.NoError(s.t, err)
	defer admin.Close()
	require.NoError(s.t, admin.Ensure(s.t.Context(), specs))
}

// exchange is a GET of /items/N captured at that time and answered after 5 ms with {"item":N}.
func (s *stand) exchange(at time.Time) *traffic.Exchange {
	s.seq++
	body := fmt.Sprintf(`{"item":%d}`, s.seq)
	field := func(name, value string) traffic.Field { return traffic.Field{Name: []byte(name), Value: []byte(value)} }
	return &traffic.Exchange{
		ID: traffic.MakeID([16]byte{7}, s.seq), CaptureTime: at.UTC(), TimeSource: traffic.OwnClock,
		Request: traffic.Request{
			Method: []byte("GET"), Scheme: []byte("http"), Authority: []byte("shop.example"), Protocol: []byte("HTTP/1.1"),
			Target: fmt.Appendf(nil, "/items/%d?ref=home", s.seq), Headers: []traffic.Field{field("Host", "shop.example")},
		},
		Response: &traffic.Response{
			Status: 200, Protocol: []byte("HTTP/1.1"), TTFB: 4 * time.Millisecond, Duration: 5 * time.Millisecond,
			Headers: []traffic.Field{field("Content-Type", "application/json")}, Body: []byte(body), BodySize: int64(len(body)),
		},
	}
}

// write stores exchanges as a tap does.
func (s *stand) write(all ...*traffic.Exchange) {
	s.t.Helper()
	records := make([]*topic.Record, 0, len(all))
	for _, x := range all {
		meta := traffic.MetaOf(x, x.Request.Target)
		key := x.Session
		if key == nil {
			key = x.ID[:]
		}
		records = append(records, &topic.Record{
			Key: key, Value: traffic.AppendExchange(nil, x), Headers: traffic.AppendMeta([]topic.Header(nil), &meta), Time: time.Now(), // as an import does
		})
	}
	_, err := topic.Produce(s.t.Context(), s.cfg, s.names.Exchanges, records...)
	require.NoError(s.t, err)
}

// some writes n exchanges, one each gap, the first one captured a minute ago.
func (s *stand) some(n int, gap time.Duration) []*traffic.Exchange {
	s.t.Helper()
	start := time.Now().Add(-time.Minute)
	all := make([]*traffic.Exchange, n)
	for i := range all {
		all[i] = s.exchange(start.Add(time.Duration(i) * gap))
	}
	s.write(all...)
	return all
}

// report writes what a tap would about itself.
func (s *stand) report(r *reprisev1.TapReport) {
	s.t.Helper()
	record := control.Author{Writer: "tap", Time: time.Now()}.Report(r)
	_, err := topic.Produce(s.t.Context(), s.cfg, s.names.Control, &topic.Record{Key: []byte(record.Key), Value: record.Value, Time: time.Now()})
	require.NoError(s.t, err)
}

// options are those of a run at full speed.
func (s *stand) options(target *target) replay.Options { return s.optionsFor(target.server.URL) }

func (s *stand) optionsFor(target string) replay.Options {
	u, err := url.Parse(target)
	require.NoError(s.t, err)
	return replay.Options{
		Kafka: s.cfg, Prefix: "test", Run: "monday", Target: u, AllowTarget: []string{u.Host}, HostID: "here",
		Profile:   schedule.ConstantSpeed(0),
		RedactKey: []byte(testKey), Logger: slog.New(slog.NewTextHandler(testWriter{s.t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
}

// run replays to the end.
func (s *stand) run(o replay.Options) *report.Report {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	r, err := replay.Run(ctx, o)
	require.NoError(s.t, err)
	require.Equal(s.t, "finished", r.State)
	return r
}

// together replays to the end with as many replicas, and returns their reports.
func (s *stand) together(n int, o replay.Options) []*report.Report {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	var all sync.WaitGroup
	reports, errs := make([]*report.Report, n), make([]error, n)
	for i := range n {
		all.Go(func() { reports[i], errs[i] = replay.Run(ctx, o) })
	}
	all.Wait()
	require.NoError(s.t, errors.Join(errs...))
	return reports
}

// outcomes returns what is stored, by exchange.
func (s *stand) outcomes() map[traffic.ID][]*traffic.Outcome {
	s.t.Helper()
	all := make(map[traffic.ID][]*traffic.Outcome)
	s.each(s.names.Results, func(r *topic.Record) {
		o := new(traffic.Outcome)
		require.NoError(s.t, traffic.DecodeOutcome(r.Value, o))
		all[o.ExchangeID] = append(all[o.ExchangeID], o)
	})
	return all
}

// state folds the control topic.
func (s *stand) state() *control.State {
	s.t.Helper()
	state := new(control.State)
	s.each(s.names.Control, func(r *topic.Record) { state.Apply(r.Offset, r.Time, r.Key, r.Value) })
	return state
}

func (s *stand) each(name string, do func(*topic.Record)) {
	s.t.Helper()
	admin, err := topic.NewAdmin(s.cfg)
	require.NoError(s.t, err)
	defer admin.Close()
	window, err := admin.Window(s.t.Context(), name, time.Time{})
	require.NoError(s.t, err)
	from, to := map[int32]int64{}, map[int32]int64{}
	for id, r := range window {
		if r.Start < r.End {
			from[id], to[id] = r.Start, r.End
		}
	}
	if len(from) == 0 {
		return
	}
	reader, err := topic.NewAssignReader(topic.AssignConfig{Config: s.cfg, Topic: name, From: from, To: to})
	require.NoError(s.t, err)
	defer reader.Close()
	for {
		batch, err := reader.Poll(s.t.Context())
		if err != nil {
			require.ErrorContains(s.t, err, "EOF")
			return
		}
		batch.Each(do)
	}
}

// target answers {"item":N} to /items/N and notes what came.
type target struct {
	server *httptest.Server

	mu      sync.Mutex
	arrived []arrival
	answer  func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
}

type arrival struct {
	id           traffic.ID
	at           time.Time
	method, path string
}

func newTarget(t *testing.T) *target {
	t.Helper()
	g := new(target)
	g.server = httptest.NewServer(g)
	t.Cleanup(g.server.Close)
	return g
}

func (g *target) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, _ := traffic.ParseID(r.Header.Get("Reprise-Exchange-Id"))
	g.mu.Lock()
	g.arrived = append(g.arrived, arrival{id, time.Now(), r.Method, r.URL.Path})
	answer := g.answer
	g.mu.Unlock()
	if answer != nil && answer(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"item":%d}`, id.Seq())
}

func (g *target) answers(f func(w http.ResponseWriter, r *http.Request) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answer = f
}

func (g *target) all() []arrival {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]arrival(nil), g.arrived...)
}

func (g *target) byID() map[traffic.ID]int {
	n := make(map[traffic.ID]int)
	for _, a := range g.all() {
		n[a.id]++
	}
	return n
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", b)
	return len(b), nil
}
