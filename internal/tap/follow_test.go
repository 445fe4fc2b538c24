package tap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/wire"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// stand is a Kafka in memory, for a bubble of fake time, and the taps that use it.
type stand struct {
	t       *testing.T
	network *kfake.VirtualNetwork
	cfg     topic.Config
	names   topic.Names
}

func newStand(t *testing.T) *stand {
	t.Helper()
	s := &stand{t: t, network: new(kfake.VirtualNetwork), names: topic.NamesOf("test")}
	// No compression: a decoder of the bubble would be closed by a finalizer, outside of it.
	s.cfg = topic.Config{Brokers: []string{"127.0.0.1:9092"}, Dialer: s.network.DialContext, Compression: topic.NoCompression}
	return s
}

// open starts the broker, and makes the control topic unless told otherwise.
func (s *stand) open(opts ...kfake.Opt) *kfake.Cluster {
	s.t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(s.network.Listen)}, opts...)...)
	require.NoError(s.t, err)
	return c
}

func (s *stand) ensure() {
	s.t.Helper()
	admin, err := topic.NewAdmin(s.cfg)
	require.NoError(s.t, err)
	defer admin.Close()
	require.NoError(s.t, admin.Ensure(s.t.Context(), []topic.Spec{topic.ControlSpec(s.names)}))
}

// write puts records into the control topic.
func (s *stand) write(records ...control.Record) {
	s.t.Helper()
	for _, r := range records {
		_, err := topic.Produce(s.t.Context(), s.cfg, s.names.Control, &topic.Record{Key: []byte(r.Key), Value: r.Value, Time: time.Now()})
		require.NoError(s.t, err)
	}
}

func command(selector, verb, argument string) control.Record {
	return control.Author{Writer: "shop-1/ann", Time: time.Now()}.Command(&reprisev1.Command{Tap: selector, Verb: verb, Argument: argument})
}

// lines is a log that can be read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// running is a tap at work, with a source that gives nothing.
type running struct {
	*Tap
	log  *lines
	end  func() error // ends it, once
	stop func()       // the same, without an error
}

func (s *stand) start(name string, settings Settings, sources ...Source) *running {
	s.t.Helper()
	r := &running{log: new(lines)}
	var err error
	r.Tap, err = New(Options{
		Topic: s.cfg, Names: s.names, Name: name, MemoryMax: 8 << 20, Settings: settings, Registerer: prometheus.NewRegistry(),
		Logger: slog.New(slog.NewTextHandler(r.log, nil)),
	})
	require.NoError(s.t, err)
	if len(sources) == 0 {
		sources = []Source{{Kind: traffic.Proxy, Run: func(ctx context.Context) error { <-ctx.Done(); return nil }}}
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx, sources...) }()
	r.end = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	r.stop = func() { require.NoError(s.t, r.end()) }
	s.t.Cleanup(func() { _ = r.end() })
	return r
}

// settle lets some time go by in the bubble.
func settle(d time.Duration) { time.Sleep(d); synctest.Wait() }

func (r *running) sample() string { return r.pipeline.settings.Load().Sample.String() }

// reports are what the topic holds of taps now.
func (s *stand) state() *control.State {
	s.t.Helper()
	var state control.State
	err := topic.Follow(s.t.Context(), s.cfg, s.names.Control,
		func(r *topic.Record) { state.Apply(r.Offset, r.Time, r.Key, r.Value) }, func(int64) bool { return false })
	require.NoError(s.t, err)
	return &state
}

func TestTapObeysWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		defer s.open().Close()
		s.ensure()
		gateway, edge := s.start("gateway", everything()), s.start("edge", everything())
		defer gateway.stop()
		defer edge.stop()
		settle(2 * time.Second)

		s.write(command("gateway", "sample", "10%"))
		settle(time.Second)
		require.Equal(t, "10%", gateway.sample())
		require.Equal(t, "100%", edge.sample())
		require.Contains(t, gateway.log.String(), "sample 10%, was 100%")
		require.Contains(t, gateway.log.String(), "shop-1/ann")

		s.write(command("*", "sample", "20%"), command("edge", "capture", "off"))
		settle(time.Second)
		require.Equal(t, "20%", gateway.sample())
		require.Equal(t, "20%", edge.sample())
		require.False(t, edge.pipeline.settings.Load().Capture)

		base := everything()
		base.Sample, base.RateLimit = mustShare(t, "50%"), 7
		require.NoError(t, gateway.Rebase(base))
		require.Equal(t, "20%", gateway.sample(), "a command is stronger than what is read again")
		require.InDelta(t, 7, gateway.pipeline.settings.Load().RateLimit, 0)
		base.Include = []string{"stat == 1"}
		require.Error(t, gateway.Rebase(base))

		s.write(command("*", "reset", ""))
		settle(time.Second)
		require.Equal(t, "50%", gateway.sample())
		require.Equal(t, "100%", edge.sample())
		require.True(t, edge.pipeline.settings.Load().Capture)
	})
}

func TestReportTellsWhatIsInForceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		defer s.open().Close()
		s.ensure()
		tap := s.start("gateway", everything())
		defer tap.stop()
		settle(2 * time.Second)
		given := time.Now()
		s.write(command("gateway", "sample", "10%"), command("*", "include", `["GET /api/**"]`))
		settle(time.Second) // reports come every 10 s otherwise

		taps := s.state().Taps()
		require.Len(t, taps, 1)
		got := taps[0].Report.GetSettings()
		require.True(t, got.GetCapture())
		require.Equal(t, "10%", got.GetSample())
		require.Equal(t, []string{"GET /api/**"}, got.GetInclude())
		require.Len(t, got.GetByCommand(), 2)
		sample := got.GetByCommand()[1]
		require.Equal(t, "sample", sample.GetCommand().GetVerb())
		require.Equal(t, "shop-1/ann", sample.GetWriter())
		require.Greater(t, got.GetObeyedBelow(), sample.GetOffset())
		obeyed := time.Unix(0, int64(sample.GetObeyedUnixNano())).Sub(given)
		require.True(t, obeyed >= 0 && obeyed < time.Second, "obeyed after %s", obeyed)
	})
}

func TestRestartedTapObeysAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		defer s.open().Close()
		s.ensure()
		for i := range 300 { // more than one batch
			s.write(command("gateway", "sample", fmt.Sprintf("%d%%", i%90+1)))
		}
		s.write(command("gateway", "sample", "25%"), command("other", "sample", "1%"))
		flags := everything()
		flags.Sample = mustShare(t, "10%")
		tap := s.start("gateway", flags)
		defer tap.stop()
		settle(2 * time.Second)
		require.Equal(t, "25%", tap.sample())
		log := tap.log.String()
		require.Contains(t, log, "sample 25% by command of")
		require.Contains(t, log, "(shop-1/ann); flags say 10%: tap set --reset")
		require.Equal(t, 1, strings.Count(log, "sample 25%, was 10%"), "only what counts in the end is obeyed:\n%s", log)
		require.NotContains(t, log, "sample 90%")
	})
}

// startEarly starts a tap whose source has n exchanges before anything is known of Kafka.
func (s *stand) startEarly(settings Settings, n int) *running {
	s.t.Helper()
	itself := make(chan *running, 1)
	tap := s.start("gateway", settings, Source{Kind: traffic.Proxy, Run: func(ctx context.Context) error {
		tap := <-itself
		for range n {
			c := exchange("GET", "/early", "")
			tap.Budget().used.Add(c.Bytes)
			tap.Pipeline().Offer([]wire.Captured{c})
		}
		<-ctx.Done()
		return nil
	}})
	itself <- tap
	return tap
}

func TestRestartedTapRecordsNothingThatACommandForbids(t *testing.T) {
	for verb, argument := range map[string]string{"capture": "off", "sample": "0%"} {
		synctest.Test(t, func(t *testing.T) {
			s := newStand(t)
			defer s.open().Close()
			s.ensure()
			s.write(command("gateway", verb, argument))
			tap := s.startEarly(everything(), 100)
			settle(2 * time.Second)
			tap.stop()
			c := tap.pipeline.counters.Report()
			require.EqualValues(t, 100, c.GetSeen())
			require.EqualValues(t, 100, c.GetFiltered()+c.GetSampledOut(), "%v", c)
			require.NotContains(t, tap.log.String(), "are not known yet")
		})
	}
}

func TestRestartedTapRecordsWhatACommandAllows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		defer s.open().Close()
		s.ensure()
		s.write(command("gateway", "capture", "on"))
		flags := everything()
		flags.Capture = false
		tap := s.startEarly(flags, 100)
		settle(2 * time.Second)
		tap.stop()
		require.EqualValues(t, 100, tap.pipeline.counters.Report().GetProduced())
	})
}

func TestFirstTapDoesNotWaitForCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		defer s.open().Close() // without topics: nobody has ever set anything
		tap := s.startEarly(everything(), 100)
		settle(200 * time.Millisecond)
		require.EqualValues(t, 100, tap.pipeline.counters.Report().GetLastSeq(), "they are on their way")
		tap.stop()
		require.EqualValues(t, 100, tap.pipeline.counters.Report().GetProduced())
		require.NotContains(t, tap.log.String(), "are not known yet")
	})
}

func TestTapWaitsForCommandsNoLongerThanItSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t) // no Kafka
		tap := s.startEarly(everything(), 100)
		settle(commandsWait - time.Millisecond)
		require.Zero(t, tap.pipeline.counters.Report().GetLastSeq())
		settle(time.Millisecond)
		require.EqualValues(t, 100, tap.pipeline.counters.Report().GetLastSeq())
		require.Contains(t, tap.log.String(), "are not known yet")
		tap.stop()
	})
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		tap := s.startEarly(everything(), 100_000) // of a few bytes each, in 3 MiB
		settle(time.Second)
		c := tap.pipeline.counters.Report()
		require.Positive(t, c.GetLastSeq(), "memory is not for waiting")
		require.Contains(t, tap.log.String(), "are not known yet")
		tap.stop()
	})
}

func TestTapRunsWithoutKafkaAndObeysOnceItIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		tap := s.start("gateway", everything())
		settle(time.Minute)
		require.Equal(t, 1, strings.Count(tap.log.String(), "do not reach this tap"), tap.log)
		defer s.open().Close()
		settle(20 * time.Second) // the tap makes the topic
		require.Contains(t, tap.log.String(), "reach this tap again")
		s.write(command("*", "sample", "10%"))
		settle(time.Second)
		require.Equal(t, "10%", tap.sample())
		tap.stop()
	})
}

func TestTapStopsAtOnceWithoutKafka(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		tap := s.start("gateway", everything())
		settle(3 * time.Second)
		began := time.Now()
		tap.stop()
		require.LessOrEqual(t, time.Since(began), 11*time.Second, "no longer than its writers flush")
	})
}

func TestNonsenseInTheControlTopicChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		defer s.open().Close()
		s.ensure()
		tap := s.start("gateway", everything())
		defer tap.stop()
		settle(2 * time.Second)
		s.write(
			command("*", "sample", "10%"),
			control.Record{Key: "command/tap/sample/*", Value: []byte("\xff\xff nonsense")},
			command("*", "sample", "1000%"), command("*", "frobnicate", "now"), command("*", "include", `["stat == 1"]`),
			control.Record{Key: "command/x", Value: nil},
			control.Author{Writer: "r"}.Command(&reprisev1.Command{Id: "1", Run: "yesterday", Verb: "pause"}),
			control.Record{Key: "other/kind", Value: []byte("\xff")},
		)
		settle(time.Second)
		require.Equal(t, "10%", tap.sample())
		require.Equal(t, 4, strings.Count(tap.log.String(), "is not obeyed"), tap.log)
		s.write(command("*", "sample", "1000%"), command("*", "sample", "1000%"), command("*", "sample", "11%"))
		settle(time.Second)
		require.Equal(t, "11%", tap.sample())
		require.Equal(t, 5, strings.Count(tap.log.String(), "is not obeyed"), "one line for the same reason")
	})
}

func TestControlTopicThatIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		cluster := s.open()
		defer cluster.Close()
		s.ensure()
		s.write(command("*", "sample", "10%"), command("*", "rate-limit", "5"), command("*", "sample", "11%"))
		tap := s.start("gateway", everything())
		defer tap.stop()
		settle(2 * time.Second)
		require.Equal(t, "11%", tap.sample())

		require.NoError(t, cluster.DeleteTopic(s.names.Control))
		settle(time.Second)
		require.Equal(t, "11%", tap.sample(), "what is in force stays while the topic is gone")
		settle(time.Minute) // with the next report the tap makes the topic again
		require.Equal(t, "100%", tap.sample(), "commands end with their topic")
		require.Zero(t, tap.pipeline.settings.Load().RateLimit)
		s.write(command("*", "sample", "12%"))
		settle(time.Minute)
		require.Equal(t, "12%", tap.sample())
	})
}

func TestSeveralSourcesShareATap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		defer s.open().Close()
		s.ensure()
		until := func(ctx context.Context) error { <-ctx.Done(); return nil }
		fail := make(chan error, 1)
		tap := s.start("gateway", everything(),
			Source{Kind: traffic.Proxy, Listen: []string{"1.1.1.1:1"}, Upstream: []string{"2.2.2.2:2"}, ResponseWait: time.Second, Run: until},
			Source{Kind: traffic.Proxy, Listen: []string{"1.1.1.1:2"}, ResponseWait: 5 * time.Second, Run: until},
			Source{Kind: traffic.Mirror, Listen: []string{"1.1.1.1:3"}, Run: func(ctx context.Context) error {
				select {
				case <-ctx.Done():
					return nil
				case err := <-fail:
					return err
				}
			}},
		)
		settle(12 * time.Second)
		r := s.state().Taps()[0].Report
		require.Equal(t, "proxy,mirror", r.GetSource())
		require.Equal(t, []string{"1.1.1.1:1", "1.1.1.1:2", "1.1.1.1:3"}, r.GetListen())
		require.Equal(t, []string{"2.2.2.2:2"}, r.GetUpstream())
		require.Equal(t, uint64(5*time.Second), r.GetResponseWaitNano())
		fail <- errors.New("the socket is gone")
		settle(time.Second)
		require.Contains(t, tap.log.String(), "A SOURCE HAS FAILED")
		require.NotContains(t, tap.log.String(), "tap stopped", "the others go on")
		require.ErrorContains(t, tap.end(), "the socket is gone")
	})
}
