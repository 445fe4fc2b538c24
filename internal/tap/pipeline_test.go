package tap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/sample"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/wire"
)

// keeper is a writer that acknowledges what result says.
type keeper struct {
	mu       sync.Mutex
	records  []*topic.Record
	pipeline *Pipeline
	result   func(n int) topic.Result
}

func (k *keeper) PutAll(rs []*topic.Record) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range rs {
		k.records = append(k.records, r)
		k.pipeline.Done(r, k.result(len(k.records)))
	}
}

func acknowledge(int) topic.Result { return topic.Result{State: topic.Acknowledged} }

// shout is a redactor of which the test sees that it ran.
type shout struct{ fail string }

func (s shout) Exchange(x *traffic.Exchange) error {
	switch s.fail {
	case "error":
		return errors.New("cannot")
	case "panic":
		panic("odd exchange")
	}
	x.Request.Target = bytes.ToUpper(x.Request.Target)
	return nil
}
func (shout) Digest() []byte { return []byte("digest") }
func (shout) Pseudonym(domain string, v []byte) []byte {
	return append([]byte(domain+":"), bytes.ToUpper(v)...)
}

func exchange(method, target, session string) wire.Captured {
	x := &traffic.Exchange{
		CaptureTime: time.Now().UTC(),
		Request: traffic.Request{
			Method: []byte(method), Target: []byte(target),
			Headers: []traffic.Field{{Name: []byte("Cookie"), Value: []byte("sessionid=" + session)}},
		},
		Connection: traffic.Connection{ID: []byte("c1"), Sequence: 1},
	}
	return wire.Captured{Exchange: x, Bytes: 1000}
}

// everything is what a tap captures unless it is told otherwise.
func everything() Settings { return Settings{Capture: true, Sample: sample.All} }

// run offers the batches to a pipeline that captures everything and waits until it has worked them off.
func run(t *testing.T, cfg PipelineConfig, k *keeper, batches ...[]wire.Captured) *Pipeline {
	t.Helper()
	return runWith(t, everything(), cfg, k, batches...)
}

func runWith(t *testing.T, s Settings, cfg PipelineConfig, k *keeper, batches ...[]wire.Captured) *Pipeline {
	t.Helper()
	cfg.Writer, cfg.Budget, cfg.Logger = k, NewBudget(1<<20), slog.New(slog.DiscardHandler)
	p := NewPipeline(cfg)
	p.apply(compiled(t, s))
	k.pipeline = p
	if k.result == nil {
		k.result = acknowledge
	}
	for _, b := range batches {
		for _, c := range b {
			require.True(t, cfg.Budget.TryAcquire(c.Bytes))
		}
		p.Offer(b)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.NoError(t, p.Run(ctx))
	require.Zero(t, cfg.Budget.Used(), "every booked byte is given back")
	require.Zero(t, p.counters.Report().GetPending(), "nothing is left open")
	return p
}

func compiled(t *testing.T, s Settings) *inForce {
	t.Helper()
	f, err := s.compile(nil)
	require.NoError(t, err)
	return f
}

func decoded(t *testing.T, r *topic.Record) *traffic.Exchange {
	t.Helper()
	var d traffic.Decoder
	x := new(traffic.Exchange)
	require.NoError(t, d.Decode(r.Value, x))
	return x
}

func TestRedactsNumbersAndWrites(t *testing.T) {
	k := &keeper{}
	id := NewID()
	run(t, PipelineConfig{TapID: id, Redactor: shout{}}, k,
		[]wire.Captured{exchange("GET", "/a?q=1", "s1"), exchange("GET", "/b", "s1")}, []wire.Captured{exchange("GET", "/c", "s2")})

	require.Len(t, k.records, 3)
	for i, target := range []string{"/A?Q=1", "/B", "/C"} {
		x := decoded(t, k.records[i])
		require.Equal(t, traffic.MakeID(id, uint64(i+1)), x.ID, "tap_seq is gapless and from 1")
		require.Equal(t, target, string(x.Request.Target))
		require.Equal(t, "digest", string(x.RulesDigest))
		require.Equal(t, string(x.Session), string(k.records[i].Key), "a session keeps to one partition")
		require.False(t, k.records[i].Time.Before(x.CaptureTime), "an offset looked up by time must skip nothing")
		require.NotZero(t, x.SampleHash)
	}
	require.NotContains(t, string(k.records[0].Key), "s1", "the session is a pseudonym")
	require.Equal(t, "/A", string(k.records[0].Header(traffic.HeaderPath)), "the Kafka header is redacted and has no query")
}

func TestArithmeticCloses(t *testing.T) {
	k := &keeper{result: func(n int) topic.Result {
		switch n % 3 {
		case 0:
			return topic.Result{State: topic.Dropped, Reason: topic.RingFull}
		case 1:
			return topic.Result{State: topic.Unknown, Reason: topic.Timeout}
		}
		return topic.Result{State: topic.Acknowledged}
	}}
	var batches [][]wire.Captured
	for range 10 {
		batches = append(batches, []wire.Captured{exchange("GET", "/a", "s"), exchange("POST", "/a", "s")})
	}
	gets := everything()
	gets.Include = []string{"GET"}
	p := runWith(t, gets, PipelineConfig{Redactor: shout{}, Workers: 3}, k, batches...)
	p.Shed("marked", 4)
	p.Shed("memory", 5)

	r := p.Counters().Report()
	require.EqualValues(t, 29, r.GetSeen())
	require.EqualValues(t, 14, r.GetFiltered(), "10 by rule, 4 marked")
	require.EqualValues(t, 4, r.GetMarked())
	require.Equal(t, map[string]uint64{"ring_full": 3, "memory": 5}, r.GetDropped())
	require.EqualValues(t, 3, r.GetProduced())
	require.EqualValues(t, 4, r.GetUnknown())
	require.EqualValues(t, 0, r.GetPending())
	require.EqualValues(t, 10, r.GetLastSeq())
}

func TestWhatCannotBeRedactedIsNeverWritten(t *testing.T) {
	for _, fail := range []string{"error", "panic"} {
		k := &keeper{}
		p := run(t, PipelineConfig{Redactor: shout{fail}}, k, []wire.Captured{exchange("GET", "/a", "s")})
		require.Empty(t, k.records, fail)
		require.Equal(t, map[string]uint64{"redaction": 1}, p.Counters().Report().GetDropped())
	}
}

func TestOfferAfterTheEndIsCounted(t *testing.T) {
	k := &keeper{}
	p := run(t, PipelineConfig{}, k)
	p.cfg.Budget.TryAcquire(1000)
	p.Offer([]wire.Captured{exchange("GET", "/a", "s")})
	require.Equal(t, map[string]uint64{"shutdown": 1}, p.Counters().Report().GetDropped())
	require.Zero(t, p.cfg.Budget.Used())
}

func TestSamplingKeepsSessionsWhole(t *testing.T) {
	share, err := sample.ParseShare("30%")
	require.NoError(t, err)
	var batch []wire.Captured
	for i := range 600 {
		batch = append(batch, exchange("GET", "/", fmt.Sprintf("session-%03d", i%200)))
	}
	k := &keeper{}
	p := runWith(t, Settings{Capture: true, Sample: share}, PipelineConfig{Redactor: shout{}}, k, batch)
	count := map[string]int{}
	for _, r := range k.records {
		count[string(r.Key)]++
	}
	for key, n := range count {
		require.Equal(t, 3, n, "session %q has three requests or none", key)
	}
	require.InDelta(t, 60, len(count), 25)
	require.EqualValues(t, 600-len(k.records), p.Counters().Report().GetSampledOut())
}

func TestSharesOnlyGrow(t *testing.T) {
	last := sample.Share(0)
	for _, s := range []string{"0%", "0.1%", "10%", "0.5", "99.9%", "100%"} {
		share, err := sample.ParseShare(s)
		require.NoError(t, err)
		require.GreaterOrEqual(t, share, last, s)
		last = share
	}
	require.True(t, sample.All.Keeps(math.MaxUint64))
	require.False(t, sample.Share(0).Keeps(0))
	for _, bad := range []string{"", "x", "-1%", "101%", "2", "NaN"} {
		_, err := sample.ParseShare(bad)
		require.Error(t, err, bad)
	}
}

func TestRateLimitLetsItsRateThrough(t *testing.T) {
	l := limiter{rate: 100}
	now, passed := time.Now(), 0
	for i := range 3000 { // three seconds of a thousand a second
		if l.allow(now.Add(time.Duration(i) * time.Millisecond)) {
			passed++
		}
	}
	require.InDelta(t, 400, passed, 2, "a burst of one second and then the rate")
}

func TestRateLimitBelowOneASecond(t *testing.T) {
	l := limiter{rate: 0.5}
	now, passed := time.Now(), 0
	for i := range 20_000 { // twenty seconds
		if l.allow(now.Add(time.Duration(i) * time.Millisecond)) {
			passed++
		}
	}
	require.InDelta(t, 10, passed, 1)
	require.True(t, (&limiter{rate: 1e-300}).allow(now), "the first one, and then none for a day")
}

func TestCaptureTimeAheadIsSetToNow(t *testing.T) {
	c := exchange("GET", "/", "s")
	c.Exchange.CaptureTime = time.Now().Add(time.Hour)
	k := &keeper{}
	run(t, PipelineConfig{}, k, []wire.Captured{c})
	x := decoded(t, k.records[0])
	require.True(t, x.Flags.Has(traffic.ClockAhead))
	require.False(t, x.CaptureTime.After(time.Now()))
}

func TestPathOfAnyTarget(t *testing.T) {
	for target, want := range map[string]string{
		"/a/b?c=/d":               "/a/b",
		"http://host:1/a?b":       "/a",
		"http://host":             "/",
		"*":                       "*",
		"/redirect/http://x/y?z=": "/redirect/http://x/y",
	} {
		require.Equal(t, want, string(pathOf([]byte(target))), target)
	}
}

func TestCountersAreExported(t *testing.T) {
	var c Counters
	reg := prometheus.NewRegistry()
	require.NoError(t, c.Register(reg))
	families, err := reg.Gather()
	require.NoError(t, err)
	names := map[string]bool{}
	for _, f := range families {
		names[f.GetName()] = true
	}
	for _, name := range []string{"reprise_tap_seen_total", "reprise_tap_exchanges_total", "reprise_tap_pending"} {
		require.True(t, names[name], name)
	}
}
