package replay

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/topic"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// errStopped ends a run that was told to.
var errStopped = errors.New("stopped by command")

const (
	followPause  = time.Second
	reportEvery  = control.ReplicaReportEvery
	clockWarning = 50 * time.Millisecond
)

// conductor keeps this process in step with the others: it follows the control topic, turns commands into the timeline, and
// tells how it goes here. No trouble with Kafka ends it: the timeline stays as it is.
type conductor struct {
	cfg      topic.Config
	registry *registry
	run      string
	number   uint32 // of the generation
	clock    *clock
	log      *slog.Logger
	started  time.Time
	wake     func()              // what waits for the timeline looks again
	stop     func(control.Order) // ends the run
	// suspended is told that a guard holds the run, and that somebody lets it go on.
	suspended func(on bool)
	figures   func(*reprisev1.ReplicaReport) // fills in how it goes
	tally     func() *reprisev1.RunTally     // what was sent here; nil: nobody is told
	begun     func() (begun, bool)           // false: it is not decided yet

	known   int64         // offset from which on commands are news: stops before it were for those who ran then
	news    chan struct{} // a token: a report is due
	retimed chan struct{} // a token: the gate may have to be turned at another moment
	heard   chan struct{} // a token: the topic has said something; for those who wait for others
	late    chan late     // at most one: what was sent late, so that the rest of the run is to be put off
	tallied time.Time     // when the others were told the tally; used by who reports

	mu     sync.Mutex
	obeyed int64 // everything below is read
	orders int   // how many were folded in
	sent   reportSent
	seen   reportSeen
	ahead  clockAhead
	warned bool
}

type reportSent struct {
	offset    int64
	mid       time.Time
	roundTrip time.Duration
}

type reportSeen struct {
	offset int64
	stamp  time.Time
}

// clockAhead is this machine's clock minus the broker's.
type clockAhead struct {
	by, roundTrip time.Duration
	ok            bool
}

// follow reads the control topic until ctx ends.
func (c *conductor) follow(ctx context.Context) {
	for ctx.Err() == nil {
		err := topic.Follow(ctx, c.cfg, c.registry.name, c.hear, func(next int64) bool {
			c.read(next)
			return true
		})
		if ctx.Err() != nil {
			return
		}
		c.log.Warn("commands do not reach this run; it goes on as it is", "topic", c.registry.name, "cause", err)
		select {
		case <-ctx.Done():
		case <-time.After(followPause):
		}
	}
}

// hear takes one record.
func (c *conductor) hear(r *topic.Record) {
	c.registry.apply(r)
	if r.Stamped && string(r.Key) == string(control.ReplicaKey(c.run, c.number, c.registry.writer)) {
		c.mu.Lock()
		c.seen = reportSeen{r.Offset, r.Time}
		c.measure()
		c.mu.Unlock()
	}
}

// read obeys what has been read up to an offset.
func (c *conductor) read(next int64) {
	orders := c.registry.orders(c.run, c.number)
	c.mu.Lock()
	news := orders[min(c.orders, len(orders)):]
	c.orders = len(orders)
	c.mu.Unlock()
	select {
	case c.heard <- struct{}{}:
	default:
	}
	if len(news) > 0 {
		c.obey(news)
	}
	c.mu.Lock()
	c.obeyed = max(c.obeyed, next) // not before: a report may be under way
	c.mu.Unlock()
	if len(news) > 0 {
		c.tell()
	}
}

// obey does what new commands say.
func (c *conductor) obey(news []control.Order) {
	c.retime()
	for _, o := range news {
		if o.Offset < c.known {
			continue
		}
		c.log.Info("command", "verb", o.GetVerb(), "argument", o.GetArgument(), "by", o.Writer, "in_force", o.At.Format(time.RFC3339Nano))
		switch {
		case o.GetVerb() == control.VerbStop:
			c.stop(o)
		case suspends(&o) || lifts(&o):
			c.suspended(suspends(&o))
		}
	}
}

// retime folds everything that is known into the timeline.
func (c *conductor) retime() {
	if b, ok := c.begun(); ok {
		c.clock.set(b, c.registry.orders(c.run, c.number))
		c.tell()
		c.wake()
		select {
		case c.retimed <- struct{}{}:
		default:
		}
	}
}

// tell makes a report due.
func (c *conductor) tell() {
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// keepTime turns the gate when the timeline says so, until ctx ends. It waits for nobody: what is told of it to the others
// may take as long as Kafka takes.
func (c *conductor) keepTime(ctx context.Context) {
	turn := time.NewTimer(0)
	defer turn.Stop()
	standing := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.retimed:
		case <-turn.C:
		}
		now := time.Now() // of both: what is in force between two moments would be missed
		paused := c.clock.turn(now)
		c.wake()
		if at, ok := c.clock.timeline().Next(now); ok {
			turn.Reset(time.Until(at))
		}
		if paused != standing {
			standing = paused
			c.tell()
		}
	}
}

// producer writes records; topic.Producer is one.
type producer interface {
	Produce(ctx context.Context, records ...*topic.Record) ([]int64, error)
}

// beat reports, until ctx ends.
func (c *conductor) beat(ctx context.Context) {
	p, err := topic.NewProducer(c.cfg, c.registry.name)
	if err != nil {
		c.log.Warn("cannot report to the control topic", "cause", err)
		return
	}
	defer p.Close()
	c.speak(ctx, p)
}

func (c *conductor) speak(ctx context.Context, p producer) {
	every := time.NewTicker(reportEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case l := <-c.late:
			c.putOff(ctx, p, l)
			continue
		case <-every.C:
		case <-c.news:
		}
		if err := c.report(ctx, p, nil); err != nil && ctx.Err() == nil {
			c.log.Debug("report failed", "cause", err)
		}
	}
}

// late is a request that was sent late.
type late struct {
	due time.Time
	by  time.Duration
}

// slow asks for the rest of the run to be put off. It never waits.
func (c *conductor) slow(l late) {
	select {
	case c.late <- l:
	default:
	}
}

// putOff puts the rest of the run off, unless an order is not in force yet, or l is of what the last one was given for: that was due before
// it ended, and is worked off.
func (c *conductor) putOff(ctx context.Context, p producer, l late) {
	orders := c.registry.orders(c.run, c.number)
	if n := len(orders); n > 0 {
		last := &orders[n-1]
		at := c.clock.at(last.At)
		if time.Now().Before(at.Add(control.ObeyAfter)) {
			return
		}
		if by, err := time.ParseDuration(last.GetArgument()); err == nil && last.GetVerb() == control.VerbSlow && l.due.Before(at.Add(by)) {
			return
		}
	}
	record := c.registry.author().Command(&reprisev1.Command{
		Run: c.run, Generation: c.number, Verb: control.VerbSlow, Argument: l.by.String(),
	})
	_, err := p.Produce(ctx, &topic.Record{Key: []byte(record.Key), Value: record.Value, Time: time.Now()})
	if err != nil && ctx.Err() == nil {
		c.log.Warn("cannot put the run off", "by", l.by, "cause", err)
	}
}

// report writes how it goes here, and now and then what was sent. last, which may be nil, changes it: both are told then.
func (c *conductor) report(ctx context.Context, p producer, last func(*reprisev1.ReplicaReport)) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	r := &reprisev1.ReplicaReport{
		Run: c.run, Generation: c.number, Host: host, StartedUnixNano: uint64(c.started.UnixNano()), State: "running",
	}
	switch {
	case c.clock.timeline().Begins().IsZero():
		r.State = "waiting"
	case c.clock.paused(time.Now()):
		r.State = "paused"
	}
	c.figures(r)
	c.mu.Lock()
	r.ObeyedBelow = c.obeyed
	if c.ahead.ok {
		by := int64(c.ahead.by)
		r.ClockAheadNano, r.ClockRoundTripNano = &by, uint64(c.ahead.roundTrip)
	}
	c.mu.Unlock()
	if last != nil {
		last(r)
	}
	before := time.Now()
	var records []*topic.Record
	put := func(r control.Record) {
		records = append(records, &topic.Record{Key: []byte(r.Key), Value: r.Value, Time: before})
	}
	if c.tally != nil && (last != nil || before.Sub(c.tallied) >= report.TallyEvery) {
		put(c.registry.author().Tally(c.tally()))
		c.tallied = before
	}
	put(c.registry.author().Replica(r)) // who reads that it is final has read the tally
	offsets, err := p.Produce(ctx, records...)
	if err != nil {
		return err
	}
	took := time.Since(before)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = reportSent{offsets[len(offsets)-1], before.Add(took / 2), took}
	c.measure()
	return nil
}

// leave writes the last report.
func (c *conductor) leave(ctx context.Context, state string) error {
	p, err := topic.NewProducer(c.cfg, c.registry.name)
	if err != nil {
		return err
	}
	defer p.Close()
	return c.report(ctx, p, func(r *reprisev1.ReplicaReport) { r.State, r.Final = state, true })
}

// measure compares this machine's clock with the broker's, once the same report was sent and seen. The best of what it knows
// is that with the shortest way. It is called with mu held.
func (c *conductor) measure() {
	if c.sent.offset != c.seen.offset || c.sent.mid.IsZero() || c.seen.stamp.IsZero() {
		return
	}
	if c.ahead.ok && c.sent.roundTrip > 2*c.ahead.roundTrip {
		return
	}
	const half = 500 * time.Microsecond // the stamp is in whole milliseconds
	c.ahead = clockAhead{c.sent.mid.Sub(c.seen.stamp.Add(half)), c.sent.roundTrip, true}
	if off := c.ahead.by.Abs(); off > clockWarning+c.ahead.roundTrip && !c.warned {
		c.warned = true
		c.log.Warn("this machine's clock is not the broker's: what it sends is off by that against the other replicas",
			"ahead", c.ahead.by.Round(time.Millisecond), "round_trip", c.ahead.roundTrip.Round(time.Millisecond),
			"try", "time synchronisation on this machine and on the brokers")
	}
}
