package tap

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reprise-io/reprise/internal/spool"
	"github.com/reprise-io/reprise/internal/topic"
)

const (
	syncEvery   = 500 * time.Millisecond // of what is spooled; a power cut costs no more than that
	drainEvery  = 100 * time.Millisecond // a look whether there is room for what is spooled
	drainLeast  = time.Second            // after which some of it goes even when there is little room
	drainMost   = 2 << 20                // bytes on their way from the spool at a time
	relieveWait = 500 * time.Millisecond // that Kafka takes nothing before what waits for it goes to the disk
	reopenEvery = 5 * time.Second
	brokenPause = time.Second // without a try after the disk failed
	spillEnd    = 10 * time.Second
)

// The reasons for which records that were on their way to the spool are dropped, beside spool.Full.
const (
	spoolError = string(spool.Disk)
	spoolSlow  = "spool_slow" // the disk did not keep up
)

// outlet is the way to Kafka, as the spill sees it.
type outlet interface {
	writer
	Room() (free, all int64)
	Relieve(bytes int64) // drops the oldest that wait, which done hears of
	Shut() (since time.Time)
}

// spill brings what the writer cannot keep or send to the disk, and back to the writer when Kafka takes records again. One
// goroutine, run, owns the spool; put only queues, and nobody waits for the disk.
//
// While Kafka takes nothing the ring is emptied to the disk as fast as that takes it, not only when it overflows: it is the
// room in which records wait when the disk itself stops for a moment, and what is in it is lost with the process.
//
// Live records go first: what is spooled is fed only into room that they leave, one portion at a time, and a record of a
// portion that the writer gives back goes behind the others. A portion is committed when all of it has ended.
type spill struct {
	open     func() (*spool.Spool, error)
	out      outlet
	counters *Counters
	log      *slog.Logger
	portion  int64 // bytes read at a time

	mu     sync.Mutex
	queue  []*topic.Record
	bytes  int64
	limit  int64
	closed bool
	last   bool // what is queued from here on has no other chance
	wake   chan struct{}

	feeding  atomic.Pointer[portion] // nil: nothing is on its way from the spool
	disk     atomic.Int64            // bytes of the spool, for metrics
	failures atomic.Int64
	broken   bool      // said
	failed   time.Time // when the disk last did
	retry    time.Time // no try before

	spool    *spool.Spool // nil: not open
	unstored bool         // something is to be synced
	synced   time.Time
	fed      time.Time // when the last portion was
	hold     time.Time // no portion before: the last one came back
	buf      []byte
	payloads [][]byte
}

// portion is what was read from the spool at a time.
type portion struct {
	of    map[*topic.Record]bool
	left  atomic.Int64
	after spool.Position
	back  atomic.Bool // some of it was given back
}

func newSpill(o Options, out outlet, counters *Counters, limit int64) *spill {
	s := &spill{
		out: out, counters: counters, log: o.Logger.With("spool", o.SpoolDir), limit: limit, wake: make(chan struct{}, 1),
		portion: min(drainMost, o.MemoryMax/8),
	}
	s.open = func() (*spool.Spool, error) {
		files, err := spool.OpenDirectory(o.SpoolDir)
		if err != nil {
			return nil, err
		}
		opened, err := spool.Open(files, spool.Config{MaxBytes: o.SpoolMax, OnLost: s.lost})
		if err != nil {
			return nil, errors.Join(err, files.Close())
		}
		return opened, nil
	}
	return s
}

// done hears of every record that the writer is through with, and reports whether it was taken over.
func (s *spill) done(r *topic.Record, result topic.Result) (kept bool) {
	kept = result.State == topic.Dropped && s.keepable(r, result.Reason) && s.put(r)
	if p := s.feeding.Load(); p != nil && p.of[r] {
		if kept {
			p.back.Store(true)
		}
		if p.left.Add(-1) == 0 {
			s.poke()
		}
	}
	return kept
}

// keepable leaves out what would be refused again, for ever.
func (s *spill) keepable(r *topic.Record, why topic.Reason) bool {
	_, ring := s.out.Room()
	return why != topic.TooLarge && why != topic.Refused && weight(r) <= ring
}

// put queues a record for the disk. It never blocks; false: there is no room, and the record is booked as dropped.
func (s *spill) put(r *topic.Record) bool {
	size := weight(r)
	s.mu.Lock()
	fits := s.bytes+size <= s.limit && !s.closed
	if fits {
		s.queue = append(s.queue, r)
		s.bytes += size
	}
	closed := s.closed
	s.mu.Unlock()
	switch {
	case fits:
		s.poke()
	case closed:
		s.counters.dropped.add(spoolError, 1)
	default:
		s.counters.dropped.add(spoolSlow, 1)
	}
	return true
}

// weight is what a record takes in memory.
func weight(r *topic.Record) int64 {
	n := 256 + len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += 40 + len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return int64(n)
}

func (s *spill) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// held returns the bytes that wait for the disk.
func (s *spill) held() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// room returns the bytes that could be queued now.
func (s *spill) room() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limit - s.bytes
}

// expect makes room for all that the writer holds, which it is about to give back.
func (s *spill) expect(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit += bytes
	s.last = true
}

// lastChance reports once that it is, if something is queued.
func (s *spill) lastChance() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	is := s.last && len(s.queue) > 0
	s.last = s.last && !is
	return is
}

// lost is the spool's OnLost.
func (s *spill) lost(n int64, why spool.Reason) {
	s.counters.spooled.Add(-n)
	s.counters.dropped.add(string(why), uint64(n))
}

// run works until ctx ends, and then brings what is queued to the disk.
func (s *spill) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		s.work(time.Now())
		if s.spool != nil {
			s.disk.Store(s.spool.Bytes())
			s.failures.Store(s.spool.Failures())
		}
		timer.Reset(s.pause())
		select {
		case <-ctx.Done():
			s.end()
			return nil
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// pause is how long nothing has to be done unless something happens.
func (s *spill) pause() time.Duration {
	switch {
	case s.spool == nil:
		return reopenEvery
	case s.unstored || s.spool.Len() > 0:
		return drainEvery
	}
	return relieveWait // what would wake us is that the ring overflows: too late
}

// work does what there is to do now. What a portion gave back is on the disk before the portion is committed.
func (s *spill) work(now time.Time) {
	if s.spool == nil && (!now.Before(s.retry) || s.lastChance()) { // the tap before may have left the directory meanwhile
		s.start(now)
	}
	fed := s.feeding.Load()
	ended := fed != nil && fed.left.Load() == 0
	s.write(now)
	if s.spool == nil {
		return
	}
	s.relieve(now)
	if ended {
		s.feeding.Store(nil)
		s.unstored = true
		if fed.back.Load() {
			s.hold = now.Add(drainLeast)
		}
		s.judge(now, s.spool.Commit(fed.after))
	}
	if s.unstored && now.Sub(s.synced) >= syncEvery {
		s.synced, s.unstored = now, false
		if err := s.spool.Sync(); err != nil {
			s.unstored = true
			s.judge(now, err)
		}
	}
	if s.feeding.Load() == nil {
		s.feed(now)
	}
}

// relieve brings what waits in the ring to the disk, as much at a time as may be queued.
func (s *spill) relieve(now time.Time) {
	since := s.out.Shut()
	free, all := s.out.Room()
	if since.IsZero() || now.Sub(since) < relieveWait || now.Before(s.retry) || free == all {
		return
	}
	portion := s.room()
	s.out.Relieve(portion)
	s.write(now)
	if all-free > portion {
		s.poke()
	}
}

// start opens the spool, with what an earlier run has left there.
func (s *spill) start(now time.Time) {
	opened, err := s.open()
	if err != nil {
		s.retry = now.Add(reopenEvery)
		s.judge(now, err)
		return
	}
	s.spool, s.retry = opened, time.Time{}
	if n := opened.Len(); n > 0 {
		s.counters.recovered.Add(uint64(n))
		s.counters.spooled.Add(n)
		s.log.Info("an earlier run has left exchanges in the spool: they are sent as there is room", "exchanges", n, "bytes", opened.Bytes())
	}
	s.judge(now, nil)
}

// judge says when the disk begins to fail, and when it is over.
func (s *spill) judge(now time.Time, err error) {
	switch {
	case err != nil:
		s.failed = now
		if s.retry.Before(now) {
			s.retry = now.Add(brokenPause)
		}
		if !s.broken {
			s.broken = true
			s.log.Error("THE SPOOL FAILS: what Kafka and memory cannot take is dropped and counted; traffic passes", "error", err,
				"try", "room and rights where --spool-dir is; it is tried again by itself")
		}
	case s.broken && now.Sub(s.failed) >= reopenEvery: // a full disk takes a little now and then
		s.broken = false
		s.log.Info("the spool works again")
	}
}

// write brings what is queued to the disk.
func (s *spill) write(now time.Time) {
	s.mu.Lock()
	queue, bytes := s.queue, s.bytes
	s.queue = nil
	s.mu.Unlock()
	if len(queue) == 0 {
		return
	}
	if s.spool == nil || now.Before(s.retry) {
		s.counters.dropped.add(spoolError, uint64(len(queue)))
	} else {
		s.append(now, queue)
	}
	s.mu.Lock()
	s.bytes -= bytes
	s.mu.Unlock()
}

// append writes records in portions of a bounded size, so that little is held twice.
func (s *spill) append(now time.Time, queue []*topic.Record) {
	for len(queue) > 0 {
		s.buf, s.payloads = s.buf[:0], s.payloads[:0]
		n := 0
		for n < len(queue) && len(s.buf) < 256<<10 {
			from := len(s.buf)
			s.buf = topic.AppendRecord(s.buf, queue[n])
			s.payloads = append(s.payloads, s.buf[from:len(s.buf):len(s.buf)])
			n++
		}
		written, err := s.spool.Append(s.payloads)
		s.counters.spooled.Add(int64(written))
		s.unstored = s.unstored || written > 0
		clear(queue[:written])
		queue = queue[written:]
		switch {
		case errors.Is(err, spool.ErrTooLarge):
			s.counters.dropped.add(spoolError, 1)
			queue = queue[1:]
		case err != nil:
			s.counters.dropped.add(spoolError, uint64(len(queue)))
			s.judge(now, err)
			return
		}
	}
	s.judge(now, nil)
}

// feed puts a portion of what is spooled into the room that live records leave.
func (s *spill) feed(now time.Time) {
	if s.spool.Len() == 0 || now.Before(s.hold) {
		return
	}
	if !s.out.Shut().IsZero() {
		return
	}
	free, all := s.out.Room()
	if free < all/2 && now.Sub(s.fed) < drainLeast {
		return
	}
	payloads, after, err := s.spool.Take(drainMost/512, min(s.portion, free/2))
	if err != nil {
		s.judge(now, err)
	}
	s.fed = now
	s.counters.spooled.Add(-int64(len(payloads)))
	records := make([]topic.Record, 0, len(payloads))
	for _, b := range payloads {
		r, err := topic.ParseRecord(b)
		if err != nil {
			s.log.Warn("a spooled record cannot be read", "error", err)
			s.counters.dropped.add(spoolError, 1)
			continue
		}
		records = append(records, r)
	}
	p := &portion{of: make(map[*topic.Record]bool, len(records)), after: after}
	put := make([]*topic.Record, len(records))
	for i := range records {
		put[i] = &records[i]
		p.of[put[i]] = true
	}
	p.left.Store(int64(len(put)))
	s.feeding.Store(p)
	if len(put) == 0 {
		s.poke() // to be committed all the same
		return
	}
	s.out.PutAll(put)
}

// end takes no more, and leaves all in the spool for the next run.
func (s *spill) end() {
	s.work(time.Now())
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.work(time.Now()) // what came in between
	if s.spool == nil {
		return
	}
	if err := s.spool.Close(); err != nil {
		s.log.Error("the spool could not be closed; the last of it may come twice or not at all", "error", err)
	}
	s.disk.Store(s.spool.Bytes())
	if n := s.counters.spooled.Load(); n > 0 {
		s.log.Info("exchanges are left in the spool: the next tap with this --spool-dir sends them", "exchanges", n)
	}
}
