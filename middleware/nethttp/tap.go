// Package nethttp copies the requests and responses of an http.Handler to a tap of Reprise (tap ingest), which redacts
// them and stores them in Kafka. It needs the standard library only.
//
// The handler comes first. A Tap never blocks it, never changes what it sees or answers, and never fails it: copies wait
// in a queue that is bounded in bytes, and what does not fit is dropped and counted. While the tap cannot be reached
// nothing is copied at all.
package nethttp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options of a Tap. URL is required.
type Options struct {
	URL    string                   // of tap ingest, such as http://127.0.0.1:8090
	Token  string                   // that the tap asks for (its --token); "": none
	Sample func(*http.Request) bool // which requests are copied; nil: all

	BodyMax    int           // bytes copied of each body; 0: 64 KiB, below 0: none
	QueueBytes int           // what waits and what is on its way, in bytes; 0: 8 MiB
	Linger     time.Duration // how long copies wait for company; 0: 100 ms
	Timeout    time.Duration // of sending one batch; 0: 5 s

	Transport http.RoundTripper // to the tap; nil: one of its own, without a proxy
	OnError   func(error)       // told when the tap cannot be reached or refuses a batch; not for every request. nil: nobody
}

// The defaults of Options.
const (
	defaultBodyMax = 64 << 10
	defaultQueue   = 8 << 20
	defaultLinger  = 100 * time.Millisecond
	defaultTimeout = 5 * time.Second
)

// Stats are totals since New. Seen = SampledOut + Marked + Unreachable + Full + Queued, and in the end
// Queued = Accepted + Rejected + Shed + Failed.
type Stats struct {
	Seen        uint64 // requests that came
	SampledOut  uint64 // by Options.Sample
	Marked      uint64 // that a replayer sent: never copied
	Unreachable uint64 // while the tap could not be reached
	Full        uint64 // for which the queue had no room
	Queued      uint64

	Accepted uint64 // by the tap
	Rejected uint64 // by the tap: they could not be read
	Shed     uint64 // by the tap: it had no room
	Failed   uint64 // lost on the way
}

// Tap copies what its handlers see. It is safe for concurrent use.
type Tap struct {
	options Options
	post    string // where to
	health  string
	client  *http.Client

	open    atomic.Bool  // copies are taken: the tap answers, and Close was not called
	used    atomic.Int64 // bytes in the queue and on their way
	counts  counters
	scratch sync.Pool // of *scratch

	mu      sync.Mutex
	queue   []byte // lines of JSON
	lines   int
	sending int // bytes on their way
	closed  bool

	wake chan struct{} // there is something in the queue
	quit chan struct{}
	done chan struct{} // the sender has ended
	stop context.CancelFunc
}

type counters struct {
	seen, sampledOut, marked, unreachable, full, queued atomic.Uint64
	accepted, rejected, shed, failed                    atomic.Uint64
}

// New starts a Tap; Close ends it. The tap need not be there yet. An error is about the options.
func New(o Options) (*Tap, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("nethttp: URL %q: want http://HOST:PORT of a tap ingest", o.URL)
	}
	if o.BodyMax == 0 {
		o.BodyMax = defaultBodyMax
	}
	o.BodyMax = max(o.BodyMax, 0)
	if o.QueueBytes <= 0 {
		o.QueueBytes = defaultQueue
	}
	if o.Linger <= 0 {
		o.Linger = defaultLinger
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Transport == nil {
		o.Transport = &http.Transport{MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: o.Timeout}
	}
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
	base := strings.TrimSuffix(o.URL, "/")
	ctx, stop := context.WithCancel(context.Background())
	t := &Tap{
		options: o, post: base + "/v1/exchanges", health: base + "/healthz", stop: stop,
		client: &http.Client{Transport: o.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		wake:   make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	t.scratch.New = func() any { return new(scratch) }
	t.open.Store(true)
	go t.send(ctx)
	return t, nil
}

// Stats returns the totals so far.
func (t *Tap) Stats() Stats {
	c := &t.counts
	return Stats{
		Seen: c.seen.Load(), SampledOut: c.sampledOut.Load(), Marked: c.marked.Load(), Unreachable: c.unreachable.Load(),
		Full: c.full.Load(), Queued: c.queued.Load(),
		Accepted: c.accepted.Load(), Rejected: c.rejected.Load(), Shed: c.shed.Load(), Failed: c.failed.Load(),
	}
}

// Close sends what is queued, as long as ctx lasts, and ends the Tap. Its handlers go on without it. The error tells that
// something was lost. It may be called more than once.
func (t *Tap) Close(ctx context.Context) error {
	t.mu.Lock()
	if !t.closed {
		t.closed = true
		t.open.Store(false)
		close(t.quit)
	}
	t.mu.Unlock()
	select {
	case <-t.done:
	case <-ctx.Done():
		t.stop() // the sender gives up what is left
		<-t.done
	}
	t.stop()
	t.client.CloseIdleConnections()
	if n := t.counts.failed.Load(); n > 0 {
		return fmt.Errorf("nethttp: %d copies did not reach the tap at %s", n, t.options.URL)
	}
	return nil
}

// put queues one line of JSON, or drops it.
func (t *Tap) put(line []byte) {
	t.mu.Lock()
	fits := !t.closed && len(t.queue)+t.sending+len(line) <= t.options.QueueBytes
	if fits {
		t.queue = append(t.queue, line...)
		t.lines++
		t.used.Add(int64(len(line)))
	}
	t.mu.Unlock()
	if !fits {
		t.counts.full.Add(1)
		return
	}
	t.counts.queued.Add(1)
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// take empties the queue and gives it the other buffer.
func (t *Tap) take(other []byte) (queue []byte, lines int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	queue, lines = t.queue, t.lines
	t.queue, t.lines, t.sending = other[:0], 0, len(queue)
	return queue, lines
}

func (t *Tap) taken() {
	t.mu.Lock()
	t.used.Add(-int64(t.sending))
	t.sending = 0
	t.mu.Unlock()
}

// isFull reports that the queue is so full that a copy is not worth making.
func (t *Tap) isFull() bool { return t.used.Load() > int64(t.options.QueueBytes)/8*7 }

var errRefused = errors.New("refused")

// maxBatch bounds one request to the tap in bytes, but for a line that is longer.
const maxBatch = 1 << 20

// cut returns the first lines of the queue.
func cut(queue []byte) (batch, rest []byte) {
	if len(queue) <= maxBatch {
		return queue, nil
	}
	end := bytes.LastIndexByte(queue[:maxBatch], '\n')
	if end < 0 {
		end = maxBatch + bytes.IndexByte(queue[maxBatch:], '\n')
	}
	return queue[:end+1], queue[end+1:]
}
