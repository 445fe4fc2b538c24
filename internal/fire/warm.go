package fire

import (
	"context"
	"time"
)

// Warm opens connections of HTTP/1.1, one after the other, until there are n, so that the first shots find them idle. What does not work is
// left to the shots, and what the target closes before they come too. Of HTTP/2 one connection is enough for all.
func (s *Sender) Warm(ctx context.Context, n int) {
	if s.cfg.Protocol == OnlyHTTP2 {
		return
	}
	for ctx.Err() == nil && s.pool.reserve(n) {
		c, fail := s.fresh(ctx, time.Now().Add(s.cfg.Timeout))
		if fail != nil {
			return
		}
		s.finish(c, true)
	}
}
