package wire

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A corpus row: a stream of bytes and what its project says about it.
type corpusRow struct {
	ID      string          `json:"id"`
	Kind    string          `json:"kind"`
	Lenient bool            `json:"lenient"`
	Valid   bool            `json:"valid"`
	Matches *bool           `json:"raw_matches_log"`
	Cfg     []any           `json:"cfg"`
	Meta    map[string]any  `json:"meta"`
	Raw     []byte          `json:"-"`
	RawB64  string          `json:"raw_b64"`
	Expect  json.RawMessage `json:"expect"`
}

// cases is a folder of the shared cases that live beside the repository; without them the test is skipped.
func cases(t *testing.T, name string) string {
	t.Helper()
	dir, ok := findCases(t, name)
	if !ok {
		t.Skipf("the shared cases are not here: no %s", dir)
	}
	return dir
}

func findCases(t testing.TB, name string) (dir string, ok bool) {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		dir = filepath.Dir(dir)
		require.NotEqual(t, "/", dir, "go.mod not found")
	}
	dir = filepath.Join(dir, "..", "shared", "cases", name)
	_, err = os.Stat(dir)
	return dir, err == nil
}

// corpus reads a file of messages.
func corpus(t *testing.T, name string) []corpusRow {
	t.Helper()
	return readCorpus(t, filepath.Join(cases(t, "http1"), name))
}

func readCorpus(t testing.TB, path string) []corpusRow {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	var rows []corpusRow
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var row corpusRow
		require.NoError(t, json.Unmarshal(lines.Bytes(), &row))
		row.Raw, err = base64.StdEncoding.DecodeString(row.RawB64)
		require.NoError(t, err)
		rows = append(rows, row)
	}
	require.NoError(t, lines.Err())
	require.NotEmpty(t, rows)
	return rows
}

// replayable counts the messages that a replayer would send: whole requests with a target that it can aim.
func replayable(messages []seen) int {
	n := 0
	for _, m := range messages {
		start := strings.Fields(m.Start)
		target := len(start) == 3 && start[0] != "CONNECT" &&
			(start[1][0] == '/' || start[1] == "*" || strings.Contains(start[1], "://"))
		if m.Whole && !m.Ambiguous && (target || strings.HasPrefix(m.Start, "HTTP/")) {
			n++
		}
	}
	return n
}

// tally counts how many of a corpus's verdicts we share. What we decided otherwise is listed with the reason, and so is
// what no strict proxy should share, which does not count; the lists must be exactly what differs.
type tally struct {
	*testing.T
	known   map[string]string
	apart   map[string]string
	differs []string
	agrees  int
}

// row takes what differs in a row; empty: nothing.
func (y *tally) row(id, difference string) {
	y.Helper()
	if difference == "" {
		y.agrees++
		return
	}
	y.differs = append(y.differs, id)
	if _, ok := y.apart[id]; !ok {
		require.Contains(y, y.known, id, difference)
	}
}

func (y *tally) end(least float64) {
	y.Helper()
	for _, list := range []map[string]string{y.known, y.apart} {
		for id, reason := range list {
			require.Contains(y, y.differs, id, "agrees now, take it from the list: %s", reason)
		}
	}
	shareable := y.agrees + len(y.known)
	y.Logf("shares %d of %d verdicts (%.4f); %d more are not for a proxy to share", y.agrees, shareable,
		float64(y.agrees)/float64(shareable), len(y.apart))
	for _, id := range slices.Sorted(maps.Keys(y.known)) {
		y.Logf("not shared: %s: %s", id, y.known[id])
	}
	for _, id := range slices.Sorted(maps.Keys(y.apart)) {
		y.Logf("does not count: %s: %s", id, y.apart[id])
	}
	require.GreaterOrEqual(y, float64(y.agrees), least*float64(shareable))
}

// compare tells how what was read differs from what a corpus says.
func compare(what string, want, got any) string {
	if assert.ObjectsAreEqual(want, got) {
		return ""
	}
	return fmt.Sprintf("%s: want %q, got %q\n", what, want, got)
}

func TestNeverSplitsSmuggledRequests(t *testing.T) {
	for _, row := range corpus(t, "smuggler-te.jsonl") {
		messages, fault := eachStep(t, Requests, string(row.Raw))
		require.LessOrEqual(t, len(messages), 1, row.ID)
		require.Zero(t, replayable(messages), row.ID)
		for _, m := range messages {
			require.True(t, m.Ambiguous, row.ID)
		}
		require.Contains(t, []Fault{Ambiguous, Malformed, NotHTTP, Cut}, fault, row.ID)
	}
}

func TestAgreesWithLlhttp(t *testing.T) {
	lenient := "refused there; answers are read leniently, as nothing of them is sent again"
	tally := &tally{T: t, known: map[string]string{
		"llhttp/request/method.md#84":   "RTSP is not HTTP",
		"llhttp/response/sample.md#218": "RTSP is not HTTP",
	}, apart: map[string]string{
		"llhttp/response/invalid.md#200":           lenient,
		"llhttp/response/invalid.md#202":           lenient,
		"llhttp/response/sample.md#226":            lenient,
		"llhttp/response/transfer-encoding.md#236": lenient,
		"llhttp/response/transfer-encoding.md#242": lenient,
	}}
	for _, row := range corpus(t, "llhttp.jsonl") {
		framer := Requests
		if strings.HasPrefix(row.Kind, "response") {
			framer = Responses
		}
		messages, fault := eachStep(t, framer, string(row.Raw)) // no panic, the same in any slices: for every row
		if row.Lenient || row.Matches != nil && !*row.Matches || row.Meta["skipBody"] != nil {
			continue // flags of llhttp that we do not have, or a log that is not of these bytes
		}
		var expect llhttp
		require.NoError(t, json.Unmarshal(row.Expect, &expect))
		tally.row(row.ID, expect.compare(messages, fault, framer().response))
	}
	tally.end(0.95)
}

// llhttp is what its log says of a stream.
type llhttp struct {
	Messages []struct {
		Spans    map[string][]string `json:"spans"`
		Complete bool                `json:"complete"`
		Head     *string             `json:"headers_complete"`
	} `json:"messages"`
	Complete int `json:"complete"`
	Error    *struct {
		Code   int    `json:"code"`
		Reason string `json:"reason"`
	} `json:"error"`
}

func (e *llhttp) refused() bool {
	return e.Error != nil && !strings.HasPrefix(e.Error.Reason, "Pause on")
}

func (e *llhttp) compare(messages []seen, fault Fault, response bool) string {
	if e.refused() {
		flagged := slices.ContainsFunc(messages, func(m seen) bool { return m.Ambiguous })
		if replayable(messages) > e.Complete || fault == 0 && !flagged {
			return "refused there: " + e.Error.Reason
		}
		return ""
	}
	if n := max(e.Complete, len(e.Messages)); replayable(messages) > n {
		return fmt.Sprintf("only %d messages there", n)
	}
	different := ""
	for i, want := range e.Messages {
		if !want.Complete && want.Head == nil {
			continue // a message that was not finished
		}
		if i >= len(messages) {
			return fmt.Sprintf("message %d is missing: %v", i+1, fault)
		}
		got := messages[i]
		if start := strings.Fields(got.Start); !response {
			different += compare("method", want.Spans["method"], start[:1]) + compare("target", want.Spans["url"], start[1:2])
		}
		var names, values []string
		for line := range strings.Lines(got.Fields) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			names, values = append(names, name), append(values, value)
		}
		different += compare("names", want.Spans["header_field"], names)
		wanted := want.Spans["header_value"]
		for i := range wanted { // the log leaves blanks at the end and escapes tabs, and leaves empty values out
			wanted[i] = strings.TrimSpace(strings.ReplaceAll(wanted[i], `\t`, "\t"))
		}
		different += compare("values", wanted, slices.DeleteFunc(values, func(v string) bool { return v == "" }))
		body := strings.Join(want.Spans["body"], "")
		if !strings.Contains(body, "\n") {
			got.Body = strings.ReplaceAll(got.Body, "\n", "") // the log leaves line feeds out
		}
		different += compare("body", body, got.Body)
		if want.Complete && !got.Whole {
			different += "not whole"
		}
	}
	return different
}

func TestAgreesWithGunicorn(t *testing.T) {
	limit := "a limit that was set lower"
	tally := &tally{T: t, known: map[string]string{
		"gunicorn/valid/009.http":    "Transfer-Encoding: identity beside a length: RFC 9112 6.3 refuses what does not end in chunked",
		"gunicorn/invalid/003c.http": "any token is a method (RFC 9110 9.1), and ends nowhere else for it",
		"gunicorn/invalid/019.http":  "X-Forwarded fields may contradict each other: they say nothing of the message",
	}, apart: map[string]string{
		"gunicorn/valid/pp_01.http":                     "PROXY protocol is not HTTP; what is in front of the reader takes it off",
		"gunicorn/valid/pp_05.http":                     "PROXY protocol is not HTTP; what is in front of the reader takes it off",
		"gunicorn/invalid/007.http":                     limit,
		"gunicorn/invalid/009.http":                     limit,
		"gunicorn/invalid/011.http":                     limit,
		"gunicorn/invalid/013.http":                     limit + ", for a folded line",
		"gunicorn/invalid/017.http":                     limit,
		"gunicorn/invalid/limit_header_default_01.http": limit,
		"gunicorn/invalid/040.http":                     "an underscore in a name is refused by option only",
	}}
	for _, row := range corpus(t, "gunicorn.jsonl") {
		messages, _ := eachStep(t, Requests, string(row.Raw))
		if !row.Valid {
			different := ""
			if replayable(messages) > 0 {
				different = "refused there"
			}
			tally.row(row.ID, different)
			continue
		}
		var expect struct{ Requests []gunicornRequest }
		require.NoError(t, json.Unmarshal(row.Expect, &expect))
		different := compare("requests", len(expect.Requests), len(messages))
		for i, want := range expect.Requests[:min(len(expect.Requests), len(messages))] {
			different += want.compare(messages[i])
		}
		tally.row(row.ID, different)
	}
	tally.end(0.95)
}

type gunicornRequest struct {
	Method, URI string
	Headers     [][2]string
	Body        []byte `json:"body_b64"`
}

func (want *gunicornRequest) compare(got seen) string {
	start := strings.Fields(got.Start)
	fields := [][2]string{}
	for line := range strings.Lines(got.Fields) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		fields = append(fields, [2]string{strings.ToUpper(name), latin1(value)})
	}
	return compare("replayed", true, got.Whole && !got.Ambiguous) + compare("method", want.Method, start[0]) +
		compare("target", want.URI, latin1(start[1])) + compare("fields", append([][2]string{}, want.Headers...), fields) +
		compare("body", string(want.Body), got.Body)
}

// latin1 reads each byte as a character, as the corpus does.
func latin1(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}

// Go's verdicts are what it reads. Whether that may be sent again is another question, and answered apart from them.
func TestReadsWhatNetHTTPReads(t *testing.T) {
	tally := &tally{T: t}
	flagged := map[string]string{
		"go-readrequest/6": "a length beside chunked, which Go drops and others believe",
	}
	for _, row := range corpus(t, "go-readrequest.jsonl") {
		var expect struct {
			Body, Method, Error string
			URI                 string `json:"request_uri"`
			Headers             map[string][]string
			Trailer             map[string][]string
			Reject              bool
		}
		require.NoError(t, json.Unmarshal(row.Expect, &expect))
		messages, fault := eachStep(t, Requests, string(row.Raw))
		different := ""
		switch {
		case expect.Reject || expect.Error != "":
			if replayable(messages) > 0 {
				different = "refused there"
			}
		case expect.Method == "PRI": // Go hands the preface over as a request; here it begins HTTP/2
			different = compare("fault", HTTP2, fault)
		case len(messages) == 0:
			different = "nothing read: " + fault.String()
		default:
			got := messages[0]
			start := strings.Fields(got.Start)
			_, doubtful := flagged[row.ID]
			require.Equal(t, doubtful, got.Ambiguous, "%s: %s", row.ID, flagged[row.ID])
			require.LessOrEqual(t, len(messages), 1, row.ID)
			if doubtful {
				require.Zero(t, replayable(messages), row.ID)
			}
			different = compare("whole", true, got.Whole) + compare("body", expect.Body, got.Body) +
				compare("start", []string{expect.Method, expect.URI}, start[:2])
			for name, values := range expect.Headers {
				for _, value := range values {
					if !strings.Contains(got.Fields, name+": "+value+"\n") {
						different += "no field " + name + ": " + value
					}
				}
			}
			for name, values := range expect.Trailer {
				different += compare("trailers", name+": "+values[0]+"\n", got.Trailers)
			}
		}
		tally.row(row.ID, different)
	}
	tally.end(1)
}
