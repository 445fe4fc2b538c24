package replay_test

import (
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/replay"
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

	cluster *kfake.Cluster        // nil in a process that is to be killed
	dialer  fire.DialFunc         // to targets; nil: TCP
	network *kfake.VirtualNetwork // of a bubble; nil: there is none
	unsure  [][2]time.Time        // in which an order was in force that not every replica knew of
}

// atATime is how many tests run at once, whatever the number of cores: many wait for members of groups. Those that have to do something
// in time run alone.
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

// crashStand is that of another process.
func crashStand(t *testing.T) *stand {
	t.Helper()
	return &stand{
		t: t, cfg: topic.Config{Brokers: strings.Split(os.Getenv(crashBrokers), ","), Patience: time.Minute}, names: topic.NamesOf("test"),
	}
}

// newStand starts a broker, and a target beside it, for tests that start processes, or in which several members share a group: a rebalance
// waits for a mutex of the client's, which no fake time passes. Others that wait for something are in a bubble.
func newStand(t *testing.T, partitions int32) (*stand, *target) {
	t.Helper()
	s := &stand{t: t, names: topic.NamesOf("test")}
	s.cfg.Patience = time.Minute
	s.open(partitions)
	return s, newTarget(t, nil)
}

// inBubble runs a test in fake time, with broker and target in memory: what it waits for comes at once, and a machine that stands
// still makes nothing late. The pacing thread writes nothing itself there.
func inBubble(t *testing.T, partitions int32, test func(t *testing.T, s *stand, g *target)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := new(kfake.VirtualNetwork)
		s := &stand{t: t, names: topic.NamesOf("test"), dialer: network.DialContext, network: network}
		// No compression: a decoder of the bubble would be closed by a finalizer, outside of it.
		s.cfg = topic.Config{Brokers: []string{"127.0.0.1:9092"}, Dialer: network.DialContext, Compression: topic.NoCompression}
		s.open(partitions, kfake.Ports(9092), kfake.ListenFn(network.Listen))
		test(t, s, s.target(t, 8080))
	})
}

// target starts one in the bubble.
func (s *stand) target(t *testing.T, port uint16) *target {
	t.Helper()
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
	l, err := s.network.Listen("tcp", at.String())
	require.NoError(t, err)
	return newTarget(t, named{l, net.TCPAddrFromAddrPort(at)})
}

// named is a listener with an address that needs no looking up.
type named struct {
	net.Listener
	at net.Addr
}

func (n named) Addr() net.Addr { return n.at }

func (s *stand) open(partitions int32, opts ...kfake.Opt) {
	s.t.Helper()
	var err error
	s.cluster, err = kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	require.NoError(s.t, err)
	s.t.Cleanup(s.cluster.Close)
	if len(s.cfg.Brokers) == 0 {
		s.cfg.Brokers = s.cluster.ListenAddrs()
	}
	s.ensure(topic.ExchangesSpec(s.names, partitions), topic.ControlSpec(s.names))
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
	s.produce(s.names.Exchanges, records...)
}

// produce stores records, whatever they are.
func (s *stand) produce(name string, records ...*topic.Record) {
	s.t.Helper()
	_, err := topic.Produce(s.t.Context(), s.cfg, name, records...)
	require.NoError(s.t, err)
}

// tell stores what another process says in the control topic.
func (s *stand) tell(r control.Record) {
	s.t.Helper()
	s.produce(s.names.Control, &topic.Record{Key: []byte(r.Key), Value: r.Value, Time: time.Now()})
}

// some writes n exchanges, one each gap, the first one captured a minute ago, or as long ago as all of them take.
func (s *stand) some(n int, gap time.Duration) []*traffic.Exchange {
	s.t.Helper()
	start := time.Now().Add(-max(time.Minute, time.Duration(n)*gap))
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
	s.tell(control.Author{Writer: "tap", Time: time.Now()}.Report(r))
}

// options are those of a run at full speed.
func (s *stand) options(target *target) replay.Options { return s.optionsFor(target.server.URL) }

func (s *stand) optionsFor(target string) replay.Options {
	u, err := url.Parse(target)
	require.NoError(s.t, err)
	return replay.Options{
		Kafka: s.cfg, Prefix: "test", Run: "monday", Target: u, AllowTarget: []string{u.Host}, HostID: "here",
		Profile:   schedule.ConstantSpeed(0),
		RedactKey: []byte(testKey), Dialer: s.dialer, Logger: slog.New(slog.NewTextHandler(testWriter{s.t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
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
	awaited []awaited
	open    int                                               // connections
	answer  func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
}

type arrival struct {
	id           traffic.ID
	at           time.Time
	method, path string
}

// awaited is who waits for so many requests.
type awaited struct {
	n    int
	came chan struct{}
}

// newTarget starts one. l nil: it listens at a port of this machine.
func newTarget(t *testing.T, l net.Listener) *target {
	t.Helper()
	g := new(target)
	if g.server = httptest.NewUnstartedServer(g); l != nil {
		require.NoError(t, g.server.Listener.Close())
		g.server.Listener = l
	}
	g.server.Config.ConnState = g.connState
	g.server.Start()
	t.Cleanup(g.server.Close)
	return g
}

func (g *target) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, _ := traffic.ParseID(r.Header.Get("Reprise-Exchange-Id"))
	g.mu.Lock()
	g.arrived = append(g.arrived, arrival{id, time.Now(), r.Method, r.URL.Path})
	g.tell()
	answer := g.answer
	g.mu.Unlock()
	if answer != nil && answer(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"item":%d}`, id.Seq())
}

func (g *target) connState(_ net.Conn, is http.ConnState) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch is {
	case http.StateNew:
		g.open++
	case http.StateClosed, http.StateHijacked:
		g.open--
	}
}

// goneQuiet returns when everything has come that a process had sent before it was killed.
func (g *target) goneQuiet(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.open == 0
	}, hangs, 5*time.Millisecond)
}

func (g *target) answers(f func(w http.ResponseWriter, r *http.Request) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answer = f
}

// came is closed when n requests have come.
func (g *target) came(n int) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	came := make(chan struct{})
	g.awaited = append(g.awaited, awaited{n, came})
	g.tell()
	return came
}

// tell tells those whose requests have come. It is called with mu held.
func (g *target) tell() {
	g.awaited = slices.DeleteFunc(g.awaited, func(a awaited) bool {
		there := len(g.arrived) >= a.n
		if there {
			close(a.came)
		}
		return there
	})
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
