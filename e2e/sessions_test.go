//go:build e2e

package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/e2e/shop"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// sessionRules are those of README.
const sessionRules = `
session:
  jar: on
  extract:
    - {from: POST /login, json: $.token}
    - {from: POST /orders, json: $.id}
`

// member is a customer who logs in, orders, changes the order, looks at it, logs out, and is turned away after that.
type member struct {
	t      *testing.T
	url    string
	client *http.Client
	phone  string
	token  string
	cookie string
}

func (m *member) ask(want int, method, path string, body any) (answer map[string]any) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		require.NoError(m.t, err)
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(m.t.Context(), method, m.url+path, content)
	require.NoError(m.t, err)
	req.Header.Set("Content-Type", "application/json")
	if m.token != "" {
		req.Header.Set("Authorization", "Bearer "+m.token)
		req.Header.Set("Cookie", "theme=dark; session="+m.cookie)
	}
	resp, err := m.client.Do(req)
	require.NoError(m.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(m.t, err)
	require.Equal(m.t, want, resp.StatusCode, "%s %s: %s", method, path, text)
	for _, c := range resp.Cookies() {
		if c.MaxAge >= 0 {
			m.cookie = c.Value
		}
	}
	if len(text) > 0 {
		require.NoError(m.t, json.Unmarshal(text, &answer))
	}
	return answer
}

// visit is what a member does; it returns how many requests that were.
func (m *member) visit() int {
	token, ok := m.ask(200, "POST", "/login", shop.Credentials{Phone: m.phone, Password: "correct horse " + m.phone})["token"].(string)
	require.True(m.t, ok)
	m.token = token
	m.ask(200, "GET", "/me", nil)
	for item := range 2 {
		id, ok := m.ask(201, "POST", "/orders", map[string]int{"item": 7 + item, "count": 1})["id"].(float64)
		require.True(m.t, ok)
		path := "/orders/" + strconv.Itoa(int(id))
		m.ask(200, "PUT", path, map[string]int{"order": int(id), "count": 3})
		m.ask(200, "GET", path+"?of="+strconv.Itoa(int(id)), nil)
	}
	m.ask(204, "POST", "/logout", nil)
	m.ask(401, "GET", "/orders/1", nil)
	return 10
}

// TestARecordedSessionGoesOnAtAFreshPreProduction: the tap stores pseudonyms, and pre-production gives other tokens, sessions and
// order numbers than production did and knows no others.
func TestARecordedSessionGoesOnAtAFreshPreProduction(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	_, production := serveShop(t, shop.Options{})
	tap := startTap(t, prefix, production)
	tap.waitTopics(t, names)
	const members = 12
	var wg sync.WaitGroup
	asked := make([]int, members)
	phones := make([]string, members)
	tokens := make([]string, members)
	for i := range members {
		phones[i] = fmt.Sprintf("138%08d", 12345670+i)
		wg.Go(func() {
			m := &member{t: t, url: tap.url(), phone: phones[i], client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{
				DisableKeepAlives: i%3 == 0, MaxConnsPerHost: 1,
			}}}
			asked[i] = m.visit()
			tokens[i] = m.token
			m.client.CloseIdleConnections()
		})
	}
	wg.Wait()
	total := 0
	for _, n := range asked {
		total += n
	}
	require.Equal(t, 10*members, total)
	c := tap.settled(t, total)
	require.Equal(t, total, c.produced)
	recorded := make(map[traffic.ID]int)
	err := feed.Exchanges(within(t, time.Minute), shared.broker.Addr(), names.Exchanges, func(r *topic.Record, x *traffic.Exchange) error {
		recorded[x.ID] = x.Response.Status
		require.NotEmpty(t, x.Session, "the log-in too belongs to a session")
		for i := range members {
			require.False(t, bytes.Contains(r.Value, []byte(phones[i])), "what is stored are pseudonyms")
			require.False(t, bytes.Contains(r.Value, []byte(tokens[i])), "what is stored are pseudonyms")
		}
		return nil
	})
	require.NoError(t, err)
	require.Len(t, recorded, total)

	rules := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(rules, []byte(sessionRules), 0o600))
	writes := []string{"--allow-writes", "POST /**", "--allow-writes", "PUT /**"}
	differ := func(run string) (n int) {
		t.Helper()
		seen := 0
		require.NoError(t, feed.Records(within(t, time.Minute), shared.broker.Addr(), names.Results, func(r *topic.Record) error {
			var o traffic.Outcome
			if err := traffic.DecodeOutcome(r.Value, &o); err != nil || o.Run != run {
				return err
			}
			seen++
			if o.Status != recorded[o.ExchangeID] {
				n++
			}
			return nil
		}))
		require.Equal(t, total, seen)
		return n
	}

	_, without := serveShop(t, shop.Options{Deployment: "blue"})
	r := replay(t, 2*time.Minute, replayArgs("run", prefix, without, append(writes, "--run", "without")...)...)
	require.EqualValues(t, total, r.Fired)
	require.Equal(t, 8*members, differ("without"), "without rules all but the log-in and what was refused fails: %+v", r.Statuses)
	require.Nil(t, r.Sessions)

	for run, speed := range map[string]string{"once": "1", "fast": "max"} {
		_, fresh := serveShop(t, shop.Options{Deployment: "green " + run})
		r = replay(t, 2*time.Minute, replayArgs("run", prefix, fresh, append(writes, "--run", run, "--speed", speed, "--rules", rules)...)...)
		require.EqualValues(t, total, r.Fired)
		require.Zero(t, differ(run), "%+v", r.Statuses)
		require.EqualValues(t, 3*members, r.Sessions.Extracted)
		require.EqualValues(t, 8*members, r.Sessions.Changed)
		require.Zero(t, r.Sessions.Missing)
	}
}
