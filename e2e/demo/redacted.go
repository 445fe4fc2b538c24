package main

import (
	"context"

	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// redactions counts the values that were replaced in what is stored, by rule.
func redactions(ctx context.Context, broker string) (map[string]int, error) {
	count := make(map[string]int)
	err := feed.Exchanges(ctx, broker, topic.NamesOf("reprise").Exchanges, func(_ *topic.Record, x *traffic.Exchange) error {
		for _, r := range x.Redactions {
			count[r.Rule]++
		}
		return nil
	})
	return count, err
}
