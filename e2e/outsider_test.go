//go:build e2e

package e2e_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/proc"
	"github.com/reprise-io/reprise/e2e/shop"
)

// kcat runs kcat against the broker and returns what it wrote.
func kcat(t *testing.T, args ...string) string {
	t.Helper()
	got, err := proc.Run(within(t, time.Minute), proc.Options{Path: "kcat", Args: append([]string{"-b", shared.broker.Addr(), "-q"}, args...)})
	require.NoError(t, err)
	require.Zero(t, got.Code, got.Stderr)
	return got.Stdout
}

func TestAnyKafkaClientReadsTheRecord(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	_, production := serveShop(t, shop.Options{})
	tap := startTap(t, prefix, production)
	resp, err := http.Get(tap.url() + "/items/42?ref=home")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	tap.settled(t, 1)

	headers := kcat(t, "-C", "-t", names.Exchanges, "-e", "-o", "beginning", "-f", "%h")
	for _, want := range []string{"method=GET", "path=/items/42", "status=200", "reprise-id=", "capture-time="} {
		require.Contains(t, headers, want)
	}
	require.NotContains(t, headers, "ref=home", "the path is without its query")

	value := kcat(t, "-C", "-t", names.Exchanges, "-e", "-o", "beginning", "-D", "", "-f", "%s")
	protoc := exec.CommandContext(within(t, time.Minute), "protoc", "--decode=reprise.v1.Exchange",
		"-I", filepath.Join(shared.root, "proto"), "reprise/v1/exchange.proto")
	protoc.Stdin = strings.NewReader(value)
	text, err := protoc.Output()
	require.NoError(t, err)
	for _, want := range []string{`method: "GET"`, `target: "/items/42?ref=home"`, "status: 200", "kind: SOURCE_KIND_PROXY", "capture_time_unix_nano:"} {
		require.Contains(t, string(text), want)
	}
	require.NotRegexp(t, `(?m)^\d+: `, string(text), "no field that the contract does not know")
}

// planted are secrets that a request or its answer carries, each in its place.
const (
	plantedToken    = "eyJhbGciOiJIUzI1NiJ9.cGxhbnRlZC10b2tlbg.c2lnbmF0dXJl"
	plantedSession  = "sess-9f8e7d6c5b4a39281706"
	plantedAPIKey   = "ak_live_51Hx00planted00key"
	plantedPassword = "correct-horse-battery-staple"
	plantedPhone    = "13912345678"
	plantedID       = "11010519491231002X" // GB 11643 with a right check digit
	plantedCard     = "4111111111111111"   // Luhn
	plantedSecret   = "s3cr3t-planted-in-a-form"
)

func planted() []string {
	return []string{
		plantedToken, plantedSession, plantedAPIKey, plantedPassword, plantedPhone, plantedID, plantedCard, plantedSecret,
		"4111 1111 1111 1111", "4111-1111-1111-1111",
	}
}

// leaky answers with secrets of its own.
func leaky() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: plantedSession})
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"user":{"phone":%q,"id_card":%q,"cards":[%q]},"access_token":%q,"note":"call %s or pay with 4111-1111-1111-1111"}`,
			plantedPhone, plantedID, plantedCard, plantedToken, plantedPhone)
	})
}

func TestNoPlantedSecretIsInAnyTopicOrLog(t *testing.T) {
	startKafka(t)
	prefix, names := newPrefix()
	production := serve(t, leaky())
	tap := startTap(t, prefix, production, "--log-level", "debug")

	request := func(method, target, contentType, body string) *http.Request {
		req, err := http.NewRequest(method, tap.url()+target, strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Content-Type", contentType)
		req.Header.Set("Authorization", "Bearer "+plantedToken)
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("shop:"+plantedPassword)))
		req.Header.Set("Cookie", "theme=dark; session="+plantedSession)
		req.Header.Set("X-Api-Key", plantedAPIKey)
		return req
	}
	form := url.Values{"secret": {plantedSecret}, "phone": {plantedPhone}, "comment": {"my card is " + plantedCard}}
	json := fmt.Sprintf(`{"phone":%q,"password":%q,"profile":{"id_card":%q,"contacts":[{"tel":%q}]},"text":"card 4111 1111 1111 1111, id %s"}`,
		plantedPhone, plantedPassword, plantedID, plantedPhone, plantedID)
	requests := []*http.Request{
		request("GET", "/users/"+plantedPhone+"/orders", "", ""),
		request("GET", "/ids/"+plantedID, "", ""),
		request("GET", "/pay/"+plantedCard, "", ""),
		request("GET", "/q?token="+plantedToken+"&access_token="+plantedToken+"&phone="+plantedPhone+"&who="+plantedID+"&c="+plantedCard+"&password="+plantedPassword, "", ""),
		request("POST", "/form", "application/x-www-form-urlencoded", form.Encode()),
		request("POST", "/json", "application/json; charset=utf-8", json),
	}
	for _, req := range requests {
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	c := tap.settled(t, len(requests))
	require.Equal(t, len(requests), c.produced, "%+v", c)

	// Replay them at a target that answers secrets too, and otherwise than recorded, so that answers are stored.
	target := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Build", "next")
		w.WriteHeader(http.StatusAccepted)
		leaky().ServeHTTP(w, r)
	}))
	got := run(t, time.Minute, "replayer", replayArgs("run", prefix, target, "--run", "leak", "--speed", "max",
		"--allow-writes", "POST /**", "--log-level", "debug", "-o", "json")...)
	require.Zero(t, got.Code, got.Stderr)
	require.EqualValues(t, len(requests), parseReport(t, got.Stdout).Fired)
	_, err := tap.Stop(time.Minute)
	require.NoError(t, err)

	dump := map[string]string{"tap's log": tap.Stderr(), "replayer's log": got.Stderr, "replayer's report": got.Stdout}
	for _, topic := range []string{names.Exchanges, names.Control, names.Results} {
		dump[topic] = kcat(t, "-C", "-t", topic, "-e", "-o", "beginning", "-f", "%k\n%h\n%s\n")
		require.NotEmpty(t, dump[topic], topic)
	}
	for where, text := range dump {
		for _, secret := range planted() {
			for form, s := range map[string]string{
				"as it is": secret, "URL-encoded": url.QueryEscape(secret),
				"base64": strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(secret)), "="),
			} {
				if bytes.Contains([]byte(text), []byte(s)) {
					t.Errorf("%s is in %s, %s", secret, where, form)
				}
			}
		}
	}
	// The records are not empty either: what is no secret is still there.
	require.Contains(t, dump[names.Exchanges], "/users/")
	require.Contains(t, dump[names.Exchanges], "id_card")
	require.Contains(t, dump[names.Exchanges], "theme=")
}
