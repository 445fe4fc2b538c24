// Package broker is the embedded Kafka-compatible broker for one machine: franz-go's kfake with its data on disk, behind the
// guards that make it safe to keep a day's recordings in. It has no replication: a demonstration or a single host, never a cluster.
package broker

import (
	"log/slog"

	"github.com/reprise-io/reprise/internal/topic"
)

// Options say where the broker keeps its data and listens.
type Options struct {
	Data   string // directory, made when missing; one broker at a time
	Listen string // default 127.0.0.1:19092; port 0: any
	Logger *slog.Logger
	Topics []topic.Spec // created when missing
}

// Broker is a running embedded broker.
type Broker struct{}

// Start starts the broker and creates the topics. Errors are *fault.Error.
func Start(opts Options) (*Broker, error) { return &Broker{}, nil }

// Addr is the address for clients, HOST:PORT.
func (b *Broker) Addr() string { return "" }

// Close writes everything to disk and stops.
func (b *Broker) Close() error { return nil }
