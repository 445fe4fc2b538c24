package fire_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/fire"
)

// greeting is a target that says what it is when it is asked.
type greeting struct {
	value atomic.Value // string
	asked atomic.Int64
	other atomic.Int64 // requests that are not the handshake
}

func (g *greeting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead && r.URL.Path == "/env" && r.Header.Get("Reprise-Replay") == "test;loop=0;clone=0" {
		g.asked.Add(1)
	} else {
		g.other.Add(1)
	}
	if v, _ := g.value.Load().(string); v != "" {
		w.Header().Set("X-Preprod", v)
	}
	http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound) // which nobody follows
}

func startGreeting(t *testing.T, value string) (*greeting, *url.URL) {
	g := new(greeting)
	g.value.Store(value)
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	return g, parseURL(t, server.URL)
}

func handshake(t *testing.T) *fire.Handshake {
	h, err := fire.ParseHandshake("X-Preprod: yes", "/env")
	require.NoError(t, err)
	h.Run = "test"
	return h
}

func TestNothingIsSentWithoutTheHandshake(t *testing.T) {
	for _, value := range []string{"", "no", "Yes"} {
		server, target := startGreeting(t, value)
		g := guard(t, target, func(cfg *fire.GuardConfig) { cfg.Handshake = handshake(t) })
		s := sender(t, target, func(cfg *fire.SenderConfig) { cfg.Guard = g })
		require.Equal(t, fire.NoHandshake, fireOne(t, s, get()).Reason)
		err := g.Greet(t.Context())
		require.ErrorContains(t, err, "does not answer as pre-production")
		require.ErrorContains(t, err, "HEAD /env brought status 302 without X-Preprod: yes")
		require.Equal(t, fault.Usage, fault.Code(err))
		require.Positive(t, server.asked.Load())
		require.Zero(t, server.other.Load())
	}
}

func TestAnAddressIsAskedForTheHandshakeBeforeItIsUsed(t *testing.T) {
	server, target := startGreeting(t, "yes")
	g := guard(t, target, func(cfg *fire.GuardConfig) { cfg.Handshake = handshake(t) })
	require.Zero(t, server.asked.Load())
	require.NoError(t, g.Greet(t.Context()))
	s := sender(t, target, func(cfg *fire.SenderConfig) { cfg.Guard = g })
	require.Empty(t, fireOne(t, s, get()).Reason)
	require.EqualValues(t, 1, server.asked.Load(), "once a minute")
	require.EqualValues(t, 1, server.other.Load())
}

func TestEachAddressOfANameHasToPassTheHandshake(t *testing.T) {
	server, target := startGreeting(t, "yes")
	var visits atomic.Int64
	names := new(resolver)
	names.set("preprod.internal", "127.0.0.1")
	byName := &url.URL{Scheme: "http", Host: net.JoinHostPort("preprod.internal", target.Port())}
	g := guard(t, byName, func(cfg *fire.GuardConfig) {
		cfg.Handshake, cfg.Allow, cfg.Resolver = handshake(t), []string{"preprod.internal"}, names
	})
	s := sender(t, byName, func(cfg *fire.SenderConfig) { cfg.Guard = g })
	require.Empty(t, fireOne(t, s, get()).Reason)
	require.EqualValues(t, 1, server.asked.Load())

	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.2", target.Port()))
	if err != nil {
		t.Skipf("left out: %v", err)
	}
	elsewhere := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead {
			visits.Add(1)
		}
	})}
	done := make(chan error, 1)
	go func() { done <- elsewhere.Serve(l) }()
	names.set("preprod.internal", "127.0.0.2")
	fresh := sender(t, byName, func(cfg *fire.SenderConfig) { cfg.Guard = g })
	require.Equal(t, fire.NoHandshake, fireOne(t, fresh, get()).Reason)
	require.Zero(t, visits.Load(), "it was asked and no more")
	require.NoError(t, elsewhere.Close())
	require.ErrorIs(t, <-done, http.ErrServerClosed)
}

func TestATargetThatIsAwayIsNoRefusal(t *testing.T) {
	gone := &url.URL{Scheme: "http", Host: "127.0.0.1:1"}
	g := guard(t, gone, func(cfg *fire.GuardConfig) { cfg.Handshake = handshake(t) })
	require.NoError(t, g.Greet(t.Context()))
	s := sender(t, gone, func(cfg *fire.SenderConfig) { cfg.Guard = g })
	require.Equal(t, fire.ConnectRefused, fireOne(t, s, get()).Reason)
}

func TestParseHandshakeRefusesWhatIsNone(t *testing.T) {
	for _, bad := range []string{"X-Preprod", "X-Preprod:", ": yes", "X Preprod: yes", "X-Preprod: a\r\nb: c"} {
		_, err := fire.ParseHandshake(bad, "/")
		require.ErrorContains(t, err, "bad --handshake-header", bad)
	}
	_, err := fire.ParseHandshake("X-Preprod: yes", "healthz")
	require.ErrorContains(t, err, "bad --handshake-path")
	h, err := fire.ParseHandshake("", "/")
	require.NoError(t, err)
	require.Nil(t, h)
}
