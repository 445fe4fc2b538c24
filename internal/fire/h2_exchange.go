package fire

import (
	"errors"
	"os"
	"time"
)

// overHTTP2 is attempt by way of HTTP/2. What the target says it has not looked at is sent again, and so is, as over
// HTTP/1.1, what a kept connection lost before a byte of the answer came if that is idempotent: once. declined: the target
// chose HTTP/1.1 for what may go over either.
func (s *Sender) overHTTP2(f *flight, deadline time.Time) (fail *failure, declined bool) {
	st := f.shot.stream
	f.shot.stream = nil
	for again := false; ; again = true {
		if st == nil {
			var err error
			if st, err = s.h2.get(f, deadline); err != nil {
				return connectFailure(f.Context, err), errors.Is(err, errNoHTTP2)
			}
		}
		err := s.await(f, st, deadline)
		kept, started, refused := st.kept, st.started, st.refused
		s.h2.put(st)
		if err == nil {
			return nil, false
		}
		st, fail = nil, exchangeFailure(f.Context, err)
		if again || !refused && (!kept || started || !f.shot.idempotent || !fail.connection()) {
			return fail, false
		}
		f.resent++
		s.resent.Add(1)
	}
}

// await sees a stream through: sends the rest of its body as the peer takes it, and waits for the end. The stream is over
// when it returns, and the answer in the flight if there is no error.
func (s *Sender) await(f *flight, st *stream, deadline time.Time) error {
	c := st.conn
	f.setTimer(deadline)
	for {
		c.mu.Lock()
		if !st.over {
			c.push(st)
			c.flush()
		}
		over := st.over
		c.mu.Unlock()
		if over {
			break
		}
		if err := f.awaitNews(st.news); err != nil {
			c.cancel(st, errors.Is(err, os.ErrDeadlineExceeded))
			f.note(st.start)
			return err
		}
	}
	f.note(st.start)
	if st.err != nil {
		return st.err
	}
	answer := st.response
	answer.TTFB, answer.Duration = st.ttfb, st.took
	f.answer, f.cut = &answer, int64(len(answer.Body)) < answer.BodySize
	return nil
}

// note keeps the moment of the first attempt that wrote something.
func (f *flight) note(start time.Time) {
	if f.fired.IsZero() {
		f.fired = start
	}
}

// setTimer makes awaitNews and awaitPlace end at deadline.
func (f *flight) setTimer(deadline time.Time) {
	if f.timer == nil {
		f.timer = time.NewTimer(time.Until(deadline))
	} else {
		f.timer.Reset(time.Until(deadline))
	}
}

// awaitNews waits for a token of news, the end of the timer, or that of the context.
func (f *flight) awaitNews(news <-chan struct{}) error {
	select {
	case <-news:
		return nil
	case <-f.timer.C:
		return os.ErrDeadlineExceeded
	case <-f.Done():
		return f.Err()
	}
}

// awaitPlace is awaitNews for a place to put a token into.
func (f *flight) awaitPlace(places chan<- struct{}) error {
	select {
	case places <- struct{}{}:
		return nil
	case <-f.timer.C:
		return os.ErrDeadlineExceeded
	case <-f.Done():
		return f.Err()
	}
}
