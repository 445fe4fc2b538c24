package replay

import (
	"bytes"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/sample"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// The reasons that the sieve itself gives.
const (
	outsideWindow   = "outside_window"   // captured before --from or after --to
	filtered        = "filter"           // by --filter, --include, --exclude
	filterFailed    = "filter_error"     // an expression could not be evaluated for it
	sampledOut      = "sampled_out"      // by --sample
	redactionFailed = "redaction_failed" // its header block could not be redacted
	identityFailed  = "identity_failed"  // a copy could not be made another user, or another request
	corrupt         = "corrupt"
	noCaptureTime   = "no_capture_time"
	stale           = "stale" // live: older than --max-stale
	tooLate         = "late"  // --late drop
	soughtPast      = "seek"  // replayer seek went past it
)

// sieve decides what becomes of each record before its time comes. It is safe for concurrent use.
type sieve struct {
	from, to time.Time
	maxStale time.Duration // 0: nothing is stale
	share    sample.Share  // of what the filters want
	filters  []*filter.Filter
	sets     []*filter.Set // all must want it
	redactor *redact.Redactor
	rules    *filter.Set // the one of the rules file among sets; nil: there is none
	digest   []byte
	guard    *fire.Guard  // nil: not asked
	dresser  *dresser     // nil: nothing is prepared
	sender   *fire.Sender // the same
	caps     []*filter.Filter
	clones   clones
	flagged  traffic.Flags // marks that do not matter
}

// newSieve compiles the filters.
func newSieve(o *Options) (*sieve, error) {
	s := &sieve{from: o.From, to: o.To, share: o.share(), flagged: o.Flagged}
	if o.Live {
		s.maxStale = o.MaxStale
	}
	for _, src := range o.Filter {
		f, err := filter.Compile(src)
		if err != nil {
			return nil, err
		}
		s.filters = append(s.filters, f)
	}
	if len(o.Include)+len(o.Exclude) > 0 {
		set, err := filter.CompileSet(o.Include, o.Exclude)
		if err != nil {
			return nil, err
		}
		s.sets = append(s.sets, set)
	}
	if o.RulesFilter != nil {
		s.sets, s.rules = append(s.sets, o.RulesFilter), o.RulesFilter
	}
	var err error
	if s.caps, err = compileCaps(o.Caps); err != nil {
		return nil, err
	}
	r, err := redact.New(redact.Options{Key: o.RedactKey, KeyID: o.RedactKeyID, Rules: o.RedactRules})
	if err != nil {
		return nil, err
	}
	s.redactor, s.digest = r, r.Digest()
	if s.clones, err = newClones(o, nil); err != nil {
		return nil, err
	}
	return s, nil
}

// quiet returns a sieve that decides the same and counts nothing, for a look ahead.
func (s *sieve) quiet() *sieve {
	q := *s
	q.sets = nil
	for _, set := range s.sets {
		q.sets = append(q.sets, set.Uncounted())
	}
	return &q
}

// judgement is what the sieve found. The zero value lets the exchange through.
type judgement struct {
	result traffic.Result // 0: to be fired
	reason string
	detail string
}

// sift is all of the sieve at once: glance, read and safe.
func (s *sieve) sift(r *topic.Record, it *item, d *traffic.Decoder, now time.Time) judgement {
	if j := s.wanted(r, it, d, now); j.result != 0 {
		return j
	}
	return s.safe(it)
}

// wanted is the part of sift that asks neither guard nor target.
func (s *sieve) wanted(r *topic.Record, it *item, d *traffic.Decoder, now time.Time) judgement {
	g, j := s.glance(r, it, d, now)
	if j.result != 0 {
		return j
	}
	return s.read(r.Value, g.id, it, d)
}

// glimpse is what a record's Kafka headers tell.
type glimpse struct {
	id      traffic.ID
	capture time.Time
}

// glance decides what can be decided from the Kafka headers of a record, and at least when it was captured. A record
// without them is read into it for that.
func (s *sieve) glance(r *topic.Record, it *item, d *traffic.Decoder, now time.Time) (glimpse, judgement) {
	var m traffic.Meta
	if traffic.ParseMeta(r.Headers, &m) != nil {
		id := m.ID
		if err := d.Decode(r.Value, &it.x); err != nil {
			it.x = traffic.Exchange{ID: id}
			return glimpse{id: id}, judgement{traffic.BadRecord, corrupt, err.Error()}
		}
		if it.x.CaptureTime.IsZero() {
			return glimpse{id: it.x.ID}, judgement{traffic.BadRecord, noCaptureTime, "the exchange has no capture time"}
		}
		g := glimpse{it.x.ID, it.x.CaptureTime}
		return g, s.byTime(g.capture, now)
	}
	g := glimpse{m.ID, m.CaptureTime}
	if j := s.byTime(g.capture, now); j.result != 0 {
		return g, j
	}
	for _, set := range s.sets {
		if !set.HeaderOnly() {
			continue
		}
		keep, _ := set.KeepHeaders(filter.Meta{
			Method: string(m.Method), Path: string(m.Path), Status: m.Status, Flags: m.Flags, Time: m.CaptureTime,
		})
		if !keep {
			return g, judgement{result: traffic.Skipped, reason: filtered}
		}
	}
	return g, judgement{}
}

// read decodes a record into it and decides what its content tells. The decoder must not be used by others meanwhile.
func (s *sieve) read(value []byte, id traffic.ID, it *item, d *traffic.Decoder) judgement {
	x := &it.x
	if err := d.Decode(value, x); err != nil {
		*x = traffic.Exchange{ID: id}
		return judgement{traffic.BadRecord, corrupt, err.Error()}
	}
	if x.CaptureTime.IsZero() {
		return judgement{traffic.BadRecord, noCaptureTime, "the exchange has no capture time"}
	}
	if bad := x.Flags.Unreplayable() &^ s.flagged; bad != 0 {
		return judgement{result: traffic.Skipped, reason: flagReason(bad)}
	}
	return s.byRule(x)
}

func (s *sieve) byTime(capture, now time.Time) judgement {
	if !s.from.IsZero() && capture.Before(s.from) || !s.to.IsZero() && capture.After(s.to) {
		return judgement{result: traffic.Skipped, reason: outsideWindow}
	}
	if s.maxStale > 0 && now.Sub(capture) > s.maxStale {
		return judgement{result: traffic.Late, reason: stale}
	}
	return judgement{}
}

func (s *sieve) byRule(x *traffic.Exchange) judgement {
	for _, f := range s.filters {
		switch ok, err := f.Match(x); {
		case err != nil:
			return judgement{result: traffic.Skipped, reason: filterFailed}
		case !ok:
			return judgement{result: traffic.Skipped, reason: filtered}
		}
	}
	for _, set := range s.sets {
		if keep, _ := set.Keep(x); !keep {
			return judgement{result: traffic.Skipped, reason: filtered}
		}
	}
	if s.share != sample.All && !s.share.Keeps(sample.HashRecorded(x)) {
		return judgement{result: traffic.Skipped, reason: sampledOut}
	}
	return judgement{}
}

// safe redacts again what other rules or another key redacted, asks the guard and builds the request.
func (s *sieve) safe(it *item) judgement {
	x := &it.x
	if !bytes.Equal(x.RulesDigest, s.digest) || len(s.digest) == 0 {
		if err := s.redactor.Exchange(x); err != nil {
			return judgement{result: traffic.Refused, reason: redactionFailed}
		}
		if bad := x.Flags.Unreplayable() &^ s.flagged; bad != 0 {
			return judgement{result: traffic.Skipped, reason: flagReason(bad)}
		}
	}
	if x.Flags&s.flagged != 0 { // then what is there is the request
		x.Flags &^= s.flagged
		x.Request.BodySize = int64(len(x.Request.Body))
	}
	if err := s.clones.become(it); err != nil {
		return judgement{result: traffic.Refused, reason: identityFailed, detail: err.Error()}
	}
	if s.guard != nil {
		if reason, ok := s.guard.Admit(x); !ok {
			return judgement{result: traffic.Refused, reason: reason}
		}
	}
	it.bytes = x.Size() + itemOverhead
	it.prepareStep()
	if s.dresser != nil {
		if j := s.dresser.plan(it); j.result != 0 {
			return j
		}
	}
	if it.shot != nil {
		it.bytes += it.shot.Size()
	}
	return judgement{}
}

// flagReason names the first of the marks that keep an exchange from being replayed.
func flagReason(f traffic.Flags) string { return strings.ToLower((f & -f).String()) }
