// Package credential gets tokens for a target: from a secret, a file that may change, a command, or an OAuth 2 token endpoint. A Source keeps
// its token until it is about to expire, and asks once however many want one. No error says anything of a token, or of what a command
// or an endpoint answered beside its status.
package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/secret"
)

// Kind is how a token is got.
type Kind string

// The kinds.
const (
	Static Kind = "static" // a secret, read once
	File   Kind = "file"   // a file, read again when it has changed
	Exec   Kind = "exec"   // what a command prints
	OAuth2 Kind = "oauth2" // client credentials (RFC 6749 4.4)
)

const (
	defaultTimeout  = 10 * time.Second
	defaultLifetime = 5 * time.Minute // of a token whose source does not tell
	maxToken        = 64 << 10        // bytes that a command or an endpoint may answer
	lookEvery       = time.Second     // at a file
	firstBackOff    = time.Second
	longestBackOff  = time.Minute
	remembered      = 4 // last tokens, which answers may still echo
)

// Config says where a token comes from. What another kind needs must be empty.
type Config struct {
	Name string // for people
	Kind Kind

	Secret  secret.Ref // static: the token; oauth2: the client's secret
	Path    string     // file
	Command []string   // exec: the program and its arguments, no shell. It prints the token, or {"access_token": …, "expires_in": seconds}

	TokenURL string // oauth2: http or https
	ClientID string
	Scope    string
	Params   map[string]string // oauth2: sent as well, such as audience

	Lifetime time.Duration     // of a token whose source does not tell. 0: 5 m
	Timeout  time.Duration     // of a command or a request. 0: 10 s
	HTTP     http.RoundTripper // nil: the default
}

// Source gives one token. It is safe for concurrent use. Close waits for what it has begun.
type Source struct {
	cfg   Config
	fetch func(context.Context) (token, error)
	ctx   context.Context //nolint:containedctx // of refreshes that nobody waits for
	stop  context.CancelFunc
	wg    sync.WaitGroup

	mu       sync.Mutex
	now      token
	looked   time.Time   // at the file
	file     os.FileInfo // as it was read
	flight   *flight     // a refresh under way
	failed   error       // the last one; nil: it worked
	again    time.Time   // not before that
	backOff  time.Duration
	past     [][]byte
	minted   uint64
	failures uint64
}

type token struct {
	value   []byte
	minted  time.Time
	expires time.Time // zero: never
}

// early is when a token is renewed: with a fifth of its life left, so that requests on their way still arrive with a good one.
func (t token) early() time.Time { return t.expires.Add(-t.expires.Sub(t.minted) / 5) }

type flight struct {
	done chan struct{}
	err  error
}

// New returns a source, or a *fault.Error about what cannot be. It gets nothing yet.
func New(cfg Config) (*Source, error) {
	s := &Source{cfg: cfg}
	if s.cfg.Timeout <= 0 {
		s.cfg.Timeout = defaultTimeout
	}
	if s.cfg.Lifetime <= 0 {
		s.cfg.Lifetime = defaultLifetime
	}
	bad := func(cause, try string) error {
		return fault.BadUsage(fmt.Sprintf("credential %q of kind %q", cfg.Name, cfg.Kind), cause, try)
	}
	switch cfg.Kind {
	case Static:
		if !cfg.Secret.Given() {
			return nil, bad("it has no token", "token: env:NAME or file:PATH")
		}
		s.fetch = s.read
	case File:
		if cfg.Path == "" {
			return nil, bad("it has no path", "path: /run/secrets/token")
		}
		s.fetch = s.readFile
	case Exec:
		if len(cfg.Command) == 0 || cfg.Command[0] == "" {
			return nil, bad("it has no command", "command: [/usr/local/bin/mint, --for, preprod]")
		}
		s.fetch = s.execute
	case OAuth2:
		u, err := url.Parse(cfg.TokenURL)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
			return nil, bad("want a token endpoint", "token-url: https://login.preprod.internal/oauth2/token")
		}
		if cfg.ClientID == "" || !cfg.Secret.Given() {
			return nil, bad("want a client id and its secret", "client-id: reprise, client-secret: env:NAME or file:PATH")
		}
		s.fetch = s.grant
	default:
		return nil, bad("want static, file, exec or oauth2", "kind: oauth2")
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Close ends what is under way.
func (s *Source) Close() {
	s.stop()
	s.wg.Wait()
}

// Token returns a token that is good now, getting one when there is none. It must not be written to. While one is renewed early the
// one before is given; after a failure it is tried again later and later, and the error is that of the last try.
func (s *Source) Token(ctx context.Context) ([]byte, error) {
	for {
		now := time.Now()
		s.mu.Lock()
		s.lookAtFile(now)
		good := len(s.now.value) > 0 && (s.now.expires.IsZero() || now.Before(s.now.expires))
		if good && (s.now.expires.IsZero() || now.Before(s.now.early())) {
			defer s.mu.Unlock()
			return s.now.value, nil
		}
		if s.flight == nil && now.Before(s.again) {
			defer s.mu.Unlock()
			if good {
				return s.now.value, nil
			}
			return nil, s.failed
		}
		f := s.refresh()
		value := s.now.value
		s.mu.Unlock()
		if good {
			return value, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-f.done:
			if f.err != nil {
				return nil, f.err
			}
		}
	}
}

// refresh begins to get a token, unless that is under way. Called locked.
func (s *Source) refresh() *flight {
	if s.flight != nil {
		return s.flight
	}
	f := &flight{done: make(chan struct{})}
	s.flight = f
	s.wg.Go(func() {
		ctx, cancel := context.WithTimeout(s.ctx, s.cfg.Timeout)
		defer cancel()
		got, err := s.fetch(ctx)
		if err == nil && !usable(got.value) {
			err = errors.New("what came is no token: want one line of printable characters")
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.flight = nil
		if err != nil {
			s.failures++
			s.backOff = min(max(2*s.backOff, firstBackOff), longestBackOff)
			s.again = time.Now().Add(s.backOff)
			s.failed = fault.New(fmt.Sprintf("credential %q cannot be got", s.cfg.Name), err.Error(), "mend session.credentials of the rules file, or what it names")
			f.err = s.failed
		} else {
			s.minted++
			s.backOff, s.failed, s.again = 0, nil, time.Time{}
			if !slices.ContainsFunc(s.past, func(p []byte) bool { return string(p) == string(got.value) }) {
				s.past = append(s.past[max(0, len(s.past)-remembered+1):], got.value)
			}
			got.minted = time.Now()
			s.now = got
		}
		close(f.done)
	})
	return f
}

// usable reports whether a token can stand in a header.
func usable(v []byte) bool {
	for _, c := range v {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return len(v) > 0
}

// Tokens returns the last ones, so that they can be kept out of what is stored.
func (s *Source) Tokens() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.past)
}

// Counts returns how often a token was got, and how often that failed.
func (s *Source) Counts() (minted, failed uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.minted, s.failures
}

// read is for static.
func (s *Source) read(context.Context) (token, error) {
	v, err := s.cfg.Secret.Read()
	return token{value: v}, err
}

// readFile is for file.
func (s *Source) readFile(context.Context) (token, error) {
	info, err := os.Stat(s.cfg.Path)
	if err != nil {
		return token{}, err
	}
	ref, err := secret.Parse("path", "file:"+s.cfg.Path)
	if err != nil {
		return token{}, err
	}
	v, err := ref.Read()
	if err == nil {
		s.mu.Lock()
		s.file, s.looked = info, time.Now()
		s.mu.Unlock()
	}
	return token{value: v}, err
}

// lookAtFile makes a token of a file that has changed count as expired. Called locked.
func (s *Source) lookAtFile(now time.Time) {
	if s.cfg.Kind != File || s.file == nil || now.Sub(s.looked) < lookEvery {
		return
	}
	s.looked = now
	info, err := os.Stat(s.cfg.Path)
	if err != nil || (info.ModTime().Equal(s.file.ModTime()) && info.Size() == s.file.Size() && os.SameFile(info, s.file)) {
		return // gone for a moment while it is replaced: the token counts until there is another
	}
	s.now.minted, s.now.expires = now.Add(-time.Hour), now.Add(time.Minute) // renewed at once; good meanwhile
}

// parse reads an answer of RFC 6749 5.1.
func (s *Source) parse(answer []byte) (token, error) {
	var got struct {
		AccessToken string          `json:"access_token"`
		TokenType   string          `json:"token_type"`
		ExpiresIn   json.RawMessage `json:"expires_in"`
	}
	if err := json.Unmarshal(answer, &got); err != nil {
		return token{}, errors.New("the answer is no JSON object with access_token")
	}
	if got.AccessToken == "" {
		return token{}, errors.New("the answer has no access_token")
	}
	life := s.cfg.Lifetime
	var seconds json.Number
	if json.Unmarshal(got.ExpiresIn, &seconds) == nil {
		if n, err := seconds.Float64(); err == nil && n > 0 && n < 1e9 {
			life = time.Duration(n * float64(time.Second))
		}
	}
	return token{value: []byte(got.AccessToken), expires: time.Now().Add(life)}, nil
}
