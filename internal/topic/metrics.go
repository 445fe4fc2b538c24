package topic

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kprom"
)

// clientMetrics are kprom's reprise_kafka_* metrics of one client, told apart by the label "client": the role and topic.
func clientMetrics(reg prometheus.Registerer, role string) kgo.Hook {
	return kprom.NewMetrics("reprise",
		kprom.Subsystem("kafka"),
		kprom.NativeBucketFactor(1.1),
		kprom.Registerer(&firstOnly{
			Registerer: prometheus.WrapRegistererWith(prometheus.Labels{"client": role}, reg),
			mine:       make(map[prometheus.Collector]bool),
		}),
	)
}

// firstOnly never panics: of two clients with one role the first is exported, for kprom itself would end the process.
type firstOnly struct {
	prometheus.Registerer
	mu   sync.Mutex
	mine map[prometheus.Collector]bool
}

func (f *firstOnly) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		_ = f.Register(c) // the second's metrics count on, unseen
	}
}

func (f *firstOnly) Register(c prometheus.Collector) error {
	err := f.Registerer.Register(c)
	if err == nil {
		f.mu.Lock()
		f.mine[c] = true
		f.mu.Unlock()
	}
	return err
}

// Unregister leaves alone what another client registered.
func (f *firstOnly) Unregister(c prometheus.Collector) bool {
	f.mu.Lock()
	mine := f.mine[c]
	delete(f.mine, c)
	f.mu.Unlock()
	return mine && f.Registerer.Unregister(c)
}
