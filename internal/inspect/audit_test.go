package inspect

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/wire"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

const controls = "reprise.control"

// theTap is the tap of exchange.
func theTap() []byte { return append([]byte{0x9f, 0x3c}, make([]byte, 14)...) }

// report stores what a tap says of itself.
func (r *rig) report(at time.Duration, t *reprisev1.TapReport) {
	r.t.Helper()
	_, err := kadm.NewClient(r.client).CreateTopics(r.context(), 1, 1, nil, controls)
	require.NoError(r.t, err)
	if t.TapId == nil {
		t.TapId = theTap()
	}
	rec := control.Author{Writer: "test", Time: noon.Add(at)}.Report(t)
	require.NoError(r.t, r.client.ProduceSync(r.context(),
		&kgo.Record{Topic: controls, Key: []byte(rec.Key), Value: rec.Value}).FirstErr())
	r.reader.now = func() time.Time { return noon.Add(time.Hour) }
}

// seqs stores exchanges of those numbers, a second apart.
func (r *rig) seqs(partition int32, numbers ...int) {
	r.t.Helper()
	for _, n := range numbers {
		r.put(partition, exchange(n, time.Duration(n)*time.Second, "/", 200))
	}
}

func (r *rig) audit(q AuditQuery) (*Audit, error) {
	r.t.Helper()
	a, err := r.reader.Audit(r.context(), controls, q)
	if err == nil {
		require.True(r.t, a.Closes)
	}
	return a, err
}

func TestAuditClosesWhenEveryMissingNumberIsCounted(t *testing.T) {
	r := newRig(t, 2)
	r.seqs(0, 1, 2, 5)
	r.seqs(1, 3, 8, 9, 9)
	r.report(time.Minute, &reprisev1.TapReport{Name: "gw", Final: true, Counters: &reprisev1.Counters{
		Seen: 20, Produced: 6, Filtered: 10, Dropped: map[string]uint64{"ring_full": 2, "memory": 0}, Unknown: 1, Spooled: 1, LastSeq: 10,
	}})
	a, err := r.audit(AuditQuery{})
	require.NoError(t, err)
	require.Len(t, a.Taps, 1)
	got := a.Taps[0]
	require.Equal(t, TapStopped, got.State)
	require.EqualValues(t, 6, got.Found)
	require.EqualValues(t, 1, got.Duplicates)
	require.EqualValues(t, 4, got.Missing)
	require.EqualValues(t, 4, got.Counted)
	require.Len(t, got.Gaps, 3)
	require.EqualValues(t, 6, got.Gaps[1].First)
	require.EqualValues(t, 7, got.Gaps[1].Last)
	require.Equal(t, GapCounted, got.Gaps[1].Cause)
	require.NotNil(t, got.Gaps[1].After)

	var out bytes.Buffer
	require.NoError(t, WriteAudit(&out, a))
	require.Contains(t, out.String(), "the sum closes")
	require.Contains(t, out.String(), "6–7 (2)")

	out.Reset()
	require.NoError(t, WriteAudit(&out, &Audit{Closes: true}))
	require.Contains(t, out.String(), "nothing to judge")
	require.NotContains(t, out.String(), "closes", "of no tap nothing is known")
}

func TestAuditFailsOnWhatNobodyCounted(t *testing.T) {
	r := newRig(t, 1)
	r.seqs(0, 1, 2, 5)
	r.report(time.Minute, &reprisev1.TapReport{Final: true, Counters: &reprisev1.Counters{
		Seen: 8, Produced: 5, Dropped: map[string]uint64{"memory": 3}, LastSeq: 5,
	}})
	a, err := r.audit(AuditQuery{})
	require.Equal(t, fault.Incomplete, fault.Code(err))
	require.False(t, a.Closes)
	require.EqualValues(t, 2, a.Taps[0].Unexplained, "what was dropped before it had a number explains none")
	require.Equal(t, GapUnexplained, a.Taps[0].Gaps[0].Cause)
}

func TestWhatWasNeverNumberedExplainsNoMissingNumber(t *testing.T) {
	for loss := range wire.Losses {
		if loss == wire.LostMarked { // filtered, not dropped
			continue
		}
		r := newRig(t, 1)
		r.seqs(0, 1, 2, 5)
		r.report(time.Minute, &reprisev1.TapReport{Final: true, Counters: &reprisev1.Counters{
			Seen: 8, Produced: 5, Dropped: map[string]uint64{loss.String(): 3}, LastSeq: 5,
		}})
		a, err := r.audit(AuditQuery{})
		require.Equal(t, fault.Incomplete, fault.Code(err), loss)
		require.EqualValues(t, 2, a.Taps[0].Unexplained, loss)
	}
}

func TestAuditFailsOnCountersThatDoNotAddUp(t *testing.T) {
	r := newRig(t, 1)
	r.seqs(0, 1)
	r.report(time.Minute, &reprisev1.TapReport{Final: true, Counters: &reprisev1.Counters{Seen: 8, Produced: 1, LastSeq: 1}})
	a, err := r.audit(AuditQuery{})
	require.Equal(t, fault.Incomplete, fault.Code(err))
	require.False(t, a.Taps[0].Balanced)
}

func TestAuditSaysWhatCannotBeKnownOfAKilledTap(t *testing.T) {
	r := newRig(t, 1)
	r.seqs(0, 1, 2, 4, 9, 12)
	r.report(10*time.Second, &reprisev1.TapReport{Name: "gw", Counters: &reprisev1.Counters{
		Seen: 10, Produced: 2, Pending: 8, LastSeq: 10,
	}})
	a, err := r.audit(AuditQuery{})
	require.NoError(t, err)
	got := a.Taps[0]
	require.Equal(t, TapKilled, got.State)
	require.EqualValues(t, 7, got.Missing) // 3, 5-8, 10; 11
	require.EqualValues(t, 6, got.Counted)
	require.EqualValues(t, 1, got.AfterReport)
	require.Contains(t, got.Note, "after 12:00:10.000")
	require.Equal(t, GapAfterReport, got.Gaps[len(got.Gaps)-1].Cause)

	r.reader.now = func() time.Time { return noon.Add(20 * time.Second) }
	a, err = r.audit(AuditQuery{})
	require.NoError(t, err)
	require.Equal(t, TapRunning, a.Taps[0].State)
}

func TestAuditOfAWindowLooksBetweenTheFirstAndTheLastInIt(t *testing.T) {
	r := newRig(t, 1)
	r.seqs(0, 2, 3, 5, 6, 9)
	r.report(time.Minute, &reprisev1.TapReport{Final: true, Counters: &reprisev1.Counters{Seen: 9, Produced: 9, LastSeq: 9}})
	a, err := r.audit(AuditQuery{From: noon.Add(3 * time.Second), To: noon.Add(7 * time.Second)})
	require.Equal(t, fault.Incomplete, fault.Code(err))
	require.EqualValues(t, 1, a.Taps[0].Missing)
	require.EqualValues(t, 4, a.Taps[0].Gaps[0].First)
	require.EqualValues(t, 2, a.Taps[0].CutOff)
}

func TestAuditOfChosenTapsOnly(t *testing.T) {
	r := newRig(t, 1)
	r.seqs(0, 1, 3)
	r.report(0, &reprisev1.TapReport{Name: "a", Final: true, Counters: &reprisev1.Counters{Seen: 3, Produced: 3, LastSeq: 3}})
	other := bytes.Repeat([]byte{7}, 16)
	r.report(0, &reprisev1.TapReport{TapId: other, Name: "b", Final: true, Counters: &reprisev1.Counters{}})
	a, err := r.audit(AuditQuery{Taps: []string{"0707"}})
	require.NoError(t, err)
	require.Len(t, a.Taps, 1)
	require.Equal(t, "b", a.Taps[0].Name)
	_, err = r.audit(AuditQuery{Taps: []string{"a"}})
	require.Equal(t, fault.Incomplete, fault.Code(err))
	_, err = r.audit(AuditQuery{Taps: []string{"nobody"}})
	require.ErrorContains(t, err, "no tap nobody has reported")
}

func TestAuditCountsIdsWithoutAReport(t *testing.T) {
	r := newRig(t, 1)
	r.report(0, &reprisev1.TapReport{TapId: bytes.Repeat([]byte{7}, 16), Final: true, Counters: &reprisev1.Counters{}})
	r.seqs(0, 1, 3)
	a, err := r.audit(AuditQuery{})
	require.NoError(t, err)
	require.Equal(t, 1, a.Unreported)
}

func TestSequenceNamesItsGaps(t *testing.T) {
	s, tap := newSequences(), [16]byte{}
	missing := map[uint64]bool{1: true, 64: true, 65: true, 128: true, pageSize: true, 2*pageSize + 5: true}
	for n := uint64(1); n < 4*pageSize; n++ {
		if !missing[n] && (n < 3*pageSize || n > 3*pageSize+100) {
			require.False(t, s.note(tap, 0, n, false, int64(n)))
		}
	}
	require.True(t, s.note(tap, 0, 2, false, 2))
	require.Equal(t, 4, s.pages)
	var got [][2]uint64
	s.taps[tap].gaps(1, 4*pageSize+9, func(first, last uint64, _, _ int64) { got = append(got, [2]uint64{first, last}) })
	require.Equal(t, [][2]uint64{
		{1, 1},
		{64, 65},
		{128, 128},
		{pageSize, pageSize},
		{2*pageSize + 5, 2*pageSize + 5},
		{3 * pageSize, 3*pageSize + 100},
		{4 * pageSize, 4*pageSize + 9},
	}, got)
	for _, n := range []uint64{1, 64, 65, 128} {
		require.False(t, s.note(tap, 0, n, false, 0))
	}
	require.Equal(t, 3, s.pages, "a page without holes needs no memory")
	require.Equal(t, 1, s.filled)
	require.True(t, s.note(tap, 0, 64, false, 0))
	n, ok := s.missing(tap, nil)
	require.True(t, ok)
	require.EqualValues(t, 103, n)
}
