package topic

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/secret"
)

const clientSecret = "s3cret/+ &"

func testTokens(t *testing.T, url string) *tokens {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(path, []byte(clientSecret), 0o600))
	ref, err := secret.Parse("--kafka-sasl-client-secret", "file:"+path)
	require.NoError(t, err)
	return newTokens(url, "the client", "kafka read", ref)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, body string) (*http.Response, error) {
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{}}, nil
}

func TestTokenIsAskedForAsTheStandardSays(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, pass, ok := r.BasicAuth()
		if !ok || r.Method != http.MethodPost || user != "the+client" || pass != "s3cret%2F%2B+%26" ||
			r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "kafka read" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, `{"access_token":"abc","token_type":"Bearer","expires_in":3600}`)
	}))
	defer server.Close()
	got, err := testTokens(t, server.URL).get(t.Context())
	require.NoError(t, err)
	require.Equal(t, "abc", got)
}

func TestTokenIsKeptForMostOfItsLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := testTokens(t, "https://idp.example/token")
		asked, down := 0, false
		tokens.client.Transport = roundTrip(func(*http.Request) (*http.Response, error) {
			if asked++; down {
				return answer(http.StatusServiceUnavailable, "")
			}
			return answer(http.StatusOK, fmt.Sprintf(`{"access_token":"t%d","expires_in":100}`, asked))
		})
		get := func() string {
			got, err := tokens.get(t.Context())
			require.NoError(t, err)
			return got
		}
		require.Equal(t, "t1", get())
		time.Sleep(79 * time.Second)
		require.Equal(t, "t1", get())
		time.Sleep(2 * time.Second)
		require.Equal(t, "t2", get(), "renewed before it ends")

		down = true
		time.Sleep(90 * time.Second)
		require.Equal(t, "t2", get(), "the endpoint fails, and this one is still good")
		require.Equal(t, "t2", get())
		require.Equal(t, 3, asked, "a failure is remembered for a moment")
		time.Sleep(10 * time.Second)
		_, err := tokens.get(t.Context())
		require.ErrorContains(t, err, "503")
		down = false
		_, err = tokens.get(t.Context())
		require.ErrorContains(t, err, "503", "remembered")
		time.Sleep(tokenRetry)
		require.Equal(t, "t5", get())

		tokens.forget()
		require.Equal(t, "t6", get())
	})
}

func TestOneTokenRequestServesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := testTokens(t, "https://idp.example/token")
		var asked atomic.Int64
		tokens.client.Transport = roundTrip(func(*http.Request) (*http.Response, error) {
			asked.Add(1)
			time.Sleep(3 * time.Second)
			return answer(http.StatusOK, `{"access_token":"t","expires_in":100}`)
		})
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				got, err := tokens.get(t.Context())
				require.NoError(t, err)
				require.Equal(t, "t", got)
			})
		}
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		time.Sleep(time.Millisecond)
		_, err := tokens.get(impatient)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, tokens.slow(time.Second), "https://idp.example/token", "what a log-in waits for")
		all.Wait()
		require.EqualValues(t, 1, asked.Load())
		require.NoError(t, tokens.slow(time.Second))
	})
}

func TestTokenErrorsNameTheEndpointAndNoSecret(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		says   string
	}{
		"refused":     {401, `{"error":"invalid_client","error_description":"` + clientSecret + `"}`, `401, "invalid_client"`},
		"broken":      {500, "<html>", "500"},
		"redirected":  {302, "", "302"},
		"no JSON":     {200, "token=x", "no JSON"},
		"no token":    {200, `{"token_type":"Bearer"}`, "no access_token"},
		"odd token":   {200, `{"access_token":"a\u0001b"}`, "no access_token"},
		"too large":   {200, `{"access_token":"` + strings.Repeat("x", tokenMaxBytes) + `"}`, "too large"},
		"wrong types": {200, `{"access_token":7}`, "no JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/" {
					t.Error("the secret was sent elsewhere")
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			}))
			defer server.Close()
			_, err := testTokens(t, server.URL).get(t.Context())
			f, ok := errors.AsType[*fault.Error](err)
			require.True(t, ok, "%v", err)
			require.Contains(t, f.What, server.URL)
			require.Contains(t, f.Cause, c.says)
			require.NotContains(t, f.What+f.Cause+f.Try, "s3cret")
		})
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	_, err := testTokens(t, gone.URL).get(t.Context())
	require.ErrorContains(t, err, "refused")
}

func FuzzTokenAnswer(f *testing.F) {
	claims := base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"alice"}`))
	f.Add(200, []byte(`{"access_token":"a.`+claims+`.c","expires_in":1e300}`))
	f.Add(400, []byte(`{"error":"x"}`))
	f.Add(200, []byte(`[`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		tokens := newTokens("https://idp.example", "c", "", secret.Ref{})
		sent := time.Now()
		if err := tokens.take(sent, status, body); err != nil {
			require.Empty(t, tokens.token)
			return
		}
		require.NotEmpty(t, tokens.token)
		require.False(t, tokens.renew.Before(sent))
		require.False(t, tokens.expires.After(sent.Add(24*time.Hour)))
		_ = tokens.subject()
	})
}
