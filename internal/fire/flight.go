package fire

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/reprise-io/reprise/internal/traffic"
)

const readBuffer = 16 << 10

// flight is one call of Fire on its way through the retrying client. It is the request's context as well, by which the
// RoundTripper and the policy find it: the client itself sees no more of the answer than its status and Retry-After.
// Flights are used again, so that a shot allocates nothing but its answer.
type flight struct {
	context.Context // the caller's
	retry           retryablehttp.Request
	request         *http.Request
	response        http.Response
	buf             []byte
	timer           *time.Timer // for HTTP/2; nil: not used yet

	shot     *Shot
	watch    *watch
	answer   *traffic.Response
	cut      bool // the answer's body was longer than what is kept
	fired    time.Time
	began    time.Time // of what Begin has written; zero: nothing
	begun    int       // bytes of it
	attempts int
	resent   int
	failure  *failure
}

type flightKey struct{}

// Value gives the flight itself for flightKey.
func (f *flight) Value(key any) any {
	if _, ok := key.(flightKey); ok {
		return f
	}
	return f.Context.Value(key)
}

func newFlight(target *url.URL) *flight {
	f := &flight{Context: context.Background(), buf: make([]byte, readBuffer)}
	f.request = (&http.Request{URL: target, Header: http.Header{}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).
		WithContext(f)
	f.response = http.Response{
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody, Header: http.Header{},
	}
	return f
}

// begin readies a flight for a shot.
func (f *flight) begin(ctx context.Context, shot *Shot, w *watch) {
	f.Context, f.shot, f.watch = ctx, shot, w
	f.retry.Request = f.request
	f.request.Method = shot.method
}

// end forgets everything that is the caller's.
func (f *flight) end() {
	f.Context, f.shot, f.watch, f.answer, f.failure = context.Background(), nil, nil, nil, nil
	f.cut, f.fired, f.attempts, f.resent = false, time.Time{}, 0, 0
	f.began, f.begun = time.Time{}, 0
	if f.timer != nil {
		f.timer.Stop()
	}
}

// shots keeps the memory of shots. Large ones are left to the garbage collector.
type shots struct{ pool sync.Pool }

const largestKeptShot = 64 << 10

func (s *shots) get() *Shot {
	if shot, ok := s.pool.Get().(*Shot); ok {
		return shot
	}
	return &Shot{bytes: make([]byte, 0, 2048)}
}

func (s *shots) put(shot *Shot) {
	if shot.Size() <= largestKeptShot {
		clear(shot.hop)
		s.pool.Put(shot)
	}
}
