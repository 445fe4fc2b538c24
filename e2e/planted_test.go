//go:build e2e

package e2e_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/internal/inspect"
	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// madeValues are of the kinds that redaction finds wherever they stand, made by their rules.
func madeValues() []string {
	return []string{
		"18005067977", "+8615693718752", "199-1812-3358", "86-15755501792", "818460200309243135", "839823197512216378", "376887190314689",
		"38685955821834", "6759-2434-2634-9995", "2221-2955-5830-7422", "3424-873482-84973", "6246002799001915386", "397153604@psmsh.org",
		"QK3_95@gmail.com", "fupqjz+tag@shop.example.co.uk", "021-86542099", "0755-5468538", "GB98BHTO98185645778884", "DE42027598185645778884",
		"FR94 0275 9818 56HL RPTU UGO2 N31", "NL51BHTO9818564577",
		"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMDIwNzY0MSJ9.AxxKF1MSazJ2kIzkhntSDxpRWgebtCmtNzzu7nxBYXM",
	}
}

// valuesToPlant are made ones and, where they are, those that other projects label as valid.
func valuesToPlant(t *testing.T) []string {
	t.Helper()
	values := madeValues()
	files, err := filepath.Glob(filepath.Join(shared.root, "..", "shared", "cases", "redaction", "*.jsonl"))
	require.NoError(t, err)
	if len(files) == 0 {
		t.Log("no shared cases beside the repository: made values only")
	}
	kinds := []string{"CN_ID", "CN_MOBILE", "CREDIT_CARD", "BANK_CARD", "EMAIL", "JWT", "IBAN"}
	for _, name := range files {
		f, err := os.Open(name)
		require.NoError(t, err)
		for lines := bufio.NewScanner(f); lines.Scan(); {
			var c struct {
				Entity, Value, Text string
				Valid               bool
				Spans               [][]int
				Count               int
			}
			require.NoError(t, json.Unmarshal(lines.Bytes(), &c))
			switch {
			case !slices.Contains(kinds, c.Entity):
			case c.Valid && len(c.Value) >= 6:
				values = append(values, c.Value)
			case c.Count == len(c.Spans):
				text := []rune(c.Text)
				for _, s := range c.Spans {
					values = append(values, string(text[s[0]:s[1]]))
				}
			}
		}
		require.NoError(t, f.Close())
	}
	slices.Sort(values)
	return slices.Compact(values)
}

// plantedBody is a request's body with a value in it: under a name that says that it is secret, and under another.
type plantedBody struct{ contentType, coding, body string }

func plantedBodies(t *testing.T, v string) []plantedBody {
	t.Helper()
	quoted, err := json.Marshal(v)
	require.NoError(t, err)
	document := fmt.Sprintf(`{"access_token":%s,"items":[{"id":7,"note":%s,"text":%s}]}`, quoted, quoted, strings.Replace(string(quoted), `"`, `"it is `, 1))
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, err = io.WriteString(w, document)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	message := append(binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(v))), v...)
	field := func(name string) string {
		return "--xYz\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + v + "\r\n"
	}
	return []plantedBody{
		{"application/json", "", document},
		{"application/json", "gzip", zipped.String()},
		{"application/x-www-form-urlencoded", "", url.Values{"access_token": {v}, "note": {v}}.Encode()},
		{"multipart/form-data; boundary=xYz", "", field("note") + field("access_token") + "--xYz--\r\n"},
		{"application/xml", "", "<order><note>" + strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace(v) + "</note></order>"},
		{"application/grpc", "", string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))) + string(message)},
	}
}

// namedRules name places by rule, and namedRequests have a value there that nothing but the rule shows to be secret.
const namedRules = `version: 3
redact:
  rules:
    - {xml: /order//pan, action: mask}
    - {xml: /order/@ref}
    - {xml: /order/note, action: drop}
    - {grpc: '/shop.Cart/*:1.3'}
    - {grpc: '/shop.Cart/*:2', action: replace, with: nobody}
`

func namedValues() (all []string) {
	for i := range 40 {
		all = append(all, fmt.Sprintf("Kettle%dOfAunt%d", 1000+i*7, i))
	}
	return all
}

func namedRequests(t *testing.T, base, v string) (all []*http.Request) {
	t.Helper()
	field := func(n int, v string) string {
		return string(append(binary.AppendUvarint([]byte{byte(n<<3 | 2)}, uint64(len(v))), v...))
	}
	message := field(1, field(2, "kept")+field(3, v)) + field(2, v)
	for _, one := range [][3]string{
		{"/orders", "application/xml", `<order ref="` + v + `"><card><pan>` + v + `</pan></card><note>` + v + `</note><qty>2</qty></order>`},
		{"/orders", "text/xml; charset=utf-8", `<order ref='` + v + `'><a:pan xmlns:a="urn:x"><![CDATA[` + v + `]]></a:pan></order>`},
		{"/shop.Cart/Add", "application/grpc", string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))) + message},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+one[0], strings.NewReader(one[2]))
		require.NoError(t, err)
		require.Contains(t, one[2], v)
		r.Header.Set("Content-Type", one[1])
		all = append(all, r)
	}
	return all
}

// plant returns a request with a value in its path, query, headers and cookies, and in a body.
func plant(t *testing.T, base, v string, b plantedBody) *http.Request {
	t.Helper()
	target := fmt.Sprintf("%s/users/%s/orders?note=%s&access_token=%s", base, url.PathEscape(v), url.QueryEscape(v), url.QueryEscape(v))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(b.body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", b.contentType)
	r.Header.Set("X-Note", v)
	r.Header.Set("X-Api-Key", v)
	r.Header.Set("Authorization", "Bearer "+v)
	r.Header.Set("Cookie", "theme=dark; note="+v)
	if b.coding != "" {
		r.Header.Set("Content-Encoding", b.coding)
	}
	return r
}

// echo answers with what it was asked in the query, in a body, a header and a cookie.
func echo(status int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		v := r.URL.Query().Get("note")
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Note", v)
		w.Header()["Set-Cookie"] = []string{"token=" + url.QueryEscape(v) + "; Path=/"}
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"note": v, "access_token": v, "status": status})
	})
}

// TestPlantedValuesAreInNoTopicSpoolOrLog sends every value in every place of requests through a tap whose Kafka is away for a while, replays
// what is recorded, and searches all that was written for the values: the topics as any client reads them, bodies decoded, the spool's files
// while records lie there, logs, reports and metrics.
func TestPlantedValuesAreInNoTopicSpoolOrLog(t *testing.T) {
	broker := startKafka(t)
	t.Cleanup(broker.Resume)
	prefix, names := newPrefix()
	spool := filepath.Join(t.TempDir(), "spool")
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(rules, []byte(namedRules), 0o600))
	tap := startTap(t, prefix, serve(t, echo(http.StatusOK)), "--rules", rules, "--log-level", "debug", "--memory-max", "24MiB", "--spool-dir", spool, "--spool-max", "256MiB")
	tap.warm(t)

	values := valuesToPlant(t)
	half := len(values) / 2
	values = append(values, namedValues()...)
	known, err := inspect.ReadKnown(strings.NewReader(strings.Join(values, "\n")), "values")
	require.NoError(t, err)
	sent := 1 // the warming one
	missing := map[int]bool{}
	for i := range values {
		missing[i+1] = true
	}
	do := func(r *http.Request) {
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusOK, resp.StatusCode)
		sent++
	}
	name := func() {
		for i, v := range namedValues() {
			for _, r := range namedRequests(t, tap.url(), v) {
				do(r)
				delete(missing, len(values)-len(namedValues())+i+1)
			}
		}
	}
	send := func(values []string) {
		for _, v := range values {
			for _, b := range plantedBodies(t, v) {
				r := plant(t, tap.url(), v, b)
				for _, hit := range known.Search([]byte(r.URL.String() + b.body)) { // the search finds what there is to find
					delete(missing, hit.Line)
				}
				do(r)
			}
		}
	}
	search := func(where string, text []byte) {
		for _, hit := range known.Search(text) {
			t.Errorf("%q is in %s, %s", values[hit.Line-1], where, hit.Form)
		}
	}

	send(values[:half])
	name()
	broker.Pause()
	send(values[half : len(values)-len(namedValues())])
	name()
	waitFor(t, time.Minute, func() error {
		if c := tap.counts(t); c.spooled == 0 {
			return fmt.Errorf("nothing is in the spool: %+v", c)
		}
		return nil
	})
	require.Contains(t, string(searchFiles(t, spool, search)), "X-Note", "what is spooled can be read")
	broker.Resume()
	require.Empty(t, missing, "the search finds every value in what was sent")
	c := tap.settled(t, sent)
	require.GreaterOrEqual(t, float64(c.produced), 0.99*float64(sent), "%+v", c)

	target := serve(t, echo(http.StatusAccepted))
	got := run(t, 5*time.Minute, "replayer", replayArgs("run", prefix, target, "--run", "planted", "--rules", rules, "--speed", "max",
		"--allow-writes", "POST /**", "--log-level", "debug", "-o", "json")...)
	require.Zero(t, got.Code, got.Stderr)
	metrics := scrapeText(t, tap.admin)
	_, err = tap.Stop(time.Minute)
	require.NoError(t, err)

	search("the tap's log", []byte(tap.Stderr()))
	search("the tap's metrics", metrics)
	search("the replayer's log", []byte(got.Stderr))
	search("the replayer's report", []byte(got.Stdout))
	for _, name := range []string{names.Exchanges, names.Control, names.Results} {
		dump := kcat(t, "-C", "-t", name, "-e", "-o", "beginning", "-f", "%k\n%h\n%s\n")
		require.NotEmpty(t, dump, name)
		search(name, []byte(dump))
	}
	require.LessOrEqual(t, searchBodies(t, names, search), sent/100, "bodies that had to be removed")
	searchFiles(t, spool, search)

	file := filepath.Join(t.TempDir(), "secrets")
	require.NoError(t, os.WriteFile(file, []byte(strings.Join(values, "\n")), 0o600))
	lint := run(t, 2*time.Minute, "inspect", "lint", "--brokers", shared.broker.Addr(), "--topic-prefix", prefix, "--rules", rules, "--secrets", file, "-o", "ndjson")
	require.Zero(t, lint.Code, "%s\n%.2000s", lint.Stderr, lint.Stdout)
	require.Contains(t, lint.Stderr, "searched ")
	t.Logf("%d values, %d requests: %+v; %s", len(values), sent, c, strings.TrimSpace(lint.Stderr))
}

// searchBodies searches bodies without their content coding, and returns how many were removed.
func searchBodies(t *testing.T, names topic.Names, search func(string, []byte)) (removed int) {
	t.Helper()
	finder, err := redact.NewFinder(nil)
	require.NoError(t, err)
	err = feed.Exchanges(within(t, time.Minute), shared.broker.Addr(), names.Exchanges, func(_ *topic.Record, x *traffic.Exchange) error {
		if x.Flags.Has(traffic.RedactionFailed) {
			removed++
		}
		search("a request's body", finder.Plain(x.Request.Body, x.Request.Headers))
		if x.Response != nil {
			search("an answer's body", finder.Plain(x.Response.Body, x.Response.Headers))
		}
		return nil
	})
	require.NoError(t, err)
	return removed
}

// searchFiles returns what it searched.
func searchFiles(t *testing.T, dir string, search func(string, []byte)) (all []byte) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if os.IsNotExist(err) { // the spool has just done with it
			return nil
		}
		search("the file "+filepath.Base(path), b)
		all = append(all, b...)
		return err
	}))
	return all
}

func scrapeText(t *testing.T, admin string) []byte {
	t.Helper()
	resp, err := http.Get("http://" + admin + "/metrics")
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return b
}
