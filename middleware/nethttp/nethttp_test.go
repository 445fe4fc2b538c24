package nethttp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// record is one line as the tap gets it.
type record struct {
	Time    time.Time
	Client  string
	Flags   []string
	Request struct {
		Method, Scheme, Authority, Target, Protocol string
		Headers                                     [][2]string
		Body                                        string
		BodyB64                                     []byte `json:"body_b64"`
		BodySize                                    int    `json:"body_size"`
		Trailers                                    [][2]string
	}
	Response *struct {
		Status   int
		Headers  [][2]string
		Body     string
		BodySize int `json:"body_size"`
		Trailers [][2]string
		TTFB     int64 `json:"ttfb_ns"`
		Duration int64 `json:"duration_ns"`
	}
}

func (r *record) flags() string { return strings.Join(r.Flags, ",") }

func header(fields [][2]string, name string) string {
	for _, f := range fields {
		if f[0] == name {
			return f[1]
		}
	}
	return ""
}

// fakeTap keeps the lines that are posted to it.
type fakeTap struct {
	*httptest.Server
	mu      sync.Mutex
	lines   []string
	posts   int
	token   string
	refuse  bool
	waiting chan struct{} // not nil: posts wait for it
}

func newFakeTap(t testing.TB) *fakeTap {
	f := &fakeTap{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			return
		}
		body, _ := io.ReadAll(r.Body)
		f.mu.Lock()
		waiting, refuse := f.waiting, f.refuse
		f.token = r.Header.Get("Authorization")
		f.posts++
		n := strings.Count(string(body), "\n")
		if !refuse {
			f.lines = append(f.lines, strings.SplitAfter(strings.TrimSuffix(string(body), "\n"), "\n")...)
		}
		f.mu.Unlock()
		if waiting != nil {
			<-waiting
		}
		if refuse {
			http.Error(w, "no", http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, `{"accepted":%d,"rejected":0,"shed":0,"marked":0}`, n)
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fakeTap) records(t testing.TB) []*record {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []*record
	for _, line := range f.lines {
		r := new(record)
		if err := json.Unmarshal([]byte(line), r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, r)
	}
	return all
}

// serve answers one request through a Tap, and returns what the client and what the tap got.
func serve(t *testing.T, h http.HandlerFunc, req func(url string) *http.Request, change func(*Options)) (*http.Response, string, *record) {
	t.Helper()
	f := newFakeTap(t)
	o := Options{URL: f.URL, Linger: time.Millisecond, BodyMax: 100}
	if change != nil {
		change(&o)
	}
	tap, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(tap.Handler(h))
	s.Config.ErrorLog = quiet()
	s.Start()
	resp, err := http.DefaultTransport.RoundTrip(req(s.URL))
	var body []byte
	if err == nil {
		body, _ = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	s.Close()
	until(t, "the handler has ended", func() bool { return tap.Stats().Queued == 1 })
	if err := tap.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	records := f.records(t)
	if len(records) != 1 {
		t.Fatalf("the tap got %d records, want 1", len(records))
	}
	return resp, string(body), records[0]
}

func get(path string) func(string) *http.Request {
	return func(url string) *http.Request {
		r, _ := http.NewRequest(http.MethodGet, url+path, nil)
		return r
	}
}

func post(body io.Reader) func(string) *http.Request {
	return func(url string) *http.Request {
		r, _ := http.NewRequest(http.MethodPost, url+"/cart?x=1", body)
		r.Header.Set("Content-Type", "application/json")
		r.Header["X-Twice"] = []string{"1", "2"}
		return r
	}
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestACopyHasTheWholeExchange(t *testing.T) {
	before := time.Now()
	resp, body, x := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got, _ := io.ReadAll(r.Body)
		r.Header.Set("X-Twice", "changed by the handler")
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Trailer", "X-Sum")
		w.WriteHeader(http.StatusCreated)
		w.Header().Set("X-Late", "not sent")
		fmt.Fprintf(w, `{"got":%q}`, got)
		w.Header().Set("X-Sum", "abc")
		w.Header().Set(http.TrailerPrefix+"X-More", "def")
	}, post(strings.NewReader(`{"n":1}`)), nil)
	equal(t, "status", resp.StatusCode, http.StatusCreated)
	equal(t, "body", body, `{"got":"{\"n\":1}"}`)
	equal(t, "trailer", resp.Trailer.Get("X-Sum"), "abc")
	equal(t, "line", x.Request.Method+" "+x.Request.Target+" "+x.Request.Protocol, "POST /cart?x=1 HTTP/1.1")
	equal(t, "scheme", x.Request.Scheme, "http")
	equal(t, "host", header(x.Request.Headers, "Host"), x.Request.Authority)
	equal(t, "request header", header(x.Request.Headers, "X-Twice"), "1")
	equal(t, "request body", x.Request.Body, `{"n":1}`)
	equal(t, "request size", x.Request.BodySize, 7)
	equal(t, "recorded status", x.Response.Status, http.StatusCreated)
	equal(t, "recorded body", x.Response.Body, body)
	equal(t, "recorded type", header(x.Response.Headers, "Content-Type"), "application/json")
	equal(t, "late header", header(x.Response.Headers, "X-Late"), "")
	equal(t, "recorded trailer", header(x.Response.Trailers, "X-Sum")+header(x.Response.Trailers, "X-More"), "abcdef")
	equal(t, "flags", x.flags(), "")
	if x.Time.Before(before.Add(-time.Second)) || x.Response.TTFB <= 0 || x.Response.Duration < x.Response.TTFB || x.Client == "" {
		t.Errorf("times or client are wrong: %+v", x)
	}
}

func TestFlagsTellWhatIsNotThere(t *testing.T) {
	long := strings.Repeat("x", 300)
	for name, row := range map[string]struct {
		handler http.HandlerFunc
		request func(string) *http.Request
		flags   string
		status  int // 0: no response
		sizes   string
	}{
		"nothing said": {func(http.ResponseWriter, *http.Request) {}, get("/"), "", 200, "0 0"},
		"body over the cap": {func(w http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n, long)
		}, post(strings.NewReader(long)), "TRUNCATED_REQUEST,TRUNCATED_RESPONSE", 200, "300 303"},
		"body that the handler did not read": {func(http.ResponseWriter, *http.Request) {}, post(strings.NewReader("abc")), "TRUNCATED_REQUEST", 200, "3 0"},
		"chunked body that it did not read":  {func(http.ResponseWriter, *http.Request) {}, post(io.MultiReader(strings.NewReader("abc"))), "TRUNCATED_REQUEST", 200, "0 0"},
		"chunked body":                       {func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body) }, post(io.MultiReader(strings.NewReader("abc"))), "", 200, "3 0"},
		"panic before an answer":             {func(http.ResponseWriter, *http.Request) { panic("boom") }, get("/"), "NO_RESPONSE", 0, "0 0"},
		"panic within an answer": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "half")
			panic(http.ErrAbortHandler)
		}, get("/"), "TRUNCATED_RESPONSE", 200, "0 4"},
		"HEAD": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "abc") }, func(url string) *http.Request {
			r, _ := http.NewRequest(http.MethodHead, url, nil)
			return r
		}, "", 200, "0 0"},
		"early hints": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusTeapot)
		}, get("/"), "", 418, "0 0"},
		"hijacked": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
				conn.Close()
			}
		}, get("/"), "UPGRADED", 0, "0 0"},
		"no UTF-8": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Raw", "\xe9") }, get("/"), "NON_UTF8", 200, "0 0"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, x := serve(t, row.handler, row.request, nil)
			equal(t, "flags", x.flags(), row.flags)
			status, size := 0, 0
			if x.Response != nil {
				status, size = x.Response.Status, x.Response.BodySize
			}
			equal(t, "status", status, row.status)
			equal(t, "sizes", fmt.Sprint(x.Request.BodySize, size), row.sizes)
		})
	}
}

func TestAClientThatLeavesIsFlagged(t *testing.T) {
	started, left := make(chan struct{}), make(chan struct{})
	_, _, x := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		close(started)
		<-r.Context().Done()
		close(left)
	}, func(url string) *http.Request {
		ctx, cancel := context.WithCancel(context.Background())
		go func() { <-started; cancel(); <-left }()
		r, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		return r
	}, nil)
	equal(t, "flags", x.flags(), "CLIENT_ABORTED")
}

func TestBinaryBodies(t *testing.T) {
	_, _, x := serve(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body) }, post(strings.NewReader("\x00\xff")), nil)
	equal(t, "body", string(x.Request.BodyB64), "\x00\xff")
}

func TestPanicsGoThroughUnchanged(t *testing.T) {
	tap, err := New(Options{URL: newFakeTap(t).URL})
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close(context.Background())
	want := errors.New("boom")
	defer func() {
		equal[any](t, "recovered", recover(), want)
	}()
	tap.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(want) })).
		ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
}

// abilities tells what a writer can.
func abilities(w http.ResponseWriter) string {
	var b strings.Builder
	note := func(ok bool, name string) {
		if ok {
			b.WriteString(name + " ")
		}
	}
	_, ok := w.(http.Flusher)
	note(ok, "flush")
	_, ok = w.(http.Hijacker)
	note(ok, "hijack")
	_, ok = w.(io.ReaderFrom)
	note(ok, "readfrom")
	_, ok = w.(http.Pusher)
	note(ok, "push")
	_, ok = w.(io.StringWriter)
	note(ok, "string")
	return b.String()
}

func TestTheWriterHasTheAbilitiesOfTheOneBeneath(t *testing.T) {
	var got, want string
	h := func(say *string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			*say = abilities(w)
			c := http.NewResponseController(w)
			if err := errors.Join(c.SetReadDeadline(time.Now().Add(time.Hour)), c.SetWriteDeadline(time.Now().Add(time.Hour)), c.Flush()); err != nil {
				t.Error(err)
			}
		}
	}
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprint("h2 ", h2), func(t *testing.T) {
			f := newFakeTap(t)
			tap, err := New(Options{URL: f.URL})
			if err != nil {
				t.Fatal(err)
			}
			defer tap.Close(context.Background())
			for _, handler := range []http.Handler{h(&want), tap.Handler(h(&got))} {
				s := httptest.NewUnstartedServer(handler)
				s.EnableHTTP2 = h2
				s.StartTLS()
				resp, err := s.Client().Get(s.URL)
				if err != nil {
					t.Fatal(err)
				}
				equal(t, "protocol", resp.ProtoMajor == 2, h2)
				resp.Body.Close()
				s.Close()
			}
			equal(t, "abilities", got, want)
		})
	}
	tap := &Tap{}
	for _, w := range []http.ResponseWriter{
		httptest.NewRecorder(), struct{ http.ResponseWriter }{httptest.NewRecorder()},
	} {
		c := &exchange{tap: tap, w: w}
		equal(t, "abilities", strings.ReplaceAll(abilities(wrap(c, w)), "string ", ""), strings.ReplaceAll(abilities(w), "string ", ""))
	}
}

func TestReadFromSendsEverything(t *testing.T) {
	long := strings.Repeat("0123456789", 50_000)
	_, body, x := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		n, err := io.Copy(w, struct{ io.Reader }{strings.NewReader(long)})
		if n != int64(len(long)) || err != nil {
			t.Error(n, err)
		}
	}, get("/"), nil)
	equal(t, "body", body == long, true)
	equal(t, "recorded", x.Response.Body, long[:100])
	equal(t, "size", x.Response.BodySize, len(long))
}

func TestUpgradedConnectionsWork(t *testing.T) {
	f := newFakeTap(t)
	tap, err := New(Options{URL: f.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close(context.Background())
	s := httptest.NewServer(tap.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		line, _ := rw.ReadString('\n')
		_, _ = io.WriteString(conn, "echo "+line)
	})))
	defer s.Close()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\nhello\n")
	line, _ := bufio.NewReader(conn).ReadString('\n')
	equal(t, "line", line, "echo hello\n")
}
