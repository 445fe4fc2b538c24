package topic

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/reprise-io/reprise/internal/fault"
)

// Ensure creates the topics that are missing, with the settings of their specs, and waits until each has its leaders.
// Existing ones are used as they are.
func (a *Admin) Ensure(ctx context.Context, specs []Spec) error {
	_, err := call(ctx, a, adminTimeout, "create topics", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, a.ensure(ctx, specs)
	})
	return err
}

func (a *Admin) ensure(ctx context.Context, specs []Spec) error {
	if len(specs) == 0 {
		return nil
	}
	meta, err := a.adm.Metadata(ctx, names(specs)...)
	if err != nil {
		return err
	}
	created := false
	for _, s := range specs {
		switch err := meta.Topics[s.Name].Err; {
		case isUnknownTopic(err):
			if err := a.create(ctx, s, len(meta.Brokers)); err != nil {
				return err
			}
			created = true
		case err != nil && !kerr.IsRetriable(err):
			return fmt.Errorf("topic %s: %w", s.Name, err)
		}
	}
	if created {
		return a.settled(ctx, specs)
	}
	return nil
}

func (a *Admin) create(ctx context.Context, s Spec, brokers int) error {
	replication := s.Replication
	if replication <= 0 {
		replication = int16(max(1, min(3, brokers)))
	}
	settings := maps.Clone(s.Config)
	if settings == nil {
		settings = make(map[string]string)
	}
	if _, ok := settings["min.insync.replicas"]; !ok && replication >= 3 {
		settings["min.insync.replicas"] = "2"
	}
	err := a.createWith(ctx, s, replication, settings)
	if _, given := settings[timestampBefore]; given && errors.Is(err, kerr.InvalidConfig) {
		delete(settings, timestampBefore)
		err = a.createWith(ctx, s, replication, settings)
	}
	switch {
	case err == nil:
		a.cfg.logger().Info("kafka topic created", "topic", s.Name, "partitions", s.Partitions, "replication", replication)
		return nil
	case errors.Is(err, kerr.TopicAlreadyExists): // another tap was quicker
		return nil
	case unreachable(err) || kerr.IsRetriable(err):
		return err
	default:
		return &fault.Error{
			What:  fmt.Sprintf("cannot create topic %q on %s", s.Name, a.cfg.at()),
			Cause: err.Error(),
			Try: fmt.Sprintf("create it beforehand: kafka-topics.sh --bootstrap-server %s --create --topic %s --partitions %d --replication-factor %d",
				a.cfg.Brokers[0], s.Name, s.Partitions, replication),
			Err: err,
		}
	}
}

func (a *Admin) createWith(ctx context.Context, s Spec, replication int16, settings map[string]string) error {
	values := make(map[string]*string, len(settings))
	for k, v := range settings {
		values[k] = kadm.StringPtr(v)
	}
	resp, err := a.adm.CreateTopic(ctx, s.Partitions, replication, values, s.Name)
	if err != nil && resp.ErrMessage != "" && !strings.Contains(err.Error(), resp.ErrMessage) {
		return fmt.Errorf("%w: %s", err, resp.ErrMessage)
	}
	return err
}

// settled waits until every partition of the topics has a leader: an answer to creation comes before that.
func (a *Admin) settled(ctx context.Context, specs []Spec) error {
	for {
		meta, err := a.adm.Metadata(ctx, names(specs)...)
		if err != nil {
			return err
		}
		if meta.Topics.Error() == nil && allLed(meta.Topics) {
			return nil
		}
		if !sleep(ctx, 50*time.Millisecond) {
			return fmt.Errorf("new topics have no leaders yet: %w", ctx.Err())
		}
	}
}

func allLed(topics kadm.TopicDetails) bool {
	for _, t := range topics {
		if t.Err != nil || len(t.Partitions) == 0 {
			return false
		}
		for _, p := range t.Partitions {
			if p.Err != nil || p.Leader < 0 {
				return false
			}
		}
	}
	return true
}

func names(specs []Spec) []string {
	out := make([]string, len(specs))
	for i, s := range specs {
		out[i] = s.Name
	}
	return out
}
