package topic

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// chunk is how many records are handed to the client between two looks at the ring.
	chunk = 256
	// firstBytes is what may be on its way before the first acknowledgement after trouble: what the next trouble can
	// make unknown.
	firstBytes = 256 << 10
	// stallAfter is how long the client may hold records without one acknowledgement before it is given no more.
	stallAfter = time.Second
	// sayAfter is how long a stall lasts before it is worth a line in the log; a refused connection is at once.
	sayAfter = 3 * time.Second
	// probeTimeout bounds a look whether Kafka is there.
	probeTimeout = 3 * time.Second
	// purgeEvery is the least time between two attempts to forget a topic that was made anew.
	purgeEvery = 2 * time.Second
	// lostCause is how long a flush is worth trying when Kafka was away before it, and does not answer.
	lostCause = time.Second

	sayBegin = "kafka does not take records; they wait in memory"
	sayOver  = "kafka takes records again"
)

// pump feeds the client from the ring. One goroutine owns it.
//
// It is open, or it is seeking: then nothing is fed, and a probe asks every now and then whether Kafka answers and the
// topic is there. It starts seeking; a failure or a stall brings it back to that; a good probe or an acknowledgement
// opens it.
type pump struct {
	w      *Writer
	log    *slog.Logger // tells of which topic
	client *kgo.Client
	admin  *Admin

	open   bool
	window int64     // bytes that may be on their way: firstBytes until the first acknowledgement
	due    time.Time // when what is in the ring has lingered enough; zero: nothing known to be in it

	acks     uint64    // as last seen
	progress time.Time // when acks last rose, or the first record of an idle client was fed
	stalled  bool      // seeking since acknowledgements fail to come

	probed    chan finding
	probing   bool
	probes    sync.WaitGroup // ends with the client at the latest
	nextProbe time.Time
	tries     int       // failures since the last acknowledgement
	heal      bool      // the client must forget the topic
	purged    time.Time // when it last did
	measured  bool      // the largest batch the topic takes is known, as far as it can be

	saidBeside bool
	saidLarge  time.Time // when records were last said to be too large
	mostBytes  int32     // the largest batch
	away       bool      // Kafka did not answer when it was last asked

	draining time.Time       // when to give up flushing; zero: not flushing
	drainMax time.Time       // when to do so at the latest
	flights  context.Context // ends when run does
	lives    lifetimes
	buf      []slot
}

func newPump(w *Writer, client *kgo.Client) *pump {
	return &pump{
		w: w, mostBytes: w.cfg.BatchMaxBytes, log: w.cfg.logger().With("topic", w.cfg.Topic), client: client, admin: newAdmin(w.cfg.Config, client),
		window: min(firstBytes, w.cfg.BufferBytes), probed: make(chan finding, 1), lives: lifetimes{timeout: w.cfg.DeliveryTimeout}, buf: make([]slot, 0, chunk),
	}
}

// run returns when ctx has ended and all is flushed, or the time for that is over.
func (p *pump) run(ctx context.Context) {
	probing, stop := context.WithCancel(context.WithoutCancel(ctx)) // probes go on while flushing
	defer stop()
	p.flights = context.WithoutCancel(ctx)
	p.w.shut.Store(time.Now().UnixNano())

	timer := time.NewTimer(0)
	defer timer.Stop()
	ended := ctx.Done()
	for {
		now := time.Now()
		p.look(now)
		p.lives.pass(now, !p.away)
		if p.shouldProbe(now) {
			p.probing = true
			purge := p.heal && p.w.flying.Load() == 0 && now.Sub(p.purged) >= purgeEvery
			measure := !p.measured && p.w.flying.Load() == 0
			p.probes.Go(func() { p.probed <- p.probe(probing, purge, measure) })
		}
		p.feed(now)
		if !p.draining.IsZero() {
			if records, _ := p.w.Pending(); records == 0 || !now.Before(p.draining) {
				return
			}
		}
		timer.Reset(p.wait(now))
		select {
		case <-p.w.ring.wake:
		case <-timer.C:
		case found := <-p.probed:
			p.probing = false
			p.heard(time.Now(), found)
		case <-ended:
			ended = nil
			p.drain(time.Now())
		}
	}
}

// sayLarge tells of records that no batch holds, at most once a minute.
func (p *pump) sayLarge(now time.Time) {
	if p.w.large.Load() == 0 || !p.saidLarge.IsZero() && now.Sub(p.saidLarge) < time.Minute {
		return
	}
	p.saidLarge = now
	p.log.Warn("records are too large for Kafka: dropped and counted (too_large)", "records", p.w.large.Swap(0), "most_bytes", p.mostBytes,
		"try", "a --body-max with which both bodies fit in, 256KiB by default")
}

// look takes in what has happened since the last time.
func (p *pump) look(now time.Time) {
	p.sayLarge(now)
	if acks := p.w.acks.Load(); acks != p.acks {
		p.acks, p.progress = acks, now
		p.stalled, p.away, p.tries = false, false, 0
		p.opened()
		p.window = p.w.cfg.BufferBytes
		p.w.trouble.over(p.log, now, sayOver)
	}
	if heal, err := p.w.failures.take(); err != nil {
		p.heal = p.heal || heal
		p.tries++
		p.seek(now, p.w.cfg.unlessDenied(err, writeTopic(p.w.cfg.Topic)))
		if isNotAuthorized(err) { // which a probe cannot find where brokers do not tell what is allowed
			p.w.trouble.say(p.log, now, sayBegin)
		}
	}
	if p.open && p.w.flying.Load() > 0 && now.Sub(p.progress) >= stallAfter {
		p.stalled = true
		p.seek(now, errors.New("no acknowledgement"))
	}
	if p.stalled {
		p.w.trouble.sayIfLong(p.log, now, sayBegin)
	}
}

func (p *pump) opened() {
	p.open = true
	p.w.shut.Store(0)
	p.w.trouble.clearIfUnsaid()
}

func (p *pump) seek(now time.Time, cause error) {
	p.open = false
	p.w.shut.CompareAndSwap(0, now.UnixNano())
	p.window = min(firstBytes, p.w.cfg.BufferBytes)
	p.nextProbe = now.Add(p.pause())
	p.w.trouble.begin(now, cause)
	p.askLanding()
}

// pause grows from 50 ms to 1 s.
func (p *pump) pause() time.Duration {
	return min(time.Second, 50*time.Millisecond<<min(p.tries, 5))
}

func (p *pump) shouldProbe(now time.Time) bool {
	return !p.open && !p.probing && !now.Before(p.nextProbe)
}

// finding is what a probe found: err nil, all is well.
type finding struct {
	err      error
	away     bool  // there was no answer
	beside   error // about a topic that others write to
	purged   bool  // the client has forgotten the topic
	measured bool  // asked for the topic's settings
	batchMax int32 // the largest batch it takes; 0: not told
	misfits  []misfit
}

// probe asks whether Kafka answers and the topic is there, and sees to the topic. It runs beside the pump, and only while
// the pump feeds nothing; with purge and with measure nothing is on its way either.
func (p *pump) probe(ctx context.Context, purge, measure bool) (found finding) {
	if found.err = p.admin.ping(ctx, probeTimeout); found.err != nil {
		found.away = true
		return found
	}
	if purge {
		p.client.PurgeTopicsFromProducing(p.w.cfg.Topic)
		found.purged = true
	}
	bounded, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	ours, others := partSpecs(p.w.cfg.Ensure, p.w.cfg.Topic)
	if found.err = p.admin.Ensure(bounded, ours); found.err != nil {
		return found
	}
	if found.err = p.admin.writable(bounded, p.w.cfg.Topic); found.err != nil {
		return found
	}
	if err := p.admin.Ensure(bounded, others); bounded.Err() == nil {
		found.beside = err
	}
	if measure {
		has := p.admin.settings(bounded, p.w.cfg.Topic)
		found.measured, found.batchMax = true, int32(min(wholeNumber(has["max.message.bytes"]), math.MaxInt32))
		for _, s := range ours {
			found.misfits = append(found.misfits, p.admin.misfits(bounded, s, has)...)
		}
	}
	return found
}

// heard takes in what a probe found.
func (p *pump) heard(now time.Time, found finding) {
	p.away = found.away
	if !p.draining.IsZero() && !found.away {
		p.draining = p.drainMax // it is back
	}
	if found.purged {
		p.heal, p.purged = false, now
		p.log.Warn("kafka topic was deleted or made anew: writing to the new one")
	}
	if found.measured {
		p.measured = true
		for _, m := range found.misfits {
			p.log.Warn("kafka topic was made in another way than ours are", "setting", m.setting, "cost", m.cost, "try", m.try)
		}
		p.fit(found.batchMax)
	}
	p.sayBeside(found.beside)
	switch {
	case p.open: // an acknowledgement was quicker
	case found.err != nil:
		p.tries++
		p.nextProbe = now.Add(p.pause())
		p.w.trouble.begin(now, found.err)
		p.w.trouble.say(p.log, now, sayBegin)
	case p.heal || p.stalled && p.w.flying.Load() > 0:
		// Kafka answers, but what the client has must end first, one way or the other.
		p.nextProbe = now.Add(p.pause())
	default:
		p.stalled, p.progress = false, now
		p.opened()
		if records, _ := p.w.Pending(); records == 0 { // nothing to prove it by
			p.w.trouble.over(p.log, now, sayOver)
		}
	}
}

// sayBeside tells once of a topic that others write to and that we could not make for them.
func (p *pump) sayBeside(err error) {
	if err == nil || p.saidBeside {
		return
	}
	p.saidBeside = true
	p.log.Info("kafka topic is left to others to make", "cause", err, "try", cureOf(err))
}

// fit makes a new client when the topic takes only smaller batches, which only a topic does that others made: the broker
// would refuse ours, and with each all that the client holds for its partition.
func (p *pump) fit(most int32) {
	if most <= 0 || most >= p.w.cfg.BatchMaxBytes {
		return
	}
	p.mostBytes = most
	opts := append(slices.Clone(p.w.opts), kgo.ProducerBatchMaxBytes(most))
	err := kgo.ValidateOpts(opts...)
	if err == nil {
		p.client.Close() // nothing is on its way; and its metrics make room for the next one's
		var client *kgo.Client
		if client, err = kgo.NewClient(opts...); err == nil { // always, with valid options
			p.client, p.admin = client, newAdmin(p.w.cfg.Config, client)
		}
	}
	if err != nil {
		p.log.Error("kafka topic takes only smaller batches than can be made", "max.message.bytes", most, "cause", err)
		return
	}
	p.log.Info("kafka topic takes only small batches: ours are as small", "max.message.bytes", most)
}

// feed hands over what has lingered enough, as far as there is room.
func (p *pump) feed(now time.Time) {
	records, bytes := p.w.ring.state()
	switch {
	case records == 0:
		p.due = time.Time{}
		return
	case p.due.IsZero():
		p.due = now.Add(p.w.cfg.Linger)
	}
	if !p.open || now.Before(p.due) && bytes < p.w.ring.rouse && p.draining.IsZero() {
		return
	}
	for {
		flying := p.w.flyingBytes.Load()
		idle := p.w.flying.Load() == 0
		p.buf = p.w.ring.take(p.buf[:0], chunk, p.window-flying, idle, p.w.taken)
		if len(p.buf) == 0 {
			break
		}
		if idle {
			p.progress = now
		}
		p.w.launch(p.lives.at(p.flights), p.client, p.buf)
	}
	clear(p.buf[:cap(p.buf)])
	records, _ = p.w.ring.state()
	if records == 0 {
		p.due = time.Time{}
	}
	switch {
	case p.unproven():
		p.askLanding()
	case records > 0:
		p.askRoom()
	}
}

// unproven: nothing was acknowledged since the last trouble.
func (p *pump) unproven() bool { return p.window < p.w.cfg.BufferBytes }

// taken moves records from the ring's books to the client's.
func (w *Writer) taken(records int, bytes int64) {
	w.flying.Add(int64(records))
	w.flyingBytes.Add(bytes)
}

// askRoom has the client's callback wake the pump once half of the window is free.
func (p *pump) askRoom() {
	low := p.window / 2
	p.w.lowWater.Store(low)
	p.w.wantRoom.Store(true)
	if p.w.flyingBytes.Load() <= low && p.w.wantRoom.CompareAndSwap(true, false) {
		poke(p.w.ring.wake) // it became so meanwhile
	}
}

// askLanding has the callback wake the pump at the next record that ends.
func (p *pump) askLanding() {
	p.w.lowWater.Store(math.MaxInt64)
	p.w.wantRoom.Store(true)
	if p.w.acks.Load() != p.acks && p.w.wantRoom.CompareAndSwap(true, false) {
		poke(p.w.ring.wake)
	}
}

// wait is how long nothing has to be done unless something happens.
func (p *pump) wait(now time.Time) time.Duration {
	next := now.Add(time.Minute)
	earlier := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	earlier(p.draining)
	if !p.away {
		earlier(p.lives.next())
	}
	flying := p.w.flying.Load() > 0
	switch {
	case !p.open:
		if !p.probing {
			earlier(p.nextProbe)
		}
		if p.stalled {
			earlier(now.Add(stallAfter))
		}
	default:
		if flying {
			earlier(p.progress.Add(stallAfter))
		}
		// Due and yet not fed: there is no room, and a landing will wake us.
		if now.Before(p.due) {
			earlier(p.due)
		}
	}
	return max(time.Millisecond, next.Sub(now))
}

// drain starts the flush.
func (p *pump) drain(now time.Time) {
	timeout := p.w.cfg.FlushTimeout
	if since, _ := p.w.trouble.get(); !since.IsZero() {
		timeout = min(timeout, lostCause)
	}
	p.draining, p.drainMax = now.Add(timeout), now.Add(p.w.cfg.FlushTimeout)
	p.tries = 0
	if !p.open {
		p.nextProbe = now
	}
}
