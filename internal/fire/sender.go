package fire

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
)

const (
	defaultTimeout     = 30 * time.Second
	defaultConcurrency = 256
	defaultBodyMax     = 256 << 10

	hostRecorded = "recorded"
)

// SenderConfig says where and how requests are sent.
type SenderConfig struct {
	Target        *url.URL // http or https, host and port
	Guard         *Guard   // dials; made for the same target
	Run           string   // name of the run, for the mark
	Host          string   // "": the target's; "recorded": the recorded one, which the guard has to allow; else this name
	SetHeaders    []traffic.Field
	RemoveHeaders []string
	Timeout       time.Duration // of one attempt, connecting included. 0: 30 s
	Concurrency   int           // most connections, and most streams of HTTP/2; further shots wait. 0: 256
	Retries       int           // by policy, after the first attempt
	RetryStatus   bool          // try 429 and 503 again as well
	BodyMax       int           // bytes of an answer's body that are kept; the rest is read and counted. 0: 256 KiB
	TLS           *tls.Config   // for https; nil: the system's roots
	Protocol      Protocol      // "": AsRecorded
}

// Answer is what became of a shot.
type Answer struct {
	Response  *traffic.Response // nil: no whole answer. TTFB and Duration count from the last attempt's first byte
	Truncated bool              // the body was longer than BodyMax; Response.BodySize is its whole size
	FireTime  time.Time         // when the first byte was written, by the first attempt that could; else when Fire was called
	Attempts  int               // from 1; more when the policy tried again
	Resent    int               // times it was sent again because a kept connection turned out to be closed
	Reason    string            // empty: a whole answer came. Else one of the reasons of this package
	Err       error             // set when Reason is
}

// Stats counts since the start.
type Stats struct {
	Dialed uint64 // connections made
	Resent uint64 // requests sent again on a fresh connection
	Open   int    // connections at present, those being dialled included
	Idle   int    // of them
}

// Sender fires shots over kept connections. It is safe for concurrent use. It starts a goroutine to write a large body
// while the answer is read, and for each connection of HTTP/2 one that reads; Close waits for those.
type Sender struct {
	cfg       SenderConfig
	client    *retryablehttp.Client
	tls       map[route]*tls.Config // nil: plain
	pool      *pool
	h2        *h2Pool
	noHTTP2   atomic.Bool // the target has chosen HTTP/1.1
	watches   watches
	flights   sync.Pool
	shots     shots
	hostValue []byte
	named     atomic.Pointer[judgedName]
	mark      []byte // "Reprise-Replay: <run>;loop="
	unset     []bool // one for each of SetHeaders
	remove    [][]byte
	changes   bool // there are SetHeaders or RemoveHeaders
	dialed    atomic.Uint64
	resent    atomic.Uint64
}

// NewSender returns a sender, or a *fault.Error. It connects when the first shot is fired.
func NewSender(cfg SenderConfig) (*Sender, error) {
	target, err := parseTarget(cfg.Target)
	if err != nil {
		return nil, err
	}
	if cfg.Guard == nil || cfg.Guard.target != target {
		return nil, fault.New("no guard for target "+target.String(), "nothing is sent without one", "")
	}
	if cfg.Run == "" || !token([]byte(cfg.Run)) {
		return nil, fault.BadUsage("bad --run "+quote(cfg.Run), "want letters, digits and -_.", "--run yesterday-build-481")
	}
	if err := cfg.checkHeaders(); err != nil {
		return nil, err
	}
	if e, _ := parseEndpoint(cfg.Host); cfg.Host != "" && cfg.Host != hostRecorded && !cfg.Guard.nameAllowed(e) {
		return nil, fault.BadUsage("refused: --host "+cfg.Host+" is a name of production", "a gateway that goes by Host may lead there",
			"another --host; --allow-target "+cfg.Host+" too, if pre-production's gateway is to be asked for that name")
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = defaultConcurrency
	}
	if cfg.BodyMax <= 0 {
		cfg.BodyMax = defaultBodyMax
	}
	s := &Sender{
		cfg: cfg, pool: newPool(cfg.Concurrency),
		hostValue: []byte(cfg.Host),
		mark:      []byte("Reprise-Replay: " + cfg.Run + ";loop="),
		unset:     make([]bool, len(cfg.SetHeaders)),
		changes:   len(cfg.SetHeaders)+len(cfg.RemoveHeaders) > 0,
	}
	if cfg.Host == "" {
		s.hostValue = []byte(cfg.Target.Host)
	}
	for _, name := range cfg.RemoveHeaders {
		s.remove = append(s.remove, []byte(name))
	}
	if s.cfg.Protocol, err = ParseProtocol(string(cfg.Protocol)); err != nil {
		return nil, err
	}
	if cfg.Target.Scheme == "https" {
		s.tls = tlsConfigs(cfg.TLS, target.host)
	}
	s.h2 = newH2Pool(s)
	s.watches.conns = s.pool
	s.client = s.newClient()
	base := &url.URL{Scheme: cfg.Target.Scheme, Host: cfg.Target.Host} // no path: it ends up in net/http's errors
	s.flights.New = func() any { return newFlight(base) }
	return s, nil
}

// tlsConfigs returns what is said in the handshake for each route.
func tlsConfigs(base *tls.Config, host string) map[route]*tls.Config {
	configs := make(map[route]*tls.Config)
	for _, way := range []route{viaHTTP1, viaHTTP2, viaEither} {
		c := &tls.Config{MinVersion: tls.VersionTLS12}
		if base != nil {
			c = base.Clone()
		}
		if c.ServerName == "" {
			c.ServerName = host
		}
		c.NextProtos = way.alpn()
		configs[way] = c
	}
	return configs
}

// checkHeaders refuses changes that would break the framing, hide the marks or speak for Host.
func (cfg *SenderConfig) checkHeaders() error {
	if cfg.Host != "" && cfg.Host != hostRecorded {
		if _, ok := parseEndpoint(cfg.Host); !ok || !visible([]byte(cfg.Host)) {
			return fault.BadUsage("bad --host "+quote(cfg.Host), "want recorded, or NAME[:PORT]", "--host recorded")
		}
	}
	for _, f := range cfg.SetHeaders {
		if !fieldValue(f.Value) {
			return fault.BadUsage("bad --set-header "+quote(string(f.Name)), "the value holds CR, LF or NUL",
				"--set-header 'Authorization: Bearer test'")
		}
		if err := checkName("--set-header", f.Name); err != nil {
			return err
		}
	}
	for _, name := range cfg.RemoveHeaders {
		if err := checkName("--remove-header", []byte(name)); err != nil {
			return err
		}
	}
	return nil
}

func checkName(flag string, name []byte) error {
	cause := ""
	switch {
	case !token(name):
		cause = "that is no header name"
	case kindOf(name) == hostField:
		cause = "Host is set by --host"
	case kindOf(name) == ours:
		cause = "every request is marked as a replay"
	case kindOf(name) == lengthMark, is(name, "connection"), is(name, "upgrade"), is(name, "trailer"), is(name, "te"),
		is(name, "expect"), is(name, "keep-alive"):
		cause = "the connection is not the recorded one"
	default:
		return nil
	}
	return fault.BadUsage("bad "+flag+" "+quote(string(name)), cause, flag+" another header")
}

// Fire sends a shot and waits for the answer, which is the caller's. The shot may be fired again, and is given back with
// Recycle. It is best called with one context for all shots: each other one costs a registration.
func (s *Sender) Fire(ctx context.Context, shot *Shot) Answer {
	w, forget := s.watches.of(ctx)
	if forget != nil {
		defer forget()
	}
	f := s.flights.Get().(*flight)
	f.begin(ctx, shot, w)
	called := time.Now()
	if s.cfg.Retries > 0 {
		resp, _ := s.client.Do(&f.retry) // what became of it is in the flight
		if resp != nil && resp.Body != nil {
			resp.Body.Close() // http.NoBody
		}
	} else {
		s.try(f) // whatever comes of it is the last word: there is nothing to decide
	}
	a := Answer{
		Response: f.answer, Truncated: f.cut, FireTime: f.fired, Attempts: max(f.attempts, 1), Resent: f.resent,
	}
	if a.FireTime.IsZero() {
		a.FireTime = called
	}
	switch {
	case f.failure != nil:
		a.Response, a.Reason, a.Err = nil, f.failure.reason, f.failure
	case f.answer == nil: // ended before, or between, attempts
		f.failure = canceled(ctx)
		a.Reason, a.Err = f.failure.reason, f.failure
	}
	f.end()
	s.flights.Put(f)
	return a
}

// Recycle gives the memory of a shot back; the shot must not be used again. One that Begin has written and Fire was not
// called for costs its connection, or its stream.
func (s *Sender) Recycle(shot *Shot) {
	if st := shot.stream; st != nil {
		shot.stream = nil
		st.conn.cancel(st, false)
		s.h2.put(st)
	}
	if c := shot.conn; c != nil {
		shot.conn = nil
		s.pool.leave(c)
	}
	s.shots.put(shot)
}

// Stats returns the counters.
func (s *Sender) Stats() Stats {
	open, idle := s.pool.counts()
	open2, idle2 := s.h2.counts()
	open, idle = open+open2, idle+idle2
	return Stats{Dialed: s.dialed.Load(), Resent: s.resent.Load(), Open: open, Idle: idle}
}

// Close closes the kept connections. Shots that are still on their way end as they would; those over HTTP/2 it waits for.
func (s *Sender) Close() error {
	s.watches.close()
	s.pool.close()
	s.h2.close()
	return nil
}

var _ http.RoundTripper = (*Sender)(nil)
