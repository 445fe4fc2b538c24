package fire

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

const (
	shortestBackoff = 100 * time.Millisecond
	longestBackoff  = 30 * time.Second
)

// newClient returns the retrying client over our own RoundTripper. It follows no redirect, keeps no cookie, logs nothing
// and gives the last result as it is.
func (s *Sender) newClient() *retryablehttp.Client {
	return &retryablehttp.Client{
		HTTPClient: &http.Client{
			Transport:     s,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		RetryMax:     s.cfg.Retries,
		RetryWaitMin: shortestBackoff,
		RetryWaitMax: longestBackoff,
		CheckRetry:   s.checkRetry,
		Backoff:      backoff,
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
}

// checkRetry tries again what is idempotent and did not reach the target, and 429 and 503 if asked for. Retries change the
// load, which is why there are none by default.
func (s *Sender) checkRetry(ctx context.Context, resp *http.Response, err error) (bool, error) {
	f, ok := ctx.Value(flightKey{}).(*flight)
	if !ok || f.attempts > s.cfg.Retries || !f.shot.idempotent || ctx.Err() != nil {
		return false, nil
	}
	if err != nil {
		failed, ok := errors.AsType[*failure](err)
		return ok && failed.connection(), nil
	}
	return s.cfg.RetryStatus && asksToWait(resp.StatusCode), nil
}

func asksToWait(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
}

// backoff waits as long as the target asks for, else doubling times with some chance in them; at most the longest.
func backoff(shortest, longest time.Duration, attempt int, resp *http.Response) time.Duration {
	if resp != nil {
		if wait, ok := retryAfter(resp.Header.Get("Retry-After"), time.Now()); ok {
			return min(wait, longest)
		}
	}
	wait := longest
	if attempt < 16 {
		wait = min(shortest<<attempt, longest)
	}
	return wait/2 + rand.N(wait/2)
}

// retryAfter reads seconds or a date.
func retryAfter(s string, now time.Time) (time.Duration, bool) {
	if seconds, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(at.Sub(now), 0), true
	}
	return 0, false
}
