package topic

import (
	"context"
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
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
func (s State) String() string {
	switch s {
	case Acknowledged:
		return "acknowledged"
	case Dropped:
		return "dropped"
	case Unknown:
		return "unknown"
	default:
		return "unfinished"
	}
}

// Reason is why a record was dropped or is unknown; the set is closed, so that it can be a metric's label.
type Reason string

// The reasons.
const (
	RingFull      Reason = "ring_full"   // newer records needed its place
	BufferFull    Reason = "buffer_full" // the client's own bound, which ours keeps it from
	Timeout       Reason = "timeout"
	Unreachable   Reason = "unreachable"
	TooLarge      Reason = "too_large"
	TopicMissing  Reason = "topic_missing"
	NotAuthorized Reason = "not_authorized"
	Shutdown      Reason = "shutdown"
	Refused       Reason = "refused" // for what is in the record: no second attempt changes that
	Closed        Reason = "closed"  // put after Run had ended
	Other         Reason = "other"
)

// Reasons returns all reasons.
func Reasons() []Reason {
	return []Reason{
		RingFull, BufferFull, Timeout, Unreachable, TooLarge, TopicMissing, NotAuthorized, Refused, Shutdown, Closed, Other,
	}
}

// Result is how a record ended and, unless it was acknowledged, why.
type Result struct {
	State  State
	Reason Reason
}

// verdict is what the client's error says of a record.
type verdict struct {
	Result
	again bool // certainly not stored, and worth another try
	heal  bool // the topic is not the one the client knows
}

// judge says what err means for a record. sent: some produce request was written since the client had it, so that the
// record may have been in it; unanswered: some produce request since then ended without an answer.
//
// Whatever may be stored is Unknown. Certainly not stored is: what was in no request; what the broker refused, if no earlier
// request that carried it can have gone unanswered; and what was sent to a topic that is no more.
func judge(err error, sent, unanswered bool) verdict {
	refused := func(r Reason) verdict { return verdict{Result: Result{Dropped, r}} }
	unless := func(mayBeStored bool, v verdict) verdict {
		if mayBeStored {
			v.State, v.again = Unknown, false
		}
		return v
	}
	unsent := func(r Reason) verdict { return verdict{Result: Result{Dropped, r}, again: true} }

	switch {
	case errors.Is(err, kerr.MessageTooLarge), errors.Is(err, kerr.RecordListTooLarge):
		return unless(unanswered, refused(TooLarge))
	case alwaysRefused(err):
		return unless(unanswered, refused(Refused))
	case errors.Is(err, kerr.UnknownTopicID):
		v := unsent(TopicMissing)
		v.heal = true
		return v
	case isNotAuthorized(err):
		return unless(unanswered, unsent(NotAuthorized)) // until somebody allows it
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return unless(sent, unsent(TopicMissing))
	case errors.Is(err, kgo.ErrMaxBuffered):
		return unsent(BufferFull)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, kgo.ErrRecordRetries):
		if sent {
			return verdict{Result: Result{Unknown, Timeout}}
		}
		return unsent(Unreachable)
	case errors.Is(err, kgo.ErrClientClosed), errors.Is(err, kgo.ErrAborting), errors.Is(err, context.Canceled):
		return unless(sent, refused(Shutdown))
	case unreachable(err):
		return unless(sent, unsent(Unreachable))
	default:
		return unless(sent, unsent(Other))
	}
}

// alwaysRefused are answers about the record itself, which no second attempt changes.
func alwaysRefused(err error) bool {
	k, _ := errors.AsType[*kerr.Error](err)
	return k != nil && slices.Contains([]*kerr.Error{
		kerr.InvalidRecord, kerr.InvalidTimestamp, kerr.UnsupportedForMessageFormat, kerr.UnsupportedCompressionType,
		kerr.InvalidTopicException, kerr.PolicyViolation,
	}, k)
}
