package fire

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/reprise-io/reprise/internal/traffic"
)

const (
	checkIdleAfter = 50 * time.Millisecond // what was idle for longer is looked at before it is used
	maxIdle        = 90 * time.Second      // what was idle for longer is not used
	writeAside     = 64 << 10              // a longer request is written while its answer is read
	writerPatience = 10 * time.Millisecond // for the writer of such a one to come back once the answer is there
)

// RoundTrip makes one attempt for the retrying client. The answer goes into the flight.
func (s *Sender) RoundTrip(req *http.Request) (*http.Response, error) {
	f, ok := req.Context().Value(flightKey{}).(*flight)
	if !ok {
		return nil, errors.New("fire: a request that is no shot")
	}
	if s.try(f); f.failure != nil {
		return nil, f.failure
	}
	f.response.StatusCode = f.answer.Status
	clear(f.response.Header)
	if asksToWait(f.answer.Status) {
		if v, ok := traffic.Get(f.answer.Headers, "retry-after"); ok {
			f.response.Header["Retry-After"] = []string{string(v)}
		}
	}
	return &f.response, nil
}

// try makes one attempt.
func (s *Sender) try(f *flight) {
	f.attempts++
	f.answer, f.cut = nil, false
	f.failure = s.attempt(f)
}

// Begin writes a shot's bytes now if that takes no waiting: a kept connection is idle, or has room for another stream of
// HTTP/2, and the socket takes them. Fire then only waits for the answer. It is meant for the pacing thread, whose hand-over to another thread would otherwise
// be the larger part of the delay. After true, Fire or Recycle must follow.
func (s *Sender) Begin(shot *Shot) bool {
	if s.tls != nil || shot.conn != nil || shot.stream != nil || len(shot.now()) > writeAside {
		return false
	}
	if shot.route == viaHTTP2 {
		shot.stream = s.h2.tryGet(shot)
		return shot.stream != nil
	}
	c := s.pool.tryGet()
	if c == nil {
		return false
	}
	if c.raw == nil { // no socket to write to without waiting
		s.pool.put(c)
		return false
	}
	now := time.Now()
	if !s.admit(c) || now.Sub(c.idleSince) > maxIdle {
		s.pool.leave(c)
		return false
	}
	n, ok := c.tryWrite(shot.now())
	if !ok {
		s.pool.leave(c)
		return false
	}
	shot.conn, shot.written, shot.began = c, n, now
	return true
}

// admit asks the guard again when production's addresses have changed since.
func (s *Sender) admit(c *conn) bool {
	var ok bool
	c.generation, ok = s.cfg.Guard.admits(c.remote, c.generation)
	return ok
}

// attempt sends the flight's shot. A kept connection can be closed by the target at any moment: when it fails before a
// byte of the answer has come, and the request is idempotent or not a byte of it was written, the same attempt goes on
// with a fresh connection, once.
func (s *Sender) attempt(f *flight) *failure {
	deadline := time.Now().Add(s.cfg.Timeout)
	if f.shot.route == viaHTTP2 || f.shot.route == viaEither && !s.noHTTP2.Load() {
		if fail, declined := s.overHTTP2(f, deadline); !declined {
			return fail
		}
	}
	c, fail := s.connect(f, deadline)
	if fail != nil {
		return fail
	}
	kept := c.used
	written, err := s.exchange(f, c, deadline)
	if err == nil {
		return nil
	}
	fail = exchangeFailure(f.Context, err)
	again := kept && fail.connection() && !c.answer.Started() && (f.shot.idempotent || written == 0)
	if !again {
		s.pool.leave(c)
		return fail
	}
	s.pool.drop(c)
	s.pool.flush() // they were idle for longer
	if c, fail = s.fresh(f.Context, deadline); fail != nil {
		return fail
	}
	f.resent++
	s.resent.Add(1)
	if _, err = s.exchange(f, c, deadline); err != nil {
		s.pool.leave(c)
		fail = exchangeFailure(f.Context, err)
	}
	return fail
}

// connect returns the connection Begin has used, a kept one, or a fresh one.
func (s *Sender) connect(f *flight, deadline time.Time) (*conn, *failure) {
	if c := f.shot.conn; c != nil {
		f.shot.conn, f.began, f.begun = nil, f.shot.began, f.shot.written
		f.fired = f.began
		return c, nil
	}
	for {
		c, err := s.pool.get(f.Context, deadline)
		if err != nil {
			return nil, connectFailure(f.Context, err)
		}
		if c == nil {
			return s.fresh(f.Context, deadline)
		}
		idle := time.Since(c.idleSince)
		if s.admit(c) && idle < maxIdle && (idle < checkIdleAfter || c.quiet()) {
			return c, nil
		}
		s.pool.leave(c)
	}
}

// fresh dials on a place that is taken already.
func (s *Sender) fresh(ctx context.Context, deadline time.Time) (*conn, *failure) {
	generation := s.cfg.Guard.generation()
	c, err := s.dial(ctx, deadline, viaHTTP1)
	if err != nil {
		s.pool.leave(nil)
		return nil, connectFailure(ctx, err)
	}
	s.dialed.Add(1)
	c.generation = generation
	s.pool.add(c)
	if !s.admit(c) { // what is production has changed while it was dialled
		s.pool.leave(c)
		return nil, connectFailure(ctx, s.cfg.Guard.lastRefusal())
	}
	return c, nil
}

// exchange writes the shot and reads the answer into the flight. After an error the connection is still the caller's.
func (s *Sender) exchange(f *flight, c *conn, deadline time.Time) (sent int, err error) {
	c.answer.Reset(f.shot.method, s.cfg.BodyMax)
	c.watch.Store(f.watch)
	if err := c.extend(deadline, s.cfg.Timeout); err != nil {
		return f.begun, err
	}
	if err := f.Err(); err != nil { // from here on the watch ends it
		return f.begun, err
	}
	start, written := f.began, f.begun
	f.began, f.begun = time.Time{}, 0
	if start.IsZero() {
		start = time.Now()
	}
	if f.fired.IsZero() {
		f.fired = start
	}
	have := 0
	if f.shot.expects {
		var refused bool
		if written, have, refused, err = f.ask(c, written); err != nil {
			return written, err
		}
		if refused {
			if _, err = f.read(c, start, have); err == nil {
				s.finish(c, false) // the target may still wait for the body
			}
			return written, err
		}
	}
	rest := f.shot.bytes[written:]
	if len(rest) > writeAside {
		n, err := s.exchangeLarge(f, c, rest, start, have)
		return written + n, err
	}
	if len(rest) > 0 {
		n, err := c.Write(rest)
		written += n
		if err != nil {
			return written, s.lastWords(f, c, start, err, have)
		}
	}
	reusable, err := f.read(c, start, have)
	if err == nil {
		s.finish(c, reusable)
	}
	return written, err
}

// exchangeLarge writes aside: a target that answers before it has read everything may stop reading.
func (s *Sender) exchangeLarge(f *flight, c *conn, rest []byte, start time.Time, have int) (written int, err error) {
	type result struct {
		n   int
		err error
	}
	wrote := make(chan result, 1)
	go func() {
		n, err := c.Write(rest)
		wrote <- result{n, err}
	}()
	reusable, err := f.read(c, start, have)
	patience := writerPatience
	if err != nil {
		patience = 0
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case r := <-wrote:
		if r.err != nil {
			reusable = false
		}
		written = r.n
	case <-timer.C: // answered, or failed, before all was written; or it was, and this machine has had no time to say so
		_ = c.SetWriteDeadline(time.Unix(1, 0))
		r := <-wrote
		written = r.n
		if c.deadline = (time.Time{}); r.err != nil { // the next request sets it anew
			reusable = false
		}
	}
	if err == nil {
		s.finish(c, reusable)
	}
	return written, err
}

// lastWords reads what the target may have said before it stopped reading, such as 413. writeErr is returned when that is
// no answer.
func (s *Sender) lastWords(f *flight, c *conn, start time.Time, writeErr error, have int) error {
	if timedOut(writeErr) {
		return writeErr
	}
	if _, err := f.read(c, start, have); err != nil {
		return writeErr
	}
	s.finish(c, false)
	return nil
}

func (s *Sender) finish(c *conn, reusable bool) {
	c.watch.Store(nil)
	if !reusable {
		s.pool.leave(c)
		return
	}
	c.used = true
	c.idleSince = time.Now()
	s.pool.put(c)
}

// read reads the answer, of which have bytes are in f.buf. reusable: the connection can carry another request.
func (f *flight) read(c *conn, start time.Time, have int) (reusable bool, err error) {
	var ttfb time.Duration
	for n := have; ; n = 0 {
		if n == 0 {
			n, err = c.Read(f.buf)
		}
		var used int
		var done bool
		if n > 0 {
			var bad error
			if used, done, bad = c.answer.Feed(f.buf[:n]); bad != nil {
				return false, bad
			}
			if ttfb == 0 && c.answer.HeadDone() {
				ttfb = time.Since(start)
			}
		}
		if !done && errors.Is(err, io.EOF) {
			if err = c.answer.EOF(); err == nil {
				done = true
			}
		}
		if done {
			answer := c.answer.Response
			answer.TTFB, answer.Duration = ttfb, time.Since(start)
			f.answer, f.cut = &answer, c.answer.Flags.Has(traffic.TruncatedResponse)
			// Bytes behind the answer are nobody's: they must not become the next one's.
			return c.answer.KeepAlive && !c.answer.Upgraded && used == n && err == nil, nil
		}
		if err != nil {
			return false, err
		}
	}
}
