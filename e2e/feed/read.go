// Package feed reads whole topics and fills one with made-up exchanges, for the tests, the demo and the benchmarks.
package feed

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// Records calls each for every record that is in a topic now, partition by partition.
func Records(ctx context.Context, brokers, name string, each func(*topic.Record) error) error {
	cfg := topic.Config{Brokers: []string{brokers}, ClientID: "reprise-e2e"}
	admin, err := topic.NewAdmin(cfg)
	if err != nil {
		return err
	}
	defer admin.Close()
	infos, err := admin.Describe(ctx, name)
	if err != nil {
		return err
	}
	from, to := make(map[int32]int64), make(map[int32]int64)
	for _, p := range infos[0].Partitions {
		if p.Start < p.End {
			from[p.ID], to[p.ID] = p.Start, p.End
		}
	}
	if len(from) == 0 {
		return nil
	}
	r, err := topic.NewAssignReader(topic.AssignConfig{Config: cfg, Topic: name, From: from, To: to})
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		batch, err := r.Poll(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		batch.Each(func(rec *topic.Record) {
			if err == nil {
				err = each(rec)
			}
		})
		if err != nil {
			return err
		}
	}
}

// Exchanges calls each for every exchange in a topic; one that cannot be read is an error.
func Exchanges(ctx context.Context, brokers, name string, each func(*topic.Record, *traffic.Exchange) error) error {
	var decoder traffic.Decoder
	return Records(ctx, brokers, name, func(r *topic.Record) error {
		x := new(traffic.Exchange)
		if err := decoder.Decode(r.Value, x); err != nil {
			return fmt.Errorf("%s partition %d offset %d: %w", r.Topic, r.Partition, r.Offset, err)
		}
		return each(r, x)
	})
}

// Count is how many records there are in a topic now, by its offsets.
func Count(ctx context.Context, brokers, name string) (int64, error) {
	admin, err := topic.NewAdmin(topic.Config{Brokers: []string{brokers}})
	if err != nil {
		return 0, err
	}
	defer admin.Close()
	infos, err := admin.Describe(ctx, name)
	if err != nil {
		return 0, err
	}
	var n int64
	for _, p := range infos[0].Partitions {
		n += p.End - p.Start
	}
	return n, nil
}
