package nethttp

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

func newTap(t testing.TB, o Options) *Tap {
	t.Helper()
	tap, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tap.Close(context.Background()) })
	return tap
}

// gone is an address where nobody listens.
func gone(t testing.TB) string {
	t.Helper()
	s := httptest.NewServer(nil)
	s.Close()
	return s.URL
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

var ok = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })

func TestBadOptionsAreRefused(t *testing.T) {
	for _, url := range []string{"", "127.0.0.1:8090", "ftp://a", "http://", "http://a b"} {
		if _, err := New(Options{URL: url}); err == nil {
			t.Errorf("URL %q was taken", url)
		}
	}
}

func TestMarkedAndUnsampledRequestsAreNotCopied(t *testing.T) {
	f := newFakeTap(t)
	tap := newTap(t, Options{URL: f.URL, Token: "secret", Sample: func(r *http.Request) bool { return r.URL.Path == "/yes" }})
	h := tap.Handler(ok)
	for _, path := range []string{"/yes", "/no", "/marked"} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		if path == "/marked" {
			r.Header.Set("reprise-replay", "run;loop=0;clone=0")
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		equal(t, "body", w.Body.String(), "ok")
	}
	if err := tap.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	equal(t, "stats", tap.Stats(), Stats{Seen: 3, SampledOut: 1, Marked: 1, Queued: 1, Accepted: 1})
	equal(t, "token", f.token, "Bearer secret")
	equal(t, "target", f.records(t)[0].Request.Target, "/yes")
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/yes", nil))
	equal(t, "after Close", tap.Stats().Unreachable, 1)
}

func TestAFullQueueDropsAndCountsAndNobodyWaits(t *testing.T) {
	f := newFakeTap(t)
	f.waiting = make(chan struct{})
	tap := newTap(t, Options{URL: f.URL, QueueBytes: 10_000, Linger: time.Microsecond, Timeout: time.Minute})
	h := tap.Handler(ok)
	for range 500 {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	}
	close(f.waiting)
	f.mu.Lock()
	f.waiting = nil
	f.mu.Unlock()
	if err := tap.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	s := tap.Stats()
	equal(t, "seen", s.Seen, s.Full+s.Queued)
	equal(t, "queued", s.Queued, s.Accepted)
	if s.Full == 0 || s.Queued == 0 {
		t.Errorf("stats %+v", s)
	}
	equal(t, "records", uint64(len(f.records(t))), s.Accepted)
}

func TestWithoutATapNothingIsCopiedUntilItIsBack(t *testing.T) {
	f := newFakeTap(t)
	f.refuse = true
	var mu sync.Mutex
	var told []error
	tap := newTap(t, Options{URL: f.URL, Linger: time.Microsecond, OnError: func(err error) {
		mu.Lock()
		told = append(told, err)
		mu.Unlock()
	}})
	h := tap.Handler(ok)
	send := func() { h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)) }
	send()
	until(t, "the tap is found gone", func() bool { return !tap.open.Load() })
	send()
	equal(t, "unreachable", tap.Stats().Unreachable, 1)
	f.mu.Lock()
	f.refuse = false
	f.mu.Unlock()
	until(t, "the tap is found again", tap.open.Load)
	send()
	until(t, "a copy arrives", func() bool { return tap.Stats().Accepted == 1 })
	mu.Lock()
	defer mu.Unlock()
	equal(t, "errors told", len(told), 1)
	equal(t, "failed", tap.Stats().Failed, 1)
}

func TestCloseGivesUpWithItsContext(t *testing.T) {
	f := newFakeTap(t)
	f.waiting = make(chan struct{})
	defer close(f.waiting)
	tap := newTap(t, Options{URL: f.URL, Timeout: time.Hour, Linger: time.Microsecond})
	tap.Handler(ok).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := tap.Close(ctx); err == nil || !strings.Contains(err.Error(), "1 copies did not reach") {
		t.Errorf("got %v", err)
	}
}

func TestManyAtATime(t *testing.T) {
	f := newFakeTap(t)
	tap := newTap(t, Options{URL: f.URL, Linger: time.Millisecond})
	s := httptest.NewServer(tap.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })))
	defer s.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 50 {
				resp, err := http.Post(s.URL, "text/plain", strings.NewReader("hello"))
				if err != nil {
					t.Error(err)
					return
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				equal(t, "body", string(body), "hello")
			}
		}()
	}
	wg.Wait()
	s.Close()
	if err := tap.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	records := f.records(t)
	equal(t, "records", len(records), 400)
	for _, x := range records {
		equal(t, "bodies", x.Request.Body+x.Response.Body, "hellohello")
	}
}

func TestABodyThatIsReadAfterTheHandlerIsNobodyElses(t *testing.T) {
	f := newFakeTap(t)
	tap := newTap(t, Options{URL: f.URL, Linger: time.Millisecond})
	release, late := make(chan struct{}), make(chan struct{})
	first := tap.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := r.Body
		go func() {
			defer close(late)
			<-release
			_, _ = io.ReadAll(body)
		}()
	}))
	first.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", io.MultiReader(strings.NewReader("late"))))
	close(release)
	tap.Handler(ok).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", strings.NewReader("")))
	<-late
	if err := tap.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, x := range f.records(t) {
		equal(t, "body", x.Request.Body, "")
	}
}

func TestBatchesAreCutBetweenLines(t *testing.T) {
	line := strings.Repeat("x", 300_000) + "\n"
	queue := []byte(strings.Repeat(line, 5) + strings.Repeat("y", 3*maxBatch) + "\n" + "z\n")
	var sizes []int
	for len(queue) > 0 {
		var batch []byte
		if batch, queue = cut(queue); batch[len(batch)-1] != '\n' {
			t.Fatal("a batch ends within a line")
		}
		sizes = append(sizes, len(batch))
	}
	equal(t, "batches", len(sizes), 4)
}

// nowhere is a writer that costs nothing.
type nowhere struct{ h http.Header }

func (n nowhere) Header() http.Header         { return n.h }
func (n nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n nowhere) WriteHeader(int)             {}

func typical() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/items/42?ref=home", nil)
	for name, value := range map[string]string{
		"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Accept": "text/html,*/*;q=0.8",
		"Accept-Language": "en-US,en;q=0.5", "Accept-Encoding": "gzip, deflate, br", "Cookie": "sid=0123456789abcdef0123456789abcdef",
	} {
		r.Header.Set(name, value)
	}
	return r
}

func lost(t testing.TB) *Tap {
	tap := newTap(t, Options{URL: gone(t), Linger: time.Microsecond})
	tap.Handler(ok).ServeHTTP(httptest.NewRecorder(), typical())
	until(t, "the tap is found gone", func() bool { return !tap.open.Load() })
	return tap
}

func TestARequestCostsFewAllocations(t *testing.T) {
	body := []byte("ok")
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
	w, r := nowhere{http.Header{"Content-Type": {"text/plain"}}}, typical()
	plain := testing.AllocsPerRun(1000, func() { handler.ServeHTTP(w, r) })
	without := lost(t).Handler(handler)
	if got := testing.AllocsPerRun(1000, func() { without.ServeHTTP(w, r) }) - plain; got > 0 {
		t.Errorf("%v allocations a request without a tap, want none", got)
	}
	full := newTap(t, Options{URL: newFakeTap(t).URL, QueueBytes: 1}).Handler(handler)
	if got := testing.AllocsPerRun(1000, func() { full.ServeHTTP(w, r) }) - plain; got > 3 && !raceEnabled {
		t.Errorf("%v allocations a request that finds the queue full, want 3 at most", got)
	}
}

func BenchmarkWithoutATap(b *testing.B) {
	h := lost(b).Handler(ok)
	w, r := nowhere{http.Header{"Content-Type": {"text/plain"}}}, typical()
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}

func BenchmarkQueueFull(b *testing.B) {
	h := newTap(b, Options{URL: newFakeTap(b).URL, QueueBytes: 1}).Handler(ok)
	w, r := nowhere{http.Header{"Content-Type": {"text/plain"}}}, typical()
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}

func BenchmarkCopied(b *testing.B) {
	h := newTap(b, Options{URL: newFakeTap(b).URL, QueueBytes: 64 << 20, Linger: 10 * time.Millisecond}).Handler(ok)
	w, r := nowhere{http.Header{"Content-Type": {"text/plain"}}}, typical()
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}
