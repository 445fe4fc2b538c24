package topic

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// misfit is how a topic that others made differs from its spec in a way that costs something.
type misfit struct {
	setting string // as it is: "cleanup.policy=compact"
	cost    string
	try     string
}

// settings returns a topic's settings in force, nil when they cannot be had: not everyone may ask.
func (a *Admin) settings(ctx context.Context, topic string) map[string]string {
	resources, err := a.adm.DescribeTopicConfigs(ctx, topic)
	if err != nil || len(resources) != 1 || resources[0].Err != nil {
		return nil
	}
	has := make(map[string]string, len(resources[0].Configs))
	for _, c := range resources[0].Configs {
		has[c.Key] = c.MaybeValue()
	}
	return has
}

// misfits compares a topic that is there with its spec. Settings that only keep it for a shorter or longer time are its owner's choice.
func (a *Admin) misfits(ctx context.Context, s Spec, has map[string]string) (all []misfit) {
	set := func(key, to string) string {
		return fmt.Sprintf("kafka-configs.sh %s --alter --topic %s --add-config %s=%s", a.cfg.adminAt(), s.Name, key, to)
	}
	const policy, maxBytes = "cleanup.policy", "max.message.bytes"
	compacts := strings.Contains(has[policy], "compact")
	if s.Config[policy] == "compact" {
		if meta, err := a.adm.Metadata(ctx, s.Name); err == nil && meta.Topics[s.Name].Err == nil && len(meta.Topics[s.Name].Partitions) > 1 {
			all = append(all, misfit{
				fmt.Sprintf("%d partitions", len(meta.Topics[s.Name].Partitions)),
				"commands (tap set) and replays do not work: there is no order between partitions",
				"delete the topic and start a tap: it is created with one",
			})
		}
		if bound := retentionOf(has); bound != "" && (!compacts || strings.Contains(has[policy], "delete")) {
			all = append(all, misfit{
				policy + "=" + has[policy] + ", " + bound, "commands (tap set) and runs are forgotten when their records are that old or that many",
				set(policy, "compact"),
			})
		}
	} else if compacts {
		all = append(all, misfit{
			policy + "=" + has[policy], "of each session only the newest record is kept, and what has no session nor connection is refused", set(policy, "delete"),
		})
	}
	wanted, most := wholeNumber(s.Config[maxBytes]), wholeNumber(has[maxBytes])
	if most > 0 && most < wanted {
		all = append(all, misfit{maxBytes + "=" + has[maxBytes], "what is larger when compressed is dropped and counted (too_large)", set(maxBytes, s.Config[maxBytes])})
	}
	oldest := wholeNumber(has[timestampBefore])
	if oldest > 0 && oldest < retention.Milliseconds() && s.Config[timestampBefore] != "" && has["message.timestamp.type"] == "CreateTime" {
		all = append(all, misfit{
			timestampBefore + "=" + has[timestampBefore],
			"records older than " + (time.Duration(oldest) * time.Millisecond).String() + " are refused: those of a spool that is sent later", set(timestampBefore, s.Config[timestampBefore]),
		})
	}
	return all
}

// retentionOf names the bounds of a topic that deletes; empty: there are none.
func retentionOf(has map[string]string) string {
	var bounds []string
	for _, key := range []string{"retention.ms", "retention.bytes"} {
		if wholeNumber(has[key]) > 0 {
			bounds = append(bounds, key+"="+has[key])
		}
	}
	return strings.Join(bounds, ", ")
}

// wholeNumber is 0 for what is none.
func wholeNumber(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}
