package control

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// ErrCorrupt is wrapped by Unmarshal's errors.
var ErrCorrupt = errors.New("corrupt control record")

// Record is a control record ready to be produced.
type Record struct {
	Key   Key
	Value []byte
}

// Author says who writes a control record, and when.
type Author struct {
	Writer string // program, host and process; unique to a process
	Time   time.Time
}

// Report is the record of a tap that tells about itself.
func (a Author) Report(r *reprisev1.TapReport) Record {
	return a.record(TapKey(r.GetTapId()), &reprisev1.Control{Kind: &reprisev1.Control_TapReport{TapReport: r}})
}

// Spec is the proposal of what a run is.
func (a Author) Spec(s *reprisev1.RunSpec) Record {
	return a.record(SpecKey(s.GetRun(), a.Writer), &reprisev1.Control{Kind: &reprisev1.Control_RunSpec{RunSpec: s}})
}

// Base is the proposal of a run's time base.
func (a Author) Base(b *reprisev1.TimeBase) Record {
	return a.record(BaseKey(b.GetRun(), b.GetGeneration(), b.GetLoop(), a.Writer),
		&reprisev1.Control{Kind: &reprisev1.Control_TimeBase{TimeBase: b}})
}

// End tells how one generation of a run ended.
func (a Author) End(e *reprisev1.RunEnd) Record {
	return a.record(EndKey(e.GetRun(), e.GetGeneration()), &reprisev1.Control{Kind: &reprisev1.Control_RunEnd{RunEnd: e}})
}

// Replica is the report of a process that works on a run.
func (a Author) Replica(r *reprisev1.ReplicaReport) Record {
	return a.record(ReplicaKey(r.GetRun(), r.GetGeneration(), a.Writer),
		&reprisev1.Control{Kind: &reprisev1.Control_ReplicaReport{ReplicaReport: r}})
}

// Tally is what a process has sent of a run.
func (a Author) Tally(t *reprisev1.RunTally) Record {
	return a.record(TallyKey(t.GetRun(), t.GetGeneration(), a.Writer), &reprisev1.Control{Kind: &reprisev1.Control_RunTally{RunTally: t}})
}

// Verdict is the proposal of what a run is judged by.
func (a Author) Verdict(v *reprisev1.RunVerdict) Record {
	return a.record(VerdictKey(v.GetRun(), v.GetGeneration(), a.Writer), &reprisev1.Control{Kind: &reprisev1.Control_RunVerdict{RunVerdict: v}})
}

// Command is an order to replayers or taps. One without an id is given one.
func (a Author) Command(c *reprisev1.Command) Record {
	if c.GetId() == "" {
		var id [8]byte
		_, _ = rand.Read(id[:]) // never fails
		c.Id = hex.EncodeToString(id[:])
	}
	key := CommandKey(c.GetId())
	if c.GetTap() != "" {
		key = TapCommandKey(c.GetTap(), c.GetVerb())
	}
	return a.record(key, &reprisev1.Control{Kind: &reprisev1.Control_Command{Command: c}})
}

func (a Author) record(key Key, c *reprisev1.Control) Record {
	c.Writer = a.Writer
	if !a.Time.IsZero() {
		c.TimeUnixNano = uint64(a.Time.UnixNano())
	}
	return Record{Key: key, Value: Marshal(c)}
}

// Marshal encodes c. Strings that are no UTF-8 cannot be encoded; callers make none.
func Marshal(c *reprisev1.Control) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil {
		panic(fmt.Sprintf("control: %v", err)) // only a string that is no UTF-8 gets here: a fault of this program
	}
	return b
}

// Unmarshal decodes a control record's value. A kind that a newer version wrote gives a Control without a kind.
func Unmarshal(value []byte) (*reprisev1.Control, error) {
	c := new(reprisev1.Control)
	if err := proto.Unmarshal(value, c); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return c, nil
}
