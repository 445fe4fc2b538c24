package ingest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/wire"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// sink keeps what it is given.
type sink struct {
	mu   sync.Mutex
	got  []*traffic.Exchange
	shed map[string]int
}

func (s *sink) Offer(batch []wire.Captured) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range batch {
		s.got = append(s.got, c.Exchange)
	}
}

func (s *sink) Shed(reason string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shed[reason] += n
}

type budget struct {
	mu          sync.Mutex
	limit, used int64
}

func (b *budget) TryAcquire(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used+n > b.limit {
		return false
	}
	b.used += n
	return true
}

func (b *budget) Release(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
}

type rig struct {
	*Server
	sink   *sink
	budget *budget
}

func newRig(t testing.TB, change func(*Config)) *rig {
	t.Helper()
	r := &rig{sink: &sink{shed: make(map[string]int)}, budget: &budget{limit: 1 << 30}}
	cfg := Config{Listen: "127.0.0.1:0", Name: "shop", BodyMax: 1 << 10, Budget: r.budget, Sink: r.sink}
	if change != nil {
		change(&cfg)
	}
	var err error
	r.Server, err = Listen(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { r.listener.Close() })
	return r
}

// post returns the status and the answer.
func (r *rig) post(t testing.TB, contentType, body string, headers ...string) (int, result) {
	t.Helper()
	req := httptest.NewRequest(http.MethodPost, "/v1/exchanges", strings.NewReader(body))
	req.Header.Set("Content-Type", contentType)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, req)
	var got result
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got), w.Body.String())
	return w.Code, got
}

const one = `{"request":{"method":"GET","target":"/a","headers":[["Host","shop"]]},"response":{"status":200,"body":"ok"}}`

func message(t testing.TB, target string) *reprisev1.Exchange {
	t.Helper()
	return &reprisev1.Exchange{
		Id: []byte("forged"), RulesDigest: []byte("forged"), Session: []byte("alice"), SampleHash: 7,
		Redactions: []*reprisev1.Redaction{{Rule: "forged"}},
		Flags:      []reprisev1.Flag{reprisev1.Flag_FLAG_REDACTION_FAILED, reprisev1.Flag_FLAG_CLIENT_ABORTED, reprisev1.Flag_FLAG_GAP},
		Request:    &reprisev1.Request{Method: []byte("GET"), Target: []byte(target), Body: []byte("q"), BodySize: 1},
	}
}

func marshal(t testing.TB, m proto.Message) string {
	t.Helper()
	b, err := proto.Marshal(m)
	require.NoError(t, err)
	return string(b)
}

func TestEveryFormIsTaken(t *testing.T) {
	batch := &reprisev1.ExchangeBatch{Exchanges: []*reprisev1.Exchange{message(t, "/a"), message(t, "/b")}}
	for name, row := range map[string]struct {
		contentType, body string
		want              int
	}{
		"object":          {"application/json", " " + one + "\n", 1},
		"list":            {"application/json; charset=utf-8", " [ " + one + " ,\n" + one + "] ", 2},
		"empty list":      {"application/json", "[]", 0},
		"lines":           {"application/x-ndjson", one + "\n\n \r\n" + one + "\r\n" + one, 3},
		"message":         {"application/x-protobuf", marshal(t, message(t, "/a")), 1},
		"named message":   {"application/x-protobuf; proto=reprise.v1.Exchange", marshal(t, message(t, "/a")), 1},
		"batch":           {"application/x-protobuf; proto=reprise.v1.ExchangeBatch", marshal(t, batch), 2},
		"batch, as gRPC":  {"application/x-protobuf; messageType=reprise.v1.ExchangeBatch", marshal(t, batch), 2},
		"batch, of none":  {"application/x-protobuf; proto=reprise.v1.ExchangeBatch", "", 0},
		"many in batches": {"application/x-ndjson", strings.Repeat(one+"\n", 3*batchSize+1), 3*batchSize + 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			status, got := r.post(t, row.contentType, row.body)
			require.Equal(t, http.StatusAccepted, status, got)
			require.Equal(t, result{Accepted: row.want}, got)
			require.Len(t, r.sink.got, row.want)
			held := int64(0)
			for _, x := range r.sink.got {
				held += int64(x.Size())
				require.Equal(t, traffic.Source{Kind: traffic.Ingest, Name: []byte("shop")}, x.Source)
			}
			require.Equal(t, held, r.budget.used, "what is held is booked, and nothing else")
			require.EqualValues(t, row.want, r.Stats().Accepted)
		})
	}
}

func TestWhatOnlyATapMaySayIsCleared(t *testing.T) {
	r := newRig(t, nil)
	r.post(t, "application/x-protobuf", marshal(t, message(t, "/a")))
	x := r.sink.got[0]
	require.Zero(t, x.ID)
	require.Empty(t, x.RulesDigest)
	require.Empty(t, x.Redactions)
	require.Empty(t, x.Session)
	require.Zero(t, x.SampleHash)
	require.Equal(t, traffic.ClientAborted, x.Flags)
	require.WithinDuration(t, time.Now(), x.CaptureTime, time.Minute)
	require.Equal(t, traffic.OwnClock, x.TimeSource)
}

func TestFlagsAndTimesTellWhatIsThere(t *testing.T) {
	now := time.Now()
	at := func(d time.Duration) string { return now.Add(d).UTC().Format(time.RFC3339Nano) }
	long := strings.Repeat("x", 2000)
	for name, row := range map[string]struct{ json, flags string }{
		"no response":           {`{"request":{"method":"GET","target":"/"}}`, "NO_RESPONSE"},
		"no response, said":     {`{"request":{"method":"GET","target":"/"},"flags":["REQUEST_ONLY"]}`, "REQUEST_ONLY"},
		"body over the cap":     {`{"request":{"method":"PUT","target":"/","body":"` + long + `"},"response":{"status":204}}`, "TRUNCATED_REQUEST"},
		"body that is not here": {`{"request":{"method":"PUT","target":"/"},"response":{"status":200,"body":"a","body_size":9}}`, "TRUNCATED_RESPONSE"},
		"length of HEAD":        {`{"request":{"method":"HEAD","target":"/"},"response":{"status":200,"body_size":9}}`, ""},
		"upgraded":              {`{"request":{"method":"GET","target":"/"},"response":{"status":101}}`, "UPGRADED"},
		"connect":               {`{"request":{"method":"CONNECT","target":"a:443"},"response":{"status":200}}`, "CONNECT"},
		"two hosts":             {`{"request":{"method":"GET","target":"/","headers":[["Host","a"],["host","a"]]},"response":{"status":200}}`, "AMBIGUOUS_FRAMING"},
		"good clock":            {`{"time":"` + at(-time.Minute) + `","request":{"method":"GET","target":"/"},"response":{"status":200}}`, ""},
		"bad clock":             {`{"time":"` + at(-time.Hour) + `","request":{"method":"GET","target":"/"},"response":{"status":200}}`, "CLOCK_REPLACED"},
		"long answer": {
			fmt.Sprintf(`{"time":%q,"request":{"method":"GET","target":"/"},"response":{"status":200,"duration_ns":%d}}`, at(-time.Hour), time.Hour), "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			status, got := r.post(t, "application/json", row.json)
			require.Equal(t, http.StatusAccepted, status, got)
			x := r.sink.got[0]
			require.Equal(t, row.flags, x.Flags.String())
			require.LessOrEqual(t, len(x.Request.Body), 1<<10)
		})
	}
}

func TestBadExchangesAreRejectedAndTheOthersTaken(t *testing.T) {
	r := newRig(t, nil)
	marked := `{"request":{"method":"GET","target":"/","headers":[["reprise-replay","x"]]}}`
	huge := `{"request":{"method":"GET","target":"/","body":"` + strings.Repeat("x", 2<<20) + `"}}`
	lines := []string{
		one, `{"request":{"method":"G T","target":"/"}}`, marked, `nonsense`, `{"request":{"method":"GET","target":"/a b"}}`,
		huge, `{"request":{"method":"GET","target":"/","headers":[["A","1\r\nB: 2"]]}}`, `{"request":{"method":"GET","target":"/"},"response":{"status":7}}`, one,
	}
	status, got := r.post(t, "application/x-ndjson", strings.Join(lines, "\n"))
	require.Equal(t, http.StatusAccepted, status)
	require.Equal(t, 2, got.Accepted)
	require.Equal(t, 6, got.Rejected)
	require.Equal(t, 1, got.Marked)
	require.Len(t, got.Errors, maxFlaws)
	require.Equal(t, flaw{1, errMethod.Error()}, got.Errors[0])
	require.Equal(t, flaw{5, errLongOne.Error()}, got.Errors[3])
	require.Equal(t, map[string]int{"malformed": 6, "marked": 1}, r.sink.shed)

	status, got = r.post(t, "application/x-ndjson", "nonsense\n"+marked[:20])
	require.Equal(t, http.StatusBadRequest, status)
	require.Equal(t, 2, got.Rejected)
}

func TestRequestsThatCannotBeReadAreRefused(t *testing.T) {
	for name, row := range map[string]struct {
		contentType, body string
		headers           []string
		status            int
		says              string
	}{
		"text":              {"text/plain", one, nil, http.StatusUnsupportedMediaType, "application/json"},
		"other message":     {"application/x-protobuf; proto=a.B", one, nil, http.StatusUnsupportedMediaType, "ExchangeBatch"},
		"other coding":      {"application/json", one, []string{"Content-Encoding", "br"}, http.StatusUnsupportedMediaType, "gzip, zstd or none"},
		"no gzip":           {"application/json", one, []string{"Content-Encoding", "gzip"}, http.StatusUnsupportedMediaType, "gzip"},
		"too large":         {"application/json", strings.Repeat(" ", 5000), nil, http.StatusRequestEntityTooLarge, "at most 4096 bytes"},
		"unfolds too large": {"application/json", zipped(t, strings.Repeat(" ", 5000)), []string{"Content-Encoding", "gzip"}, http.StatusRequestEntityTooLarge, "too large"},
		"list that ends":    {"application/json", "[" + one[:20], nil, http.StatusBadRequest, "unexpected EOF"},
		"list of numbers":   {"application/json", "[1]", nil, http.StatusBadRequest, "neither"},
		"number":            {"application/json", "1", nil, http.StatusBadRequest, "neither"},
		"nothing":           {"application/json", " ", nil, http.StatusBadRequest, "EOF"},
		"no batch":          {"application/x-protobuf; proto=reprise.v1.ExchangeBatch", "\x0a\x05a", nil, http.StatusBadRequest, "unexpected EOF"},
		"another batch":     {"application/x-protobuf; proto=reprise.v1.ExchangeBatch", "\x12\x01a", nil, http.StatusBadRequest, "no reprise.v1.ExchangeBatch"},
		"no message":        {"application/x-protobuf", "\xff\xff", nil, http.StatusBadRequest, ""},
		"too many":          {"application/x-ndjson", strings.Repeat("x\n", 30), nil, http.StatusRequestEntityTooLarge, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.RequestMax, c.ExchangesMax = 4096, 20 })
			status, got := r.post(t, row.contentType, row.body, row.headers...)
			require.Equal(t, row.status, status, got)
			require.NotEmpty(t, got.Errors)
			require.Contains(t, fmt.Sprint(got.Errors), row.says)
			require.Empty(t, r.sink.got)
			require.Zero(t, r.budget.used)
		})
	}
}

func zipped(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := io.WriteString(z, text)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.String()
}

func TestContentCodings(t *testing.T) {
	r := newRig(t, nil)
	z, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	for coding, body := range map[string]string{
		"gzip": zipped(t, one), "zstd": string(z.EncodeAll([]byte(one), nil)), "identity": one,
	} {
		status, got := r.post(t, "application/x-ndjson", body, "Content-Encoding", coding)
		require.Equal(t, http.StatusAccepted, status, got)
		require.Equal(t, 1, got.Accepted)
	}
	status, got := r.post(t, "application/x-ndjson", zipped(t, one+"\n"+one)[:40], "Content-Encoding", "gzip")
	require.Equal(t, http.StatusBadRequest, status, got)
}

func TestWithoutMemoryExchangesAreShedAndCounted(t *testing.T) {
	r := newRig(t, nil)
	r.budget.limit = 2 * 600
	status, got := r.post(t, "application/x-ndjson", strings.Repeat(one+"\n", 10))
	require.Equal(t, http.StatusAccepted, status)
	require.Equal(t, 10, got.Accepted+got.Shed)
	require.Positive(t, got.Accepted)
	require.Equal(t, got.Shed, r.sink.shed["memory"])

	r.budget.limit = r.budget.used
	big := `{"request":{"method":"PUT","target":"/","body":"` + strings.Repeat("x", 200<<10) + `"}}`
	status, got = r.post(t, "application/x-ndjson", big+"\n"+big)
	require.Equal(t, http.StatusAccepted, status, "it is not to be sent again")
	require.Equal(t, result{Shed: 2}, got)
}

func TestTheTokenIsAskedFor(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Token = "secret" })
	for _, header := range []string{"", "Bearer", "Bearer other", "Basic secret"} {
		status, _ := r.post(t, "application/json", one, "Authorization", header)
		require.Equal(t, http.StatusUnauthorized, status)
	}
	status, _ := r.post(t, "application/json", one, "Authorization", "bearer secret")
	require.Equal(t, http.StatusAccepted, status)
	require.EqualValues(t, 4, r.Stats().Refused)
}

func TestTooManyAtATimeAreRefusedAtOnce(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Concurrency = 1 })
	r.slots <- struct{}{}
	status, got := r.post(t, "application/json", one)
	require.Equal(t, http.StatusTooManyRequests, status, got)
	<-r.slots
	status, _ = r.post(t, "application/json", one)
	require.Equal(t, http.StatusAccepted, status)
}

func TestRunServesUntilItsContextEnds(t *testing.T) {
	r := newRig(t, func(c *Config) { c.DrainTimeout = time.Minute })
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	url := "http://" + r.Addr().String()
	resp, err := http.Post(url+"/v1/exchanges", "application/json", strings.NewReader(one))
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusAccepted, resp.StatusCode)
	resp, err = http.Get(url + "/healthz")
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	resp, err = http.Get(url + "/v1/exchanges")
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
	_, err = Listen(Config{Listen: r.Addr().String()})
	require.Equal(t, fault.Failure, fault.Code(err))
	_, err = Listen(Config{Listen: "nonsense"})
	require.Equal(t, fault.Usage, fault.Code(err))
	cancel()
	require.NoError(t, <-ended)
	require.Len(t, r.sink.got, 1)
}

func FuzzPost(f *testing.F) {
	f.Add("application/json", []byte("["+one+","+one+"]"))
	f.Add("application/x-ndjson", []byte(one+"\n{"))
	f.Add("application/x-protobuf", []byte(marshal(f, message(f, "/a"))))
	f.Add("application/x-protobuf;proto=reprise.v1.ExchangeBatch", []byte("\x0a\x02\x08\x01"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		r := newRig(t, nil)
		_, got := r.post(t, contentType, string(body))
		require.Len(t, r.sink.got, got.Accepted)
		held := int64(0)
		for _, x := range r.sink.got {
			held += int64(x.Size())
			require.NoError(t, clean(x, 1<<10, time.Now()), "what was taken once is fit to be taken")
		}
		require.Equal(t, held, r.budget.used)
	})
}
