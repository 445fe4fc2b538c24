package topic

// Spec is a topic as it is created when it is missing. An existing topic is used as it is.
type Spec struct {
	Name        string
	Partitions  int32
	Replication int16             // 0: min(3, brokers)
	Config      map[string]string // Kafka topic settings; min.insync.replicas is set to 2 at replication 3 unless given
}

// ExchangesSpec is the topic of recorded exchanges. partitions 0: 12.
func ExchangesSpec(names Names, partitions int32) Spec {
	return Spec{Name: names.Exchanges, Partitions: partitions}
}

// ControlSpec is the compacted topic of runs, taps and commands: one partition, so that its order is total.
func ControlSpec(names Names) Spec { return Spec{Name: names.Control, Partitions: 1} }

// ResultsSpec is the topic of outcomes. partitions 0: 12.
func ResultsSpec(names Names, partitions int32) Spec {
	return Spec{Name: names.Results, Partitions: partitions}
}

// EmbeddedSpecs are the three topics as the embedded broker keeps them: 4 partitions and 1 GiB in all.
func EmbeddedSpecs(names Names) []Spec {
	return []Spec{ExchangesSpec(names, 4), ControlSpec(names), ResultsSpec(names, 4)}
}
