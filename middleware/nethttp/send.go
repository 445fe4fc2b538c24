package nethttp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// The times between two questions whether the tap is back.
const (
	minBackoff = time.Second
	maxBackoff = 15 * time.Second
)

// send is the one goroutine of a Tap.
func (t *Tap) send(ctx context.Context) {
	defer close(t.done)
	var other []byte
	for {
		quit := false
		select {
		case <-t.wake:
			quit = t.pause(t.options.Linger)
		case <-t.quit:
			quit = true
		}
		queue, lines := t.take(other)
		err := t.sendAll(ctx, queue, lines)
		t.taken()
		if other = queue; cap(other) > maxBatch {
			other = nil // a burst's buffer is not kept for ever
		}
		switch {
		case quit:
			return
		case err != nil && !t.wait(ctx):
			queue, lines = t.take(nil)
			_ = t.sendAll(ctx, queue, lines)
			return
		}
	}
}

// pause waits for company; it reports that Close was called.
func (t *Tap) pause(d time.Duration) (quit bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return false
	case <-t.quit:
		return true
	}
}

// wait takes no copies until the tap answers again. It reports false when Close was called first.
func (t *Tap) wait(ctx context.Context) bool {
	t.open.Store(false)
	for backoff := minBackoff; ; backoff = min(2*backoff, maxBackoff) {
		if t.pause(backoff) {
			return false
		}
		if t.isThere(ctx) {
			break
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open.Store(!t.closed)
	return true
}

func (t *Tap) isThere(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, t.options.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.health, nil)
	if err != nil {
		return false
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 4096))
	return resp.StatusCode == http.StatusOK
}

// sendAll sends the lines in batches. After the first that does not get through, the others are lost too: the tap is gone.
func (t *Tap) sendAll(ctx context.Context, queue []byte, lines int) error {
	for len(queue) > 0 {
		var batch []byte
		batch, queue = cut(queue)
		n := bytes.Count(batch, []byte("\n"))
		got, err := t.sendOne(ctx, batch)
		if err != nil {
			t.counts.failed.Add(uint64(lines))
			t.options.OnError(fmt.Errorf("nethttp: %d copies lost: %w", lines, err))
			return err
		}
		lines -= n
		accounted := got.Accepted + got.Rejected + got.Shed + got.Marked
		t.counts.accepted.Add(uint64(got.Accepted))
		t.counts.rejected.Add(uint64(got.Rejected + got.Marked))
		t.counts.shed.Add(uint64(got.Shed))
		t.counts.failed.Add(uint64(max(n-accounted, 0)))
		if got.Rejected > 0 && len(got.Errors) > 0 {
			t.options.OnError(fmt.Errorf("nethttp: the tap rejected %d of %d copies: %s", got.Rejected, n, got.Errors[0].Error))
		}
	}
	return nil
}

// reply is the tap's answer.
type reply struct {
	Accepted, Rejected, Shed, Marked int
	Errors                           []struct{ Error string }
}

func (t *Tap) sendOne(ctx context.Context, batch []byte) (got reply, err error) {
	ctx, cancel := context.WithTimeout(ctx, t.options.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.post, bytes.NewReader(batch))
	if err != nil {
		return got, err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	if t.options.Token != "" {
		req.Header.Set("Authorization", "Bearer "+t.options.Token)
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return got, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return got, err
	}
	if json.Unmarshal(text, &got) != nil || resp.StatusCode != http.StatusAccepted && resp.StatusCode != http.StatusBadRequest {
		return got, fmt.Errorf("%w: the tap answered %s", errRefused, resp.Status)
	}
	return got, nil
}
