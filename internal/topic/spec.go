package topic

import (
	"maps"
	"math"
	"strconv"
	"time"
)

// Spec is a topic as it is created when it is missing. An existing topic is used as it is.
type Spec struct {
	Name        string
	Partitions  int32
	Replication int16             // 0: min(3, brokers)
	Config      map[string]string // Kafka's topic settings; min.insync.replicas is 2 at three replicas unless given
}

const (
	defaultPartitions = 12
	retention         = 72 * time.Hour
	retentionBytes    = 10 << 30 // of one partition

	// maxMessageBytes is Kafka's default, and more than two bodies at their cap with their headers need. It is the bound of
	// a batch, compressed: ours hold at most defaultBatchMaxBytes before compression.
	maxMessageBytes = 1_048_588

	// timestampBefore and timestampAfter are not known to brokers before 3.6, nor to the embedded one: they are left out for
	// them, and mean nothing there.
	timestampBefore = "message.timestamp.before.max.ms"
	timestampAfter  = "message.timestamp.after.max.ms" // Kafka's default is an hour: a broker whose clock is that late would refuse all
)

// ExchangesSpec is the topic of recorded exchanges. partitions 0: 12.
func ExchangesSpec(names Names, partitions int32) Spec { return records(names.Exchanges, partitions) }

// ResultsSpec is the topic of outcomes. partitions 0: 12.
func ResultsSpec(names Names, partitions int32) Spec { return records(names.Results, partitions) }

// ControlSpec is the compacted topic of runs, taps and commands: one partition, so that all read one order.
func ControlSpec(names Names) Spec {
	return Spec{Name: names.Control, Partitions: 1, Config: map[string]string{
		"cleanup.policy":         "compact",
		"retention.ms":           "-1", // a compacted topic keeps by key, never by age
		"retention.bytes":        "-1",
		"max.message.bytes":      strconv.Itoa(maxMessageBytes),
		"message.timestamp.type": "LogAppendTime", // one clock for all who obey a command
		"segment.bytes":          strconv.Itoa(16 << 20),
	}}
}

// EmbeddedSpecs are the three topics as the embedded broker keeps them: 4 partitions and 1 GiB in all.
func EmbeddedSpecs(names Names) []Spec {
	small := func(s Spec, bytes int64) Spec {
		s.Config = maps.Clone(s.Config)
		s.Config["retention.bytes"] = strconv.FormatInt(bytes, 10)
		s.Config["segment.bytes"] = strconv.Itoa(16 << 20) // kept in whole segments, and each is read whole at the start
		return s
	}
	return []Spec{
		small(ExchangesSpec(names, 4), 192<<20),
		small(ResultsSpec(names, 4), 48<<20),
		ControlSpec(names), // compacted: the 64 MiB left are far more than it takes
	}
}

func records(name string, partitions int32) Spec {
	if partitions <= 0 {
		partitions = defaultPartitions
	}
	return Spec{Name: name, Partitions: partitions, Config: map[string]string{
		"cleanup.policy":         "delete",
		"retention.ms":           strconv.FormatInt(retention.Milliseconds(), 10),
		"retention.bytes":        strconv.FormatInt(retentionBytes, 10),
		"max.message.bytes":      strconv.Itoa(maxMessageBytes),
		"message.timestamp.type": "CreateTime",                // the capture time, which windows are looked up by
		timestampBefore:          strconv.Itoa(math.MaxInt64), // a spool may be hours late
		timestampAfter:           strconv.Itoa(math.MaxInt64), // and a broker's clock wrong
		// Only whole, closed segments are deleted: without these a quiet partition keeps a record for a week longer.
		"segment.ms":    strconv.FormatInt((6 * time.Hour).Milliseconds(), 10),
		"segment.bytes": strconv.Itoa(256 << 20),
	}}
}
