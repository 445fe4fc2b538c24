package topic

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/secret"
)

const (
	tokenTimeout  = 10 * time.Second
	tokenMaxBytes = 1 << 20
	// tokenRetry is how long a failure to get a token is remembered: every connection of every client asks.
	tokenRetry = time.Second
	// tokenDefault is how long a token is used of which nobody says how long it lasts.
	tokenDefault = time.Minute
)

// tokens gets bearer tokens by OAuth 2 client credentials (RFC 6749, 4.4) and keeps the last one for four fifths of its
// life. One request is on its way at a time, whoever asks.
type tokens struct {
	url, clientID, scope string
	secret               secret.Ref
	client               *http.Client

	turn    chan struct{} // held by who looks at the fields below, and over the request
	token   string
	renew   time.Time // when to get a new one
	expires time.Time
	failed  error // of the last request, while it is remembered
	again   time.Time

	asking atomic.Bool // a request is on its way
	who    atomic.Pointer[string]
}

func newTokens(url, clientID, scope string, secret secret.Ref) *tokens {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: tokenTimeout, ResponseHeaderTimeout: tokenTimeout,
		MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
		DisableKeepAlives: true, // one request in minutes
	}
	return &tokens{
		url: url, clientID: clientID, scope: scope, secret: secret, turn: make(chan struct{}, 1),
		client: &http.Client{
			Transport: transport, Timeout: tokenTimeout,
			// The secret is for this address alone.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// get returns a token that is good for a while.
func (t *tokens) get(ctx context.Context) (string, error) {
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	now := time.Now()
	if t.token != "" && now.Before(t.renew) {
		return t.token, nil
	}
	if t.failed == nil || !now.Before(t.again) {
		t.failed = t.fetch(ctx)
		t.again = time.Now().Add(tokenRetry)
		if ctx.Err() != nil {
			t.failed = nil // says nothing of the endpoint
			return "", ctx.Err()
		}
	}
	if t.failed != nil && t.token != "" && now.Before(t.expires) {
		return t.token, nil // not yet of age
	}
	return t.token, t.failed
}

// forget has the next get fetch a new token.
func (t *tokens) forget() {
	t.turn <- struct{}{}
	t.token = ""
	<-t.turn
}

// fetch sets token and its times.
func (t *tokens) fetch(ctx context.Context) error {
	t.asking.Store(true)
	defer t.asking.Store(false)
	clientSecret, err := readSecret("--kafka-sasl-client-secret", t.secret)
	if err != nil {
		return err
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	if t.scope != "" {
		form.Set("scope", t.scope)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, strings.NewReader(form.Encode()))
	if err != nil {
		return t.fault(err.Error(), err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(url.QueryEscape(t.clientID), url.QueryEscape(clientSecret)) // so encoded by RFC 6749, 2.3.1
	sent := time.Now()
	resp, err := t.client.Do(req)
	if err != nil {
		return t.unreached(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, tokenMaxBytes+1))
	if err != nil {
		return t.unreached(err)
	}
	return t.take(sent, resp.StatusCode, body)
}

func (t *tokens) take(sent time.Time, status int, body []byte) error {
	var answer struct {
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
		Error       string  `json:"error"`
	}
	err := json.Unmarshal(body, &answer)
	switch {
	case status != http.StatusOK && answer.Error != "":
		return t.fault(fmt.Sprintf("it answers %d, %.60q", status, answer.Error), nil)
	case status != http.StatusOK:
		return t.fault(fmt.Sprintf("it answers %d", status), nil)
	case len(body) > tokenMaxBytes:
		return t.fault("its answer is too large", nil)
	case err != nil:
		return t.fault("its answer is no JSON", nil)
	case answer.AccessToken == "" || strings.ContainsFunc(answer.AccessToken, func(r rune) bool { return r <= ' ' || r > '~' }):
		return t.fault("there is no access_token in its answer", nil)
	}
	life := tokenDefault
	if answer.ExpiresIn > 0 {
		life = time.Duration(min(answer.ExpiresIn, (24*time.Hour).Seconds()) * float64(time.Second))
	}
	t.token, t.expires, t.renew = answer.AccessToken, sent.Add(life), sent.Add(life/5*4)
	t.note(answer.AccessToken)
	return nil
}

// unreached: the client's error repeats the URL, and no more.
func (t *tokens) unreached(err error) error {
	cause := err
	if u, ok := errors.AsType[*url.Error](err); ok {
		cause = u.Err
	}
	text := cause.Error()
	if errors.Is(err, context.DeadlineExceeded) {
		text = fmt.Sprintf("no answer within %v", tokenTimeout)
	}
	return t.fault(text, err)
}

func (t *tokens) fault(cause string, err error) error {
	return &fault.Error{
		What: "no token for Kafka from " + t.url, Cause: cause,
		Try: fmt.Sprintf("--kafka-sasl-token-url, client %s and its secret in %s", quote(t.clientID), t.secret), Err: err,
	}
}

// slow is the error for a log-in that has to wait for the endpoint; nil when it does not.
func (t *tokens) slow(waited time.Duration) error {
	if !t.asking.Load() {
		return nil
	}
	return t.fault(fmt.Sprintf("no answer within %v", waited.Round(100*time.Millisecond)), context.DeadlineExceeded)
}

// note remembers whose token it is: the subject of a JWT, for messages. Nothing is decided by it.
func (t *tokens) note(token string) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return
	}
	claims, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return
	}
	var named struct {
		Subject string `json:"sub"`
	}
	if json.Unmarshal(claims, &named) == nil && named.Subject != "" && len(named.Subject) < 200 {
		t.who.Store(&named.Subject)
	}
}

func (t *tokens) subject() string {
	if who := t.who.Load(); who != nil {
		return *who
	}
	return ""
}
