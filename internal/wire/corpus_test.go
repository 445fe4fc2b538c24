package wire

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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

// corpus reads a file of the shared cases that live beside the repository.
func corpus(t *testing.T, name string) []corpusRow {
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
	file, err := os.Open(filepath.Join(dir, "..", "shared", "cases", "http1", name))
	if err != nil {
		t.Skipf("the shared cases are not here: %v", err)
	}
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

// replayable counts the messages that a replayer would send.
func replayable(messages []seen) int {
	n := 0
	for _, m := range messages {
		if m.Whole && !m.Ambiguous {
			n++
		}
	}
	return n
}

func requireRefused(t *testing.T, row corpusRow, messages []seen) {
	t.Helper()
	if accepted(row.ID) {
		require.Equal(t, 1, replayable(messages), "%s is refused now: take it from the list", row.ID)
	} else {
		require.Zero(t, replayable(messages), row.ID)
	}
}

func TestNeverSplitsSmuggledRequests(t *testing.T) {
	for _, row := range corpus(t, "smuggler-te.jsonl") {
		messages, fault := eachStep(t, Requests, string(row.Raw))
		require.LessOrEqual(t, len(messages), 1, row.ID)
		require.Zero(t, replayable(messages), row.ID)
		require.Contains(t, []Fault{Ambiguous, Malformed, NotHTTP}, fault, row.ID)
	}
}

// differs lists the rows of valid messages on which we decided otherwise, accepted those of invalid ones that are read:
// what is wrong with them does not touch framing, or is a limit that somebody set lower.
func differs(id string) bool {
	return slices.Contains([]string{
		"llhttp/request/method.md#84",             // RTSP is not HTTP
		"llhttp/response/sample.md#218",           // the same
		"llhttp/response/connection.md#172",       // 101 has no body: what follows is the other protocol
		"llhttp/request/transfer-encoding.md#128", // a chunk extension may be empty
		"gunicorn/valid/009.http",                 // Transfer-Encoding: identity beside a length is ambiguous
		"gunicorn/valid/pp_01.http",               // PROXY protocol is not HTTP
		"gunicorn/valid/pp_05.http",               // the same
		"go-readrequest/6",                        // a length beside chunked is ambiguous
		"go-readrequest/15",                       // HTTP/2 has its own parser
	}, id)
}

func accepted(id string) bool {
	return slices.Contains([]string{
		"gunicorn/invalid/003c.http",                                    // any token is a method
		"gunicorn/invalid/007.http",                                     // limits
		"gunicorn/invalid/009.http",                                     // limits
		"gunicorn/invalid/011.http",                                     // limits
		"gunicorn/invalid/013.http",                                     // limits, a fold
		"gunicorn/invalid/017.http",                                     // limits
		"gunicorn/invalid/019.http",                                     // X-Forwarded fields that contradict each other
		"gunicorn/invalid/040.http",                                     // underscores in names
		"gunicorn/invalid/042.http",                                     // two Hosts
		"gunicorn/invalid/limit_header_default_01.http",                 // limits
		"gunicorn/invalid/rfc9110_trailer_forbidden_host_01.http",       // Host as a trailer: trailers stay apart here
		"gunicorn/invalid/rfc9112_target_authority_non_connect_01.http", // targets are not looked into
		"go-readrequest/3",                                              // the same
		"go-badrequest/0",                                               // the same
	}, id)
}

func TestAgreesWithLlhttp(t *testing.T) {
	type message struct {
		Spans    map[string][]string `json:"spans"`
		Complete bool                `json:"complete"`
		Head     *string             `json:"headers_complete"`
	}
	checked := 0
	for _, row := range corpus(t, "llhttp.jsonl") {
		var expect struct {
			Messages []message `json:"messages"`
			Complete int       `json:"complete"`
			Error    *struct {
				Code   int    `json:"code"`
				Reason string `json:"reason"`
			} `json:"error"`
		}
		require.NoError(t, json.Unmarshal(row.Expect, &expect))
		framer := Requests
		if strings.HasPrefix(row.Kind, "response") {
			framer = Responses
		}
		messages, fault := eachStep(t, framer, string(row.Raw)) // no panic, the same in any slices: for every row
		if differs(row.ID) || row.Lenient || row.Matches != nil && !*row.Matches || row.Meta["skipBody"] != nil {
			continue
		}
		checked++
		refused := expect.Error != nil && !strings.HasPrefix(expect.Error.Reason, "Pause on")
		if refused && framer().response {
			continue // responses are read leniently
		}
		if refused {
			require.LessOrEqual(t, replayable(messages), expect.Complete, "%s: %s", row.ID, expect.Error.Reason)
			require.NotZero(t, fault, "%s: %s", row.ID, expect.Error.Reason)
			continue
		}
		for i, want := range expect.Messages {
			if !want.Complete && want.Head == nil {
				continue // a message that was not finished
			}
			require.Less(t, i, len(messages), row.ID)
			got := messages[i]
			if !framer().response {
				start := strings.Fields(got.Start)
				require.Equal(t, want.Spans["method"], start[:1], row.ID)
				require.Equal(t, want.Spans["url"], start[1:2], row.ID)
			}
			var names, values []string
			for line := range strings.Lines(got.Fields) {
				name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
				names, values = append(names, name), append(values, value)
			}
			require.Equal(t, want.Spans["header_field"], names, row.ID)
			wanted := want.Spans["header_value"]
			for i := range wanted { // the log leaves blanks at the end and escapes tabs, and leaves empty values out
				wanted[i] = strings.TrimSpace(strings.ReplaceAll(wanted[i], `\t`, "\t"))
			}
			require.Equal(t, wanted, slices.DeleteFunc(values, func(v string) bool { return v == "" }), row.ID)
			body := got.Body
			if !strings.Contains(strings.Join(want.Spans["body"], ""), "\n") {
				body = strings.ReplaceAll(body, "\n", "") // the log leaves line feeds out
			}
			require.Equal(t, strings.Join(want.Spans["body"], ""), body, row.ID)
			if want.Complete {
				require.True(t, got.Whole, row.ID)
			}
		}
		require.LessOrEqual(t, replayable(messages), max(expect.Complete, len(expect.Messages)), row.ID)
	}
	require.Greater(t, checked, 80)
}

func TestAgreesWithGunicorn(t *testing.T) {
	type request struct {
		Method, URI string
		Version     [2]int
		Headers     [][2]string
		Body        []byte `json:"body_b64"`
	}
	checked := 0
	for _, row := range corpus(t, "gunicorn.jsonl") {
		var expect struct{ Requests []request }
		require.NoError(t, json.Unmarshal(row.Expect, &expect))
		messages, _ := eachStep(t, Requests, string(row.Raw))
		if !row.Valid {
			requireRefused(t, row, messages)
			continue
		}
		if differs(row.ID) {
			continue
		}
		checked++
		require.Len(t, messages, len(expect.Requests), row.ID)
		for i, want := range expect.Requests {
			got := messages[i]
			require.True(t, got.Whole && !got.Ambiguous, row.ID)
			start := strings.Fields(got.Start)
			require.Equal(t, want.Method, start[0], row.ID)
			require.Equal(t, want.URI, latin1(start[1]), row.ID)
			var fields [][2]string
			for line := range strings.Lines(got.Fields) {
				name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
				fields = append(fields, [2]string{strings.ToUpper(name), latin1(value)})
			}
			if len(want.Headers) > 0 || len(fields) > 0 {
				require.Equal(t, want.Headers, fields, row.ID)
			}
			require.Equal(t, string(want.Body), got.Body, row.ID)
		}
	}
	require.Greater(t, checked, 25)
}

// latin1 reads each byte as a character, as the corpus does.
func latin1(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}

func TestAgreesWithNetHTTP(t *testing.T) {
	for _, row := range corpus(t, "go-readrequest.jsonl") {
		var expect struct {
			Body, Method, Error string
			URI                 string `json:"request_uri"`
			Headers             map[string][]string
			Trailer             map[string][]string
			Reject              bool
		}
		require.NoError(t, json.Unmarshal(row.Expect, &expect))
		messages, _ := eachStep(t, Requests, string(row.Raw))
		if expect.Reject || expect.Error != "" {
			requireRefused(t, row, messages)
			continue
		}
		if differs(row.ID) {
			continue
		}
		got := messages[0]
		require.True(t, got.Whole && !got.Ambiguous, row.ID)
		start := strings.Fields(got.Start)
		require.Equal(t, []string{expect.Method, expect.URI}, start[:2], row.ID)
		require.Equal(t, expect.Body, got.Body, row.ID)
		for name, values := range expect.Headers {
			for _, value := range values {
				require.Contains(t, got.Fields, name+": "+value+"\n", row.ID)
			}
		}
		for name, values := range expect.Trailer {
			require.Equal(t, name+": "+values[0]+"\n", got.Trailers, row.ID)
		}
	}
}
