// Package topic is Reprise's Kafka: the only user of franz-go. It writes records without ever blocking the caller
// (Writer), reads them by assignment (AssignReader) or as a member of a group (GroupReader), creates topics with explicit
// settings and looks offsets up (Admin), and does the arithmetic of contiguous commits (Ledger). Security is the way there, TLS and
// SASL. The package knows brokers, bytes and offsets; what a record means is not its business.
package topic

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Config is what every connection to Kafka needs. Only Brokers must be given.
type Config struct {
	Brokers    []string              // HOST:PORT of one or more brokers
	ClientID   string                // shown in the broker's logs and metrics; default "reprise"
	Logger     *slog.Logger          // nil: nothing is logged
	Registerer prometheus.Registerer // nil: no metrics
	Security   *Security             // nil: plain TCP, and no log-in

	Compression Compression // of what is written; default ZstdCompression

	// Dialer replaces the network, for tests. nil: TCP.
	Dialer DialFunc
	// Patience is the least that an answer is waited for, for tests that a busy machine may stop. 0: each wait is as long as it says.
	Patience time.Duration
}

// Compression is how batches are compressed.
type Compression string

// The compressions.
const (
	ZstdCompression Compression = "zstd" // at its fastest level; lz4 for brokers older than 2.1
	Lz4Compression  Compression = "lz4"
	NoCompression   Compression = "none"
)

// Names are the topics of one prefix.
type Names struct {
	Exchanges, Control, Results string
}

// NamesOf returns the topics of prefix: reprise.exchanges and so on for "reprise".
func NamesOf(prefix string) Names {
	return Names{Exchanges: prefix + ".exchanges", Control: prefix + ".control", Results: prefix + ".results"}
}

// Record is one Kafka record. Who writes sets Key, Value, Headers and Time and changes nothing until the record is done;
// the other fields are set by a reader, and by a Writer once the record is acknowledged. Key nil: any partition.
type Record struct {
	Key, Value  []byte
	Headers     []Header
	Time        time.Time // the Kafka timestamp, of millisecond resolution; zero when written: now
	Topic       string
	Partition   int32
	Offset      int64
	LeaderEpoch int32
	Stamped     bool // Time is the broker's, of when it was appended
	Owner       any  // whatever who writes it wants to find in OnDone; not stored
}

// Header is one Kafka record header: Key string, Value []byte.
type Header = kgo.RecordHeader

// Header returns the value of the first header with that key, nil when there is none.
func (r *Record) Header(key string) []byte {
	for i := range r.Headers {
		if r.Headers[i].Key == key {
			return r.Headers[i].Value
		}
	}
	return nil
}
