package topic

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

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
	var created []Spec
	for _, s := range specs { // one by one, or an answer of no would not tell which of them it is about
		meta, err := a.adm.Metadata(ctx, s.Name)
		if err == nil {
			err = meta.Topics[s.Name].Err
		}
		switch {
		case isNotAuthorized(err):
			return a.cfg.denied(writeTopic(s.Name), err)
		case isUnknownTopic(err):
			if err := a.create(ctx, s, len(meta.Brokers)); err != nil {
				return err
			}
			created = append(created, s)
		case err != nil && !kerr.IsRetriable(err):
			return fmt.Errorf("topic %s: %w", s.Name, err)
		}
	}
	if len(created) > 0 {
		return a.settled(ctx, created)
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
		delete(settings, timestampAfter)
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
	}
	f := &fault.Error{
		What:  fmt.Sprintf("cannot create topic %q on %s", s.Name, a.cfg.at()),
		Cause: err.Error(),
		Try: fmt.Sprintf("create it beforehand: kafka-topics.sh %s --create --topic %s --partitions %d --replication-factor %d%s",
			a.cfg.adminAt(), s.Name, s.Partitions, replication, asOptions(settings)),
		Err: err,
	}
	if isNotAuthorized(err) {
		f.Cause = fmt.Sprintf("it is not there, and no ACL allows %s to create it (%s)", a.cfg.Security.principal(), codeOf(err))
		f.Try += "\nor let us: " + a.cfg.grant(right{"Create", "topic", s.Name})
	}
	return f
}

// asOptions are settings in the words of kafka-topics.sh, with a space before each, but for the bounds of timestamps, which older brokers do not know.
func asOptions(settings map[string]string) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		if key != timestampBefore && key != timestampAfter {
			fmt.Fprintf(&b, " --config %s=%s", key, settings[key])
		}
	}
	return b.String()
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

// partSpecs sets the topic of that name apart from the others.
func partSpecs(specs []Spec, name string) (named, others []Spec) {
	for _, s := range specs {
		if s.Name == name {
			named = append(named, s)
		} else {
			others = append(others, s)
		}
	}
	return named, others
}

// Writable makes sure that the topic is there and that we may write to it.
func (a *Admin) Writable(ctx context.Context, topic string) error {
	_, err := call(ctx, a, adminTimeout, "look at topic "+topic, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, a.writable(ctx, topic)
	})
	return err
}

// writable makes sure that the topic is there and that we may write to it, as far as the broker tells: since 2.3.
func (a *Admin) writable(ctx context.Context, topic string) error {
	meta, err := a.adm.Metadata(kadm.WithAuthorizedOps(ctx), topic)
	if err == nil {
		err = meta.Topics[topic].Err
	}
	switch allowed := meta.Topics[topic].AuthorizedOperations; {
	case isNotAuthorized(err):
		return a.cfg.denied(writeTopic(topic), err)
	case err != nil:
		return fmt.Errorf("topic %s: %w", topic, err)
	case len(allowed) > 0 && !slices.Contains(allowed, kmsg.ACLOperationWrite):
		return a.cfg.denied(writeTopic(topic), kerr.TopicAuthorizationFailed)
	}
	return nil
}
