package topic

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/reprise-io/reprise/internal/fault"
)

// WriterConfig says where a Writer writes and what it may hold. Zero values are the defaults.
type WriterConfig struct {
	Config
	Topic           string
	Ensure          []Spec        // created when missing, as soon as a broker answers; nil: the topic has to be made by others
	RingBytes       int64         // bound of what waits, in bytes; default 16 MiB
	BufferBytes     int64         // bound of what is on its way to a broker, in bytes; default 8 MiB
	Linger          time.Duration // how long a record may wait for company; default 200 ms
	DeliveryTimeout time.Duration // how long a record may be on its way while Kafka answers, to within a second; default 30 s
	FlushTimeout    time.Duration // how long Run may go on after its context ended; default 5 s
	BatchMaxBytes   int32         // of one batch before compression; default 1,000,012, which every broker takes
	Acks            Acks          // default AcksAll

	// OnDone is called exactly once for every record that was put: from within Put and PutAll, from Run, and from the
	// client's goroutine. It must be quick and must not block. nil: nobody asks.
	OnDone func(*Record, Result)
}

// Acks is whose acknowledgement counts.
type Acks string

// The acknowledgements.
const (
	AcksAll    Acks = "all"    // of all in-sync replicas, idempotent
	AcksLeader Acks = "leader" // of the leader alone; a retry may write twice
)

const (
	defaultRingBytes     = 16 << 20
	defaultBufferBytes   = 8 << 20
	defaultBatchMaxBytes = 1_000_012
)

// endTimeout bounds the wait for a closed client's callbacks, which are due at once.
const endTimeout = 10 * time.Second

// Writer writes records to one topic and never makes anyone wait. Records wait in a ring that drops its oldest; one
// goroutine, Run, feeds the Kafka client from there, and stops as soon as acknowledgements fail to come, so that in an
// outage records stay in the ring, from where they can still be sent or be dropped for newer ones, and not in the client,
// where they would time out together. What the client gives back unsent returns to the ring.
//
// Every record put ends in exactly one OnDone. Unknown means that it was, or may have been, in a request that was never
// answered; Dropped, that it certainly is not stored.
type Writer struct {
	cfg  WriterConfig
	opts []kgo.Opt
	ring ring

	flying      atomic.Int64 // records with the client
	flyingBytes atomic.Int64
	acks        atomic.Uint64 // records acknowledged, for the pump to see progress
	wantRoom    atomic.Bool   // the pump waits for flyingBytes to fall to lowWater
	lowWater    atomic.Int64
	closing     atomic.Bool
	shut        atomic.Int64 // since when the pump feeds nothing, as UnixNano; 0: it does

	sends      atomic.Uint64 // batches encoded into requests
	unanswered atomic.Uint64 // produce requests that were written, at least in part, and not answered

	large    atomic.Int64 // records dropped as too large, of which nothing was said yet
	failures failures
	trouble  trouble
}

// NewWriter checks cfg; it neither connects nor starts anything. Records may be put before Run, and wait for it.
func NewWriter(cfg WriterConfig) (*Writer, error) {
	if cfg.Topic == "" {
		return nil, fault.BadUsage("no topic to write to", "", "--topic-prefix NAME")
	}
	setDefault(&cfg.RingBytes, defaultRingBytes)
	setDefault(&cfg.BufferBytes, defaultBufferBytes)
	setDefault(&cfg.Linger, 200*time.Millisecond)
	setDefault(&cfg.DeliveryTimeout, 30*time.Second)
	setDefault(&cfg.FlushTimeout, 5*time.Second)
	setDefault(&cfg.BatchMaxBytes, defaultBatchMaxBytes)
	setDefault(&cfg.Acks, AcksAll)
	if cfg.OnDone == nil {
		cfg.OnDone = func(*Record, Result) {}
	}
	w := &Writer{cfg: cfg}
	w.ring.limit = cfg.RingBytes
	w.ring.rouse = min(cfg.RingBytes/4, cfg.BufferBytes/2)
	w.ring.wake = make(chan struct{}, 1)

	opts, err := w.options()
	if err != nil {
		return nil, err
	}
	w.opts = opts
	return w, nil
}

func (w *Writer) options() ([]kgo.Opt, error) {
	c := w.cfg
	codecs, err := c.codecs()
	if err != nil {
		return nil, err
	}
	compressor, err := kgo.DefaultCompressor(codecs...)
	if err != nil {
		return nil, fault.BadUsage("bad compression "+quote(string(c.Compression)), err.Error(), "")
	}
	opts := []kgo.Opt{
		kgo.DefaultProduceTopicAlways(),
		kgo.DefaultProduceTopic(c.Topic),
		kgo.WithHooks(answers{w}),
		// Ours is the bound: these are what it can never reach, since a record leaves the client's books after ours.
		kgo.MaxBufferedBytes(int(2*c.BufferBytes + int64(c.BatchMaxBytes))),
		kgo.MaxBufferedRecords(int(2*c.BufferBytes/slotOverhead + 1024)),
		kgo.ProducerBatchMaxBytes(c.BatchMaxBytes),
		kgo.WithCompressor(encoder{compressor, w}),
		// The pump lingers; the client only has to wait until a burst has been handed over.
		kgo.ProducerLinger(min(max(c.Linger/8, time.Millisecond), 25*time.Millisecond)),
		kgo.ProduceRequestTimeout(5 * time.Second),
		kgo.UnknownTopicRetries(3),
		kgo.MetadataMaxAge(time.Minute),
		kgo.MetadataMinAge(250 * time.Millisecond),
		kgo.RetryTimeout(5 * time.Second),
	}
	switch c.Acks {
	case AcksAll:
		opts = append(opts, kgo.RequiredAcks(kgo.AllISRAcks()), kgo.AllowIdempotentProduceCancellation())
	case AcksLeader:
		// One request at a time: without idempotence a batch could be stored although the one before it, whose fate it
		// shares in the client, was refused; and a retry would change the order.
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite(),
			kgo.MaxProduceRequestsInflightPerBroker(1))
	default:
		return nil, fault.BadUsage(fmt.Sprintf("bad acks %q", c.Acks), "it must be all or leader", "--acks all")
	}
	return c.Config.patientOptions("writer "+c.Topic, opts...)
}

// Put takes r over. It never blocks.
func (w *Writer) Put(r *Record) {
	s := slot{r, sizeOf(r)}
	if w.tooLarge(r) {
		w.dropLarge(r)
		return
	}
	var few [8]slot
	w.ring.mu.Lock()
	empty := w.ring.len() == 0
	evicted, open := w.ring.put(s, few[:0])
	w.ring.stir(empty)
	w.ring.mu.Unlock()
	w.dropAll(evicted, RingFull)
	if !open {
		w.cfg.OnDone(r, Result{Dropped, Closed})
	}
}

// PutAll takes the records over, in order, for little more than the price of one Put. The slice remains the caller's.
func (w *Writer) PutAll(rs []*Record) {
	var few [8]slot
	evicted, open := few[:0], true
	w.ring.mu.Lock()
	empty := w.ring.len() == 0
	for _, r := range rs {
		if !w.tooLarge(r) {
			evicted, open = w.ring.put(slot{r, sizeOf(r)}, evicted)
		}
	}
	w.ring.stir(empty && w.ring.len() > 0)
	w.ring.mu.Unlock()
	w.dropAll(evicted, RingFull)
	for _, r := range rs {
		switch {
		case w.tooLarge(r):
			w.dropLarge(r)
		case !open:
			w.cfg.OnDone(r, Result{Dropped, Closed})
		}
	}
}

// tooLarge finds what no batch can hold before it takes up room; the client judges the border cases.
func (w *Writer) tooLarge(r *Record) bool { return len(r.Key)+len(r.Value) > int(w.cfg.BatchMaxBytes) }

func (w *Writer) dropLarge(r *Record) {
	w.large.Add(1)
	poke(w.ring.wake)
	w.cfg.OnDone(r, Result{Dropped, TooLarge})
}

func (w *Writer) dropAll(ss []slot, reason Reason) {
	for _, s := range ss {
		w.cfg.OnDone(s.rec, Result{Dropped, reason})
	}
}

// Pending returns the records put and not yet done, and their bytes with overhead. Once it is 0, every OnDone has returned.
func (w *Writer) Pending() (records int, bytes int64) {
	records, bytes = w.ring.state()
	return records + int(w.flying.Load()), bytes + w.flyingBytes.Load()
}

// Room returns the bytes for which there is room in the ring, and how many that would be if it were empty.
func (w *Writer) Room() (free, all int64) {
	_, bytes := w.ring.state()
	return w.cfg.RingBytes - bytes, w.cfg.RingBytes
}

// Relieve drops the oldest records that wait in the ring, about so many bytes of them, as newer ones would that need their
// place: for who keeps them elsewhere.
func (w *Writer) Relieve(bytes int64) { w.dropAll(w.ring.shed(bytes), RingFull) }

// Shut returns since when nothing is sent, because Kafka takes nothing or that is to be found out; zero: what is put goes out.
func (w *Writer) Shut() (since time.Time) {
	if ns := w.shut.Load(); ns != 0 {
		since = time.Unix(0, ns)
	}
	return since
}

// Run writes until ctx ends, then flushes for at most FlushTimeout and gives every remaining record its Result. No state
// of Kafka ends it.
func (w *Writer) Run(ctx context.Context) error {
	client, err := kgo.NewClient(w.opts...)
	if err != nil {
		w.dropAll(w.ring.close(), Closed)
		return fault.BadUsage("bad Kafka settings", err.Error(), tryBrokers)
	}
	p := newPump(w, client)
	p.run(ctx)
	w.end(p.client)
	p.probes.Wait()
	p.admin.calls.Wait()
	return nil
}

// end accounts for what could not be written.
func (w *Writer) end(client *kgo.Client) {
	w.closing.Store(true)
	left := w.ring.close()
	w.dropAll(left, Shutdown)
	client.Close() // ends every record the client has
	timer := time.NewTimer(endTimeout)
	defer timer.Stop()
	for w.flying.Load() > 0 {
		select {
		case <-w.ring.wake:
		case <-timer.C:
			w.cfg.logger().Error("kafka client was closed and keeps records", "records", w.flying.Load())
			return
		}
	}
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
