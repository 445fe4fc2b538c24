package credential_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/credential"
	"github.com/reprise-io/reprise/internal/secret"
)

func ref(t *testing.T, s string) secret.Ref {
	t.Helper()
	r, err := secret.Parse("token", s)
	require.NoError(t, err)
	return r
}

func source(t *testing.T, cfg credential.Config) *credential.Source {
	t.Helper()
	cfg.Name = "preprod"
	s, err := credential.New(cfg)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

// endpoint answers as a token endpoint does.
type endpoint struct {
	mu     sync.Mutex
	calls  int
	status int
	body   string
	takes  time.Duration
	seen   string
}

func (e *endpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	e.mu.Lock()
	e.calls++
	n, status, answer, takes := e.calls, e.status, e.body, e.takes
	user, password, _ := r.BasicAuth()
	e.seen = fmt.Sprintf("%s %s:%s %s", r.Method, user, password, body)
	e.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if status == 0 {
		status, answer = 200, fmt.Sprintf(`{"access_token":"token-%d","token_type":"Bearer","expires_in":100}`, n)
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{"Location": {"http://elsewhere/"}}, Body: io.NopCloser(strings.NewReader(answer)), Request: r,
	}, nil
}

func (e *endpoint) answers(status int, body string, takes time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status, e.body, e.takes = status, body, takes
}

func (e *endpoint) called() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.calls
}

func oauth(t *testing.T, e *endpoint) *credential.Source {
	t.Helper()
	t.Setenv("TEST_CLIENT_SECRET", "s3cret/+")
	return source(t, credential.Config{
		Kind: credential.OAuth2, TokenURL: "https://login.preprod/token", ClientID: "reprise", Secret: ref(t, "env:TEST_CLIENT_SECRET"),
		Scope: "orders", Params: map[string]string{"audience": "shop"}, HTTP: e,
	})
}

func TestOAuth2AsksOnceHoweverManyWantIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{takes: time.Second}
		s := oauth(t, e)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				got, err := s.Token(t.Context())
				require.NoError(t, err)
				require.Equal(t, "token-1", string(got))
			})
		}
		wg.Wait()
		require.Equal(t, 1, e.called())
		require.Equal(t, "POST reprise:s3cret%2F%2B audience=shop&grant_type=client_credentials&scope=orders", e.seen)
		s.Close()
	})
}

func TestATokenIsRenewedEarlyAndNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := new(endpoint)
		s := oauth(t, e)
		token := func() string {
			got, err := s.Token(t.Context())
			require.NoError(t, err)
			return string(got)
		}
		require.Equal(t, "token-1", token())
		time.Sleep(79 * time.Second)
		require.Equal(t, "token-1", token())
		require.Equal(t, 1, e.called())
		e.answers(0, "", 5*time.Second)
		time.Sleep(2 * time.Second)
		begun := time.Now()
		require.Equal(t, "token-1", token(), "it is good for 19 s more")
		require.Zero(t, time.Since(begun))
		time.Sleep(6 * time.Second)
		require.Equal(t, "token-2", token())
		require.Equal(t, [][]byte{[]byte("token-1"), []byte("token-2")}, s.Tokens())

		// The endpoint fails: the token is used while it is good, and asking slows down.
		e.answers(503, "down", 0)
		time.Sleep(85 * time.Second)
		for range 10 {
			require.Equal(t, "token-2", token())
			synctest.Wait()
		}
		require.Equal(t, 3, e.called())
		time.Sleep(15 * time.Second)
		_, err := s.Token(t.Context())
		require.ErrorContains(t, err, "https://login.preprod/token answered 503")
		before := e.called()
		_, err = s.Token(t.Context())
		require.Error(t, err)
		require.Equal(t, before, e.called(), "not at once again")
		e.answers(0, "", 0)
		time.Sleep(time.Minute)
		require.Equal(t, fmt.Sprintf("token-%d", before+1), token())
		s.Close()
	})
}

func TestErrorsSayNothingSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for answer, want := range map[string]string{
			`{"error":"invalid_client","error_description":"s3cret/+ is wrong"}`: "answered 400: invalid_client",
			`{"error":"s3cret/+"}`:            "answered 400",
			`s3cret/+`:                        "answered 400",
			strings.Repeat("s3cret/+", 1<<16): "more than 64 KiB",
		} {
			e := new(endpoint)
			e.answers(400, answer, 0)
			s := oauth(t, e)
			_, err := s.Token(t.Context())
			require.ErrorContains(t, err, want)
			require.NotContains(t, err.Error(), "s3cret")
			s.Close()
		}
		for _, answer := range []string{`{"token":"s3cret"}`, `s3cret`, `{"access_token":"s3cret\n"}`, `{"access_token":""}`} {
			e := new(endpoint)
			e.answers(200, answer, 0)
			s := oauth(t, e)
			_, err := s.Token(t.Context())
			require.Error(t, err)
			require.NotContains(t, err.Error(), "s3cret")
			s.Close()
		}
		e := new(endpoint)
		e.answers(302, "", 0)
		s := oauth(t, e)
		_, err := s.Token(t.Context())
		require.ErrorContains(t, err, "answered 302", "a redirect is not followed")
		require.Equal(t, 1, e.called())
		s.Close()
	})
}

func TestAWaitForATokenEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := oauth(t, &endpoint{takes: time.Hour})
		ctx, cancel := context.WithCancelCause(t.Context())
		enough := errors.New("enough")
		time.AfterFunc(time.Second, func() { cancel(enough) })
		_, err := s.Token(ctx)
		require.ErrorIs(t, err, enough)
		begun := time.Now()
		_, err = s.Token(t.Context())
		require.Error(t, err, "a request has its time too")
		require.Equal(t, 9*time.Second, time.Since(begun))
		s.Close()
	})
}

func TestAFileIsReadAgainWhenItChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte("one\n"), 0o600))
	synctest.Test(t, func(t *testing.T) {
		s := source(t, credential.Config{Kind: credential.File, Path: path})
		token := func() string {
			got, err := s.Token(t.Context())
			require.NoError(t, err)
			synctest.Wait()
			return string(got)
		}
		require.Equal(t, "one", token())
		require.NoError(t, os.WriteFile(path+".new", []byte("two and more"), 0o600))
		require.NoError(t, os.Rename(path+".new", path))
		require.Equal(t, "one", token(), "it is not looked at for every request")
		time.Sleep(2 * time.Second)
		require.Equal(t, "one", token())
		require.Equal(t, "two and more", token())
		require.NoError(t, os.Remove(path))
		time.Sleep(2 * time.Second)
		require.Equal(t, "two and more", token())
		got, failed := s.Counts()
		require.EqualValues(t, 2, got)
		require.Zero(t, failed)
		s.Close()
	})
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	_, err := source(t, credential.Config{Kind: credential.File, Path: path}).Token(t.Context())
	require.ErrorContains(t, err, "empty")
}

func TestACommandPrintsAToken(t *testing.T) {
	run := func(script string) (string, error) {
		s := source(t, credential.Config{Kind: credential.Exec, Command: []string{"/bin/sh", "-c", script}, Timeout: 20 * time.Second})
		got, err := s.Token(t.Context())
		s.Close()
		return string(got), err
	}
	got, err := run("echo from-command")
	require.NoError(t, err)
	require.Equal(t, "from-command", got)
	got, err = run(`echo '{"access_token":"from-json","expires_in":"60"}'`)
	require.NoError(t, err)
	require.Equal(t, "from-json", got)
	for script, want := range map[string]string{
		"echo s3cret; echo s3cret >&2; exit 3": "exit status 3", "true": "no token", "head -c 100000 /dev/zero | tr '\\0' s": "64 KiB",
	} {
		_, err = run(script)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "s3cret")
	}
	s := source(t, credential.Config{Kind: credential.Exec, Command: []string{"/bin/sleep", "60"}, Timeout: 50 * time.Millisecond})
	_, err = s.Token(t.Context())
	require.ErrorContains(t, err, "did not end within 50ms")
	_, err = source(t, credential.Config{Kind: credential.Exec, Command: []string{"/no/such/program"}}).Token(t.Context())
	require.ErrorContains(t, err, "no such file")
}

func TestWhatCannotBeASourceIsRefused(t *testing.T) {
	for _, cfg := range []credential.Config{
		{},
		{Kind: "magic"},
		{Kind: credential.Static},
		{Kind: credential.File},
		{Kind: credential.Exec},
		{Kind: credential.OAuth2},
		{Kind: credential.OAuth2, TokenURL: "ftp://x/", ClientID: "a", Secret: ref(t, "env:X")},
		{Kind: credential.OAuth2, TokenURL: "https://u:p@x/", ClientID: "a", Secret: ref(t, "env:X")},
		{Kind: credential.OAuth2, TokenURL: "https://x/", Secret: ref(t, "env:X")},
	} {
		_, err := credential.New(cfg)
		require.Error(t, err, "%+v", cfg)
	}
	t.Setenv("TEST_TOKEN", "from-env")
	got, err := source(t, credential.Config{Kind: credential.Static, Secret: ref(t, "env:TEST_TOKEN")}).Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, "from-env", string(got))
}
