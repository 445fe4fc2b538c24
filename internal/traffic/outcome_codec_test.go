package traffic

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

func outcomeMessage(o *Outcome) *reprisev1.Outcome {
	m := &reprisev1.Outcome{
		Run: valid(o.Run), Loop: o.Loop, Clone: o.Clone, Attempt: o.Attempt, Partition: o.Partition, Offset: o.Offset,
		Result: reprisev1.Result(o.Result), Reason: valid(o.Reason), Detail: valid(o.Detail),
		CaptureTimeUnixNano: unixNano(o.CaptureTime), DueTimeUnixNano: unixNano(o.DueTime),
		FireTimeUnixNano: unixNano(o.FireTime), TtfbNano: uint64(o.TTFB), DurationNano: uint64(o.Duration),
		Status: uint32(o.Status), RecordedStatus: uint32(o.RecordedStatus),
		RecordedDurationNano: uint64(o.RecordedDuration), Verdict: reprisev1.Verdict(o.Verdict),
		Method: o.Method, Route: o.Route, Answer: responseMessage(o.Answer), BodySize: uint64(o.BodySize), Generation: o.Generation,
	}
	if o.ExchangeID != (ID{}) {
		m.ExchangeId = o.ExchangeID[:]
	}
	m.Differences = differenceMessages(o.Differences)
	if b := o.Baseline; b != nil {
		m.Baseline = &reprisev1.Baseline{
			Reason: valid(b.Reason), Status: uint32(b.Status), DurationNano: uint64(b.Duration), Twice: b.Twice,
			Own: differenceMessages(b.Own), Noise: differenceMessages(b.Noise), Recorded: reprisev1.Verdict(b.Recorded),
		}
	}
	return m
}

func differenceMessages(all []Difference) (m []*reprisev1.Difference) {
	for _, d := range all {
		m = append(m, &reprisev1.Difference{
			Path: valid(d.Path), Kind: reprisev1.Difference_Kind(d.Kind), Recorded: d.Recorded, Got: d.Got,
		})
	}
	return m
}

func shopOutcome() *Outcome {
	at := time.Date(2026, 11, 22, 13, 42, 10, 0, time.UTC)
	return &Outcome{
		Run: "yesterday", Generation: 2, Loop: 1, Clone: 2, ExchangeID: ID{1}, Attempt: 1, Partition: 3, Offset: 44, Result: Fired,
		Reason: "", Detail: "ok", CaptureTime: at, DueTime: at.Add(time.Hour), FireTime: at.Add(time.Hour + time.Millisecond),
		TTFB: time.Millisecond, Duration: 2 * time.Millisecond, Status: 200, RecordedStatus: 201,
		RecordedDuration: 3 * time.Millisecond, BodySize: 5, Verdict: StatusChanged,
		Differences: []Difference{{Path: "status", Kind: ValueDiffers, Recorded: []byte("201"), Got: []byte("200")}, {Path: "/items/*/price", Kind: Missing}},
		Method:      []byte("GET"), Route: []byte("/items/{id}"), Answer: &Response{Status: 200, Body: []byte("hello")},
		Baseline: &Baseline{
			Reason: "timeout", Status: 201, Duration: 4 * time.Millisecond, Twice: true,
			Recorded: BodyChanged,
			Own:      []Difference{{Path: "/at", Kind: ValueDiffers, Recorded: []byte("1"), Got: []byte("2")}},
			Noise:    []Difference{{Path: "/at", Kind: TypeDiffers, Recorded: []byte("1"), Got: []byte(`"3"`)}},
		},
	}
}

func TestAppendOutcomeEqualsProtoMarshal(t *testing.T) {
	for name, o := range map[string]*Outcome{
		"zero value":         {},
		"everything":         shopOutcome(),
		"no exchange id":     {Result: BadRecord, Reason: "corrupt", Partition: 4, Offset: 9},
		"offset -1":          {Partition: -1, Offset: -1},
		"clocks that differ": {TTFB: -1, Duration: -time.Second},
		"text not UTF-8":     {Run: "\xff", Differences: []Difference{{Path: "/\xff"}}},
	} {
		t.Run(name, func(t *testing.T) {
			b := AppendOutcome([]byte{}, o)
			require.Equal(t, marshal(t, outcomeMessage(o)), b)
			var back Outcome
			require.NoError(t, DecodeOutcome(b, &back))
			require.Equal(t, b, AppendOutcome([]byte{}, &back))
		})
	}
}

func TestDecodeOutcomeGivesBackWhatWasEncoded(t *testing.T) {
	want, got := shopOutcome(), Outcome{Run: "old", Differences: []Difference{{Path: "old"}}}
	require.NoError(t, DecodeOutcome(AppendOutcome(nil, want), &got))
	require.Equal(t, want, &got)
	require.Equal(t, time.Millisecond, got.Lateness())
}

func TestDecodeOutcomeRefusesCorruptRecords(t *testing.T) {
	whole := AppendOutcome(nil, shopOutcome())
	require.ErrorIs(t, DecodeOutcome(whole[:len(whole)-1], new(Outcome)), ErrCorrupt)
	require.ErrorIs(t, DecodeOutcome([]byte{0x22, 0x01, 'x'}, new(Outcome)), ErrCorrupt)
}

func FuzzAppendOutcomeEqualsProtoMarshal(f *testing.F) {
	for seed := range uint64(32) {
		f.Add(seed, []byte("/items/*/price\xff"))
	}
	f.Fuzz(func(t *testing.T, seed uint64, text []byte) {
		r := random{rand.New(rand.NewPCG(seed, 3)), text}
		o := &Outcome{
			Run: string(r.bytes()), Generation: r.Uint32(), Loop: r.Uint32(), Clone: r.Uint32() & 1, ExchangeID: ID{byte(r.IntN(2))}, Attempt: r.Uint32(),
			Partition: int32(r.Uint32()), Offset: r.Int64() - r.Int64(), Result: Result(r.IntN(256)), Reason: string(r.bytes()),
			Detail: string(r.bytes()), CaptureTime: r.time(), DueTime: r.time(), FireTime: r.time(),
			TTFB: time.Duration(r.Uint64()), Duration: time.Duration(r.Uint64()), Status: int(r.Uint32()),
			RecordedStatus: int(r.Uint32()), RecordedDuration: time.Duration(r.Uint64()), BodySize: r.Int64(),
			Verdict: Verdict(r.IntN(256)), Method: r.bytes(), Route: r.bytes(), Answer: r.response(),
		}
		differences := func() (all []Difference) {
			for range r.IntN(3) {
				all = append(all, Difference{
					Path: string(r.bytes()), Kind: DifferenceKind(r.IntN(6)), Recorded: r.bytes(), Got: r.bytes(),
				})
			}
			return all
		}
		o.Differences = differences()
		if r.IntN(2) == 0 {
			o.Baseline = &Baseline{
				Reason: string(r.bytes()), Status: int(r.Uint32()), Duration: time.Duration(r.Uint64()), Twice: r.IntN(2) == 0,
				Own: differences(), Noise: differences(), Recorded: Verdict(r.IntN(256)),
			}
		}
		b := AppendOutcome([]byte{}, o)
		require.Equal(t, marshal(t, outcomeMessage(o)), b)
		var back Outcome
		require.NoError(t, DecodeOutcome(b, &back))
		require.Equal(t, b, AppendOutcome([]byte{}, &back))
	})
}

func FuzzDecodeOutcome(f *testing.F) {
	whole := AppendOutcome(nil, shopOutcome())
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		var o, again Outcome
		if err := DecodeOutcome(b, &o); err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		once := AppendOutcome(nil, &o)
		require.NoError(t, DecodeOutcome(once, &again))
		require.Equal(t, once, AppendOutcome(nil, &again))
	})
}
