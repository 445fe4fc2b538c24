//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/e2e/proc"
	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// stride is one request of a walk.
type stride struct {
	target   string
	session  int
	at, done time.Time
	status   int // 0: no answer
}

// walk is steady traffic through some taps: each tick one request through each, of the sessions in turn.
type walk struct {
	stop func() []stride
}

const (
	walkSessions = 60
	walkTick     = 5 * time.Millisecond // 200 requests a second through each tap
)

func startWalk(t *testing.T, taps ...*tapped) *walk {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	results := make([][]stride, len(taps))
	var walkers sync.WaitGroup
	for i, tap := range taps {
		walkers.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}
			defer client.CloseIdleConnections()
			tick := time.NewTicker(walkTick)
			defer tick.Stop()
			for n := 0; ctx.Err() == nil; n++ {
				s := stride{target: fmt.Sprintf("/%s/%d", tap.addr, n), session: n % walkSessions, at: time.Now()}
				req, err := http.NewRequest(http.MethodGet, tap.url()+s.target, nil)
				if err == nil {
					req.AddCookie(&http.Cookie{Name: "session", Value: fmt.Sprintf("visitor-%03d", s.session)})
					if resp, err := client.Do(req); err == nil {
						s.status = resp.StatusCode
						_ = resp.Body.Close()
					}
				}
				s.done = time.Now()
				results[i] = append(results[i], s)
				select {
				case <-tick.C:
				case <-ctx.Done():
				}
			}
		})
	}
	return &walk{stop: sync.OnceValue(func() []stride {
		cancel()
		walkers.Wait()
		var all []stride
		for _, r := range results {
			all = append(all, r...)
		}
		return all
	})}
}

// phase is a time in which settings stood.
type phase struct{ from, to time.Time }

// hold lets traffic go by under the settings in force, until what was captured of it has been worked off.
func hold(t *testing.T, taps ...*tapped) phase {
	t.Helper()
	p := phase{from: time.Now()}
	for _, tap := range taps { // with every session in it
		before := tap.counts(t).seen
		waitFor(t, 2*time.Minute, func() error {
			if n := tap.counts(t).seen - before; n < 4*walkSessions {
				return fmt.Errorf("%d requests", n)
			}
			return nil
		})
	}
	p.to = time.Now()
	for _, tap := range taps {
		seen := tap.counts(t).seen + 2 // asked one after the other: with two more what was answered by now is seen too
		waitFor(t, 2*time.Minute, func() error {
			if c := tap.counts(t); c.seen-c.pending < seen {
				return fmt.Errorf("%d of %d worked off", c.seen-c.pending, seen)
			}
			return nil
		})
	}
	return p
}

// in returns what was sent and answered in the phase.
func (p phase) in(all []stride) []stride {
	var some []stride
	for _, s := range all {
		if s.at.After(p.from) && s.done.Before(p.to) {
			some = append(some, s)
		}
	}
	return some
}

// answer is a line of tap set.
type answer struct {
	Tap     string `json:"tap"`
	Name    string `json:"name"`
	Sample  string `json:"sample"`
	Capture bool   `json:"capture"`
	Obeys   bool   `json:"obeys"`
	After   int64  `json:"after_ms"`
}

// set runs tap set, whose taps all have to obey within a second.
func set(t *testing.T, prefix string, taps int, args ...string) []answer {
	t.Helper()
	got := run(t, 2*time.Minute, "tap", append([]string{"set", "--brokers", shared.broker.Addr(), "--topic-prefix", prefix}, args...)...)
	require.Zero(t, got.Code, got.Stderr)
	var answers []answer
	for line := range strings.Lines(got.Stdout) {
		var a answer
		require.NoError(t, json.Unmarshal([]byte(line), &a), line)
		require.True(t, a.Obeys, line)
		t.Logf("tap set %s: %s answered after %d ms", strings.Join(args, " "), a.Name, a.After)
		answers = append(answers, a)
	}
	require.Len(t, answers, taps)
	return answers
}

// obeyedWithin reads from the taps' own reports how long after the command each has obeyed it: an error if none did in time.
func obeyedWithin(t *testing.T, names topic.Names, verb, argument string, taps int, limit time.Duration) error {
	t.Helper()
	found, first := 0, time.Hour
	for _, tap := range controlState(t, names).Taps() {
		for _, c := range tap.Report.GetSettings().GetByCommand() {
			if tap.Report.GetFinal() || c.GetCommand().GetVerb() != verb || c.GetCommand().GetArgument() != argument {
				continue
			}
			after := time.Duration(c.GetObeyedUnixNano() - c.GetTimeUnixNano())
			t.Logf("%s obeyed %s %s %s after the command", tap.Report.GetName(), verb, argument, after)
			first = min(first, after)
			found++
		}
	}
	require.Equal(t, taps, found)
	if first >= limit { // of one that this machine has stopped meanwhile it tells nothing
		return fmt.Errorf("%s %s was obeyed %s after the command at the soonest", verb, argument, first)
	}
	return nil
}

func controlState(t *testing.T, names topic.Names) *control.State {
	t.Helper()
	var state control.State
	err := feed.Records(within(t, 2*time.Minute), shared.broker.Addr(), names.Control, func(r *topic.Record) error {
		state.Apply(r.Offset, r.Time, r.Key, r.Value)
		return nil
	})
	require.NoError(t, err)
	return &state
}

// kept checks that of what was sent every request of some sessions is stored, once, and none of the others, the same
// sessions through all taps; it returns them.
func kept(t *testing.T, some []stride, all map[string][]*traffic.Exchange) map[int]bool {
	t.Helper()
	require.NotEmpty(t, some)
	sessions := make(map[int]bool)
	for _, s := range some {
		if len(all[s.target]) > 0 {
			sessions[s.session] = true
		}
	}
	for _, s := range some {
		want := 0
		if sessions[s.session] {
			want = 1
		}
		require.Len(t, all[s.target], want, "%s of session %d", s.target, s.session)
	}
	return sessions
}

func TestSetChangesAllTapsWhileTrafficGoesOn(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	production := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) }))
	one := startTap(t, prefix, production, "--name", "one")
	two := startTap(t, prefix, production, "--name", "two")
	one.waitTopics(t, names)
	one.warm(t)
	two.warm(t)
	waitFor(t, 2*time.Minute, func() error { // until both have reported
		if n := len(controlState(t, names).Taps()); n != 2 {
			return fmt.Errorf("%d taps have reported", n)
		}
		return nil
	})

	traffic := startWalk(t, one, two)
	before := hold(t, one, two)
	inTime := func(share string) {
		holds(t, func() error {
			set(t, prefix, 2, "--sample", share)
			return obeyedWithin(t, names, "sample", share, 2, time.Second)
		})
	}
	inTime("10%")
	tenth := hold(t, one, two)
	inTime("100%")
	raised := hold(t, one, two)
	set(t, prefix, 1, "--tap", "one", "--sample", "10%")
	onlyOne := hold(t, one, two)
	set(t, prefix, 2, "--capture", "off")
	off := hold(t, one, two)
	set(t, prefix, 2, "--reset")
	reset := hold(t, one, two)
	all := traffic.stop()

	perTap := make(map[*tapped]int)
	for _, s := range all {
		require.Equal(t, http.StatusOK, s.status, s.target)
		for _, tap := range []*tapped{one, two} {
			if strings.HasPrefix(s.target, "/"+tap.addr+"/") {
				perTap[tap]++
			}
		}
	}
	sum := 0
	for _, tap := range []*tapped{one, two} {
		c := tap.settled(t, perTap[tap]+1) // and the first one
		t.Logf("%s: %+v", tap.addr, c)
		require.Zero(t, c.dropped+c.unknown)
		sum += c.produced
	}
	stored := exchanges(t, names)
	n := 0
	for _, same := range stored {
		n += len(same)
	}
	require.Equal(t, sum, n)

	require.Len(t, kept(t, before.in(all), stored), walkSessions)
	few := kept(t, tenth.in(all), stored)
	t.Logf("10%% kept %d of %d sessions", len(few), walkSessions)
	require.NotEmpty(t, few)
	require.Less(t, len(few), walkSessions/3)
	require.Len(t, kept(t, raised.in(all), stored), walkSessions)
	var of1, of2 []stride
	for _, s := range onlyOne.in(all) {
		if strings.HasPrefix(s.target, "/"+one.addr+"/") {
			of1 = append(of1, s)
		} else {
			of2 = append(of2, s)
		}
	}
	require.Equal(t, few, kept(t, of1, stored), "the same sessions again")
	require.Len(t, kept(t, of2, stored), walkSessions)
	require.Empty(t, kept(t, off.in(all), stored))
	require.Len(t, kept(t, reset.in(all), stored), walkSessions)

	// A command outlives the tap.
	set(t, prefix, 1, "--tap", "one", "--sample", "10%")
	code, err := one.Stop(time.Minute)
	require.NoError(t, err)
	require.Equal(t, 130, code)
	again := startTap(t, prefix, production, "--name", "one", "--sample", "50%")
	line, err := again.WaitLine(within(t, 2*time.Minute), "sample 10% by command of")
	require.NoError(t, err)
	require.Contains(t, line, "flags say 50%: tap set --reset")
	traffic = startWalk(t, again)
	restarted := hold(t, again)
	all = traffic.stop()
	again.settled(t, len(all))
	require.Equal(t, few, kept(t, restarted.in(all), exchanges(t, names)), "a restarted tap obeys, and keeps the same sessions")
}

func TestARestartedTapRecordsNothingThatIsSwitchedOff(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	production := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) }))
	tap := startTap(t, prefix, production)
	tap.warm(t)
	waitFor(t, 2*time.Minute, func() error {
		if n := len(controlState(t, names).Taps()); n != 1 {
			return fmt.Errorf("%d taps have reported", n)
		}
		return nil
	})
	got := run(t, 2*time.Minute, "tap", "set", "--brokers", shared.broker.Addr(), "--topic-prefix", prefix, "--tap", "e2e", "--capture", "off")
	require.Zero(t, got.Code, got.Stderr)
	for range 3 {
		_, err := tap.Stop(time.Minute)
		require.NoError(t, err)
		tap = startTap(t, prefix, production)
		for range 50 { // from the first moment on
			resp, err := http.Get(tap.url() + "/early")
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
		}
		c := tap.settled(t, 50)
		if strings.Contains(tap.Stderr(), "are not known yet") {
			t.Log("Kafka did not answer in time on this machine; once more")
			continue
		}
		require.Equal(t, 50, c.filtered, "%+v", c)
		require.Empty(t, exchanges(t, names)["/early"])
		return
	}
	t.Error("no tap could read within its time what is set")
}

func TestSetSaysWhatItCannotDo(t *testing.T) {
	broker := startKafka(t).Addr()
	prefix, names := newPrefix()
	production := serve(t, http.NotFoundHandler())
	set := func(args ...string) proc.Result {
		return run(t, 2*time.Minute, "tap", append([]string{"set", "--brokers", broker, "--topic-prefix", prefix}, args...)...)
	}
	got := set("--sample", "10%")
	require.Equal(t, 1, got.Code)
	require.Contains(t, got.Stderr, "does not exist", "no tap has ever been there")

	tap := startTap(t, prefix, production, "--name", "gateway-2")
	tap.waitTopics(t, names)
	waitFor(t, 2*time.Minute, func() error {
		if got := set(); got.Code != 0 {
			return fmt.Errorf("%s", got.Stderr)
		}
		return nil
	})
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--sample", "110%"}, 2, "bad share"},
		{[]string{"--include", "stat == 1"}, 2, "bad filter"},
		{[]string{"--rate-limit", "-1"}, 2, "bad --rate-limit"},
		{[]string{"--capture", "maybe"}, 2, "bad --capture"},
		{[]string{"--tap", "gatewya-2", "--sample", "1%"}, 1, "--tap gateway-2"},
	} {
		got := set(test.args...)
		require.Equal(t, test.code, got.Code, "%s\n%s", test.args, got.Stderr)
		require.Contains(t, got.Stderr, test.want)
		require.Empty(t, got.Stdout)
	}
	require.Empty(t, controlState(t, names).Commands().For("", "gateway-2"), "nothing of it was written")
}

const twoProxies = `name: edge
topic-prefix: %s
brokers: %s
redact-key: env:E2E_REDACT_KEY
admin: %s
%s
sources:
  - kind: proxy
    name: shop
    listen: %s
    upstream: %s
  - kind: proxy
    name: search
    listen: %s
    upstream: %s
`

func TestRunReadsItsFileAgain(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	production := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) }))
	shop, search := &tapped{addr: freeAddr(t), admin: freeAddr(t)}, &tapped{addr: freeAddr(t)}
	path := filepath.Join(t.TempDir(), "tap.yaml")
	write := func(more, searchUpstream string) {
		text := fmt.Sprintf(twoProxies, prefix, shared.broker.Addr(), shop.admin, more, shop.addr, production, search.addr, searchUpstream)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	write("sample: 100%", production)
	got := run(t, 2*time.Minute, "tap", "run", "--config", path, "--check")
	require.Zero(t, got.Code, got.Stderr)
	require.Contains(t, got.Stdout, "response-wait: 2s")
	require.NotContains(t, got.Stdout, "0123456789abcdef", "the key itself is not shown")

	shop.Process = start(t, "tap", "run", "--config", path)
	require.NoError(t, shop.Ready(within(t, 2*time.Minute), shop.admin))
	seen := 0
	get := func(n int) {
		for range n {
			for _, tap := range []*tapped{shop, search} {
				resp, err := http.Get(tap.url() + "/x")
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.Equal(t, http.StatusOK, resp.StatusCode)
				seen++
			}
		}
	}
	get(5)
	c := shop.settled(t, seen)
	require.Equal(t, seen, c.produced)
	bySource := make(map[string]int)
	for _, x := range exchanges(t, names)["/x"] {
		bySource[string(x.Source.Name)]++
	}
	require.Equal(t, map[string]int{"shop": 5, "search": 5}, bySource)
	waitFor(t, 2*time.Minute, func() error {
		taps := controlState(t, names).Taps()
		if len(taps) != 1 || len(taps[0].Report.GetListen()) != 2 || len(taps[0].Report.GetUpstream()) != 2 {
			return fmt.Errorf("taps %v", taps)
		}
		return nil
	})

	write("sample: 0%\nlog-level: debug", "127.0.0.1:1")
	shop.Signal(syscall.SIGHUP)
	line, err := shop.WaitLine(within(t, 2*time.Minute), "after a restart only")
	require.NoError(t, err)
	require.Contains(t, line, "source search: upstream")
	require.Contains(t, shop.Stderr(), "sample 0%, was 100%")
	get(5)
	c = shop.settled(t, seen)
	require.Equal(t, 10, c.sampledOut)

	write("sample: 300%", production)
	shop.Signal(syscall.SIGHUP)
	line, err = shop.WaitLine(within(t, 2*time.Minute), "NOT READ AGAIN")
	require.NoError(t, err)
	require.Contains(t, line, path+":6:1: bad share")
	get(5)
	c = shop.settled(t, seen)
	require.Equal(t, 20, c.sampledOut, "the old settings stay")

	set(t, prefix, 1, "--tap", "edge", "--sample", "100%")
	write("sample: 10%", production)
	shop.Signal(syscall.SIGHUP)
	_, err = shop.WaitLine(within(t, 2*time.Minute), "a command is stronger")
	require.NoError(t, err)
	get(5)
	c = shop.settled(t, seen)
	require.Equal(t, 20, c.produced, "a command is stronger than the file")
	code, err := shop.Stop(time.Minute)
	require.NoError(t, err)
	require.Equal(t, 130, code)

	write("smaple: 1%", production)
	got = run(t, 2*time.Minute, "tap", "run", "--config", path)
	require.Equal(t, 2, got.Code)
	require.Contains(t, got.Stderr, path+`:6:1: unknown key "smaple": did you mean sample?`)
}

func TestRunStopsWhenASourceCannotListen(t *testing.T) {
	startKafka(t)
	prefix, _ := newPrefix()
	busy := serve(t, http.NotFoundHandler())
	path := filepath.Join(t.TempDir(), "tap.yaml")
	text := fmt.Sprintf(twoProxies, prefix, shared.broker.Addr(), `""`, "", freeAddr(t), "127.0.0.1:1", busy, "127.0.0.1:2")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	got := run(t, 2*time.Minute, "tap", "run", "--config", path)
	require.Equal(t, 1, got.Code)
	require.Contains(t, got.Stderr, busy)
	require.Contains(t, got.Stderr, "in use")
}

func TestHangupDoesNotEndATap(t *testing.T) {
	startKafka(t)
	prefix, _ := newPrefix()
	tap := startTap(t, prefix, serve(t, http.NotFoundHandler()))
	tap.Signal(syscall.SIGHUP)
	_, err := tap.WaitLine(within(t, 2*time.Minute), "there is no configuration or rules file")
	require.NoError(t, err)
	resp, err := http.Get(tap.url())
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
}

func TestRunTakesAProxyAndAMirror(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	production := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) }))
	proxy, mirror := &tapped{addr: freeAddr(t), admin: freeAddr(t)}, &tapped{addr: freeAddr(t)}
	path := filepath.Join(t.TempDir(), "tap.yaml")
	text := fmt.Sprintf("brokers: %s\ntopic-prefix: %s\nadmin: %s\nsources:\n- {kind: proxy, listen: %q, upstream: %q}\n- {kind: mirror, listen: %q}\n",
		shared.broker.Addr(), prefix, proxy.admin, proxy.addr, production, mirror.addr)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	proxy.Process = start(t, "tap", "run", "--config", path)
	require.NoError(t, proxy.Ready(within(t, 2*time.Minute), proxy.admin))
	for tap, want := range map[*tapped]int{proxy: http.StatusOK, mirror: http.StatusNoContent} {
		resp, err := http.Get(tap.url() + "/x")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, want, resp.StatusCode)
	}
	require.Equal(t, 2, proxy.settled(t, 2).produced)
	kinds := make(map[traffic.SourceKind]int)
	for _, x := range exchanges(t, names)["/x"] {
		kinds[x.Source.Kind]++
	}
	require.Equal(t, map[traffic.SourceKind]int{traffic.Proxy: 1, traffic.Mirror: 1}, kinds)
	m, err := proc.Scrape(within(t, 2*time.Minute), proxy.admin)
	require.NoError(t, err)
	for _, source := range []string{"proxy", "mirror"} {
		require.InDelta(t, 1, m.Sum("reprise_tap_accepted_total", `source="`+source+`"`), 0)
	}
}
