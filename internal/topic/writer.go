package topic

import (
	"context"
	"time"
)

// WriterConfig says where a Writer writes and what it may hold.
type WriterConfig struct {
	Config
	Topic           string
	Ensure          []Spec        // created, with retries, once a broker answers; nil: the topic must be there
	RingBytes       int64         // bound of what waits, in bytes; default 16 MiB
	BufferBytes     int64         // bound of what is on its way to a broker, in bytes; default 8 MiB
	Linger          time.Duration // how long a record may wait for company; default 200 ms
	DeliveryTimeout time.Duration // how long a record may be on its way; default 30 s
	FlushTimeout    time.Duration // how long Run may go on after its context ended; default 5 s
	BatchMaxBytes   int32         // default 1,000,012, the broker's own default
	Acks            Acks          // default AcksAll

	// OnDone is called exactly once for every record, from any goroutine, Put's own included: it must be quick, must not
	// block, and must not call the Writer. nil: nobody asks.
	OnDone func(*Record, Result)
}

// Acks is whose acknowledgement counts.
type Acks string

// The acknowledgements.
const (
	AcksAll    Acks = "all"    // all in-sync replicas, idempotent
	AcksLeader Acks = "leader" // the leader alone; a retry may write twice
)

// State is how a record ended.
type State uint8

// The states.
const (
	Acknowledged State = iota + 1 // stored; Partition and Offset of the record are set
	Dropped                       // not stored
	Unknown                       // sent and never answered: perhaps stored
)

// String returns the state in lower case.
func (s State) String() string { return "" }

// Reason is why a record was dropped or is unknown; the set is closed, so that it can be a metric's label.
type Reason string

// The reasons.
const (
	RingFull      Reason = "ring_full"   // newer records needed its place
	BufferFull    Reason = "buffer_full" // the client's own bound, which ours should keep it from
	Timeout       Reason = "timeout"
	Unreachable   Reason = "unreachable"
	TooLarge      Reason = "too_large"
	TopicMissing  Reason = "topic_missing"
	NotAuthorized Reason = "not_authorized"
	Shutdown      Reason = "shutdown"
	Closed        Reason = "closed" // put after Run had ended
	Other         Reason = "other"
)

// Reasons are all reasons, for pre-initialised metrics.
func Reasons() []Reason {
	return []Reason{RingFull, BufferFull, Timeout, Unreachable, TooLarge, TopicMissing, NotAuthorized, Shutdown, Closed, Other}
}

// Result is how a record ended and, unless acknowledged, why.
type Result struct {
	State  State
	Reason Reason
}

// Writer writes records to one topic and never blocks who gives them to it: they wait in a ring that drops its oldest,
// and one goroutine feeds the Kafka client from there, no more than a short backlog, so that an outage shorter than
// the ring loses nothing.
type Writer struct{}

// NewWriter checks cfg; it neither connects nor starts anything. Records may be put at once.
func NewWriter(cfg WriterConfig) (*Writer, error) { return &Writer{}, nil }

// Put takes r over. It never blocks.
func (w *Writer) Put(r *Record) {}

// PutAll takes the records over, in order, for the price of one Put. The slice remains the caller's.
func (w *Writer) PutAll(rs []*Record) {}

// Run writes until ctx ends, then flushes for at most FlushTimeout and gives every remaining record its Result. An error
// is about the configuration; no state of Kafka ends Run.
func (w *Writer) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Pending returns the records put and not yet done, and their bytes.
func (w *Writer) Pending() (records int, bytes int64) { return 0, 0 }

// Produce writes the records and returns their offsets once all are stored. It blocks.
func Produce(ctx context.Context, cfg Config, topic string, rs ...*Record) (offsets []int64, err error) {
	return nil, nil
}
