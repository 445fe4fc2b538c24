package traffic

import (
	"strings"
	"time"

	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// Outcome is what became of one exchange in one run.
type Outcome struct {
	Run        string
	Generation uint32 // counts --restart, from 1; 0: not told
	Loop       uint32
	Clone      uint32
	ExchangeID ID
	Attempt    uint32 // from 1
	Partition  int32
	Offset     int64
	Result     Result
	Reason     string // bounded, lower_case; empty when fired without fault
	Detail     string // one line for a person

	CaptureTime time.Time
	DueTime     time.Time
	FireTime    time.Time
	TTFB        time.Duration // fire time to first byte of the answer
	Duration    time.Duration // fire time to last byte of the answer

	Status           int // 0: no answer
	RecordedStatus   int // 0: none recorded
	RecordedDuration time.Duration
	BodySize         int64
	Verdict          Verdict
	Differences      []Difference
	Method           []byte
	Route            []byte    // learned path template, redacted
	Answer           *Response // only where it differs, redacted
	Baseline         *Baseline // nil: compared with what was recorded
}

// Lateness is how much after its due time the request was fired.
func (o *Outcome) Lateness() time.Duration { return o.FireTime.Sub(o.DueTime) }

// Baseline is what the old build answered to the same request: what the target's answer is compared with.
type Baseline struct {
	Reason   string // bounded, lower_case: why it was not; empty: it was
	Status   int    // 0: no answer
	Duration time.Duration
	Twice    bool         // the old build was asked twice, and its answers compared
	Own      []Difference // where these two differ
	Noise    []Difference // of the target's answer, left out as the old build differs from itself there as well
	Recorded Verdict      // of the target's answer by the recorded one
}

// Difference is one place where the target's answer is not the baseline's.
type Difference struct {
	Path     string // "status", "body", or a path in a JSON body: "/items/*/price"
	Kind     DifferenceKind
	Recorded []byte // short
	Got      []byte // short
}

// Result is what became of an exchange.
type Result uint8

// The results, numbered as in the protobuf.
const (
	Fired     = Result(reprisev1.Result_RESULT_FIRED)
	Failed    = Result(reprisev1.Result_RESULT_FAILED)
	Skipped   = Result(reprisev1.Result_RESULT_SKIPPED)
	Refused   = Result(reprisev1.Result_RESULT_REFUSED)
	Late      = Result(reprisev1.Result_RESULT_LATE)
	BadRecord = Result(reprisev1.Result_RESULT_BAD_RECORD)
)

// String returns "fired", "bad_record" and so on.
func (r Result) String() string { return enumName(reprisev1.Result(r).String(), "RESULT_") }

// Verdict is what comparing an answer with its baseline found.
type Verdict uint8

// The verdicts, numbered as in the protobuf.
const (
	NoBaseline    = Verdict(reprisev1.Verdict_VERDICT_NO_BASELINE)
	Same          = Verdict(reprisev1.Verdict_VERDICT_SAME)
	StatusChanged = Verdict(reprisev1.Verdict_VERDICT_STATUS_CHANGED)
	BodyChanged   = Verdict(reprisev1.Verdict_VERDICT_BODY_CHANGED)
)

// String returns "same", "status_changed" and so on.
func (v Verdict) String() string { return enumName(reprisev1.Verdict(v).String(), "VERDICT_") }

// DifferenceKind tells in what way two values differ.
type DifferenceKind uint8

// The kinds, numbered as in the protobuf.
const (
	ValueDiffers = DifferenceKind(reprisev1.Difference_KIND_VALUE)
	TypeDiffers  = DifferenceKind(reprisev1.Difference_KIND_TYPE)
	Missing      = DifferenceKind(reprisev1.Difference_KIND_MISSING)
	Extra        = DifferenceKind(reprisev1.Difference_KIND_EXTRA)
)

// String returns "value", "type", "missing" or "extra".
func (k DifferenceKind) String() string {
	return enumName(reprisev1.Difference_Kind(k).String(), "KIND_")
}

func enumName(s, prefix string) string { return strings.ToLower(strings.TrimPrefix(s, prefix)) }
