package inspect

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSequenceCountsOnlyWhatIsCertain(t *testing.T) {
	tap := [16]byte{1}
	type number struct {
		partition int32
		seq       uint64
		young     bool
	}
	for name, row := range map[string]struct {
		numbers []number
		cut     []int32
		missing uint64
		ok      bool
	}{
		"none":                        {nil, nil, 0, true},
		"all there":                   {[]number{{0, 1, false}, {1, 2, false}, {0, 3, false}}, nil, 0, true},
		"the beginning is missing":    {[]number{{0, 3, false}}, nil, 2, true},
		"twice the same":              {[]number{{0, 1, false}, {0, 1, false}, {0, 3, false}}, nil, 1, true},
		"0 is no number":              {[]number{{0, 0, false}, {0, 1, false}}, nil, 0, true},
		"cut off in one partition":    {[]number{{0, 5, false}, {1, 8, false}, {0, 10, false}}, []int32{0}, 3, true},    // 6, 7, 9
		"cut off in both":             {[]number{{0, 5, false}, {1, 8, false}, {0, 10, false}}, []int32{0, 1}, 1, true}, // 9
		"nothing left of a partition": {[]number{{0, 5, false}, {0, 9, false}}, []int32{1}, 0, false},
		"young ones may have company": {[]number{{0, 1, false}, {0, 3, false}, {0, 6, true}, {0, 9, true}}, nil, 3, true}, // 2, 4, 5
	} {
		t.Run(name, func(t *testing.T) {
			s := newSequences()
			for _, n := range row.numbers {
				s.add(tap, n.partition, n.seq, n.young)
			}
			missing, ok := s.missing(tap, row.cut)
			require.Equal(t, row.ok, ok)
			require.Equal(t, row.missing, missing)
		})
	}
}

func TestSequenceCountsAcrossPages(t *testing.T) {
	s, there, last := newSequences(), map[uint64]bool{}, uint64(0)
	r := rand.New(rand.NewPCG(1, 1))
	for range 100_000 {
		seq := 1 + r.Uint64N(3*pageSize)
		there[seq] = true
		last = max(last, seq)
		s.add([16]byte{}, 0, seq, false)
	}
	missing, ok := s.missing([16]byte{}, nil)
	require.True(t, ok)
	require.Equal(t, last-uint64(len(there)), missing)
}

func TestSequenceMemoryIsBounded(t *testing.T) {
	s := newSequences()
	for i := range uint64(mostPages + 10) {
		s.add([16]byte{}, 0, 1+i*pageSize, false)
	}
	require.True(t, s.full)
	require.Nil(t, s.taps)
	_, ok := s.missing([16]byte{}, nil)
	require.False(t, ok)
}

func TestRateWidensItsBucketsAndKeepsTheSum(t *testing.T) {
	r := newRate()
	for i := range 2*mostBuckets + 10 {
		r.add(noon.Add(time.Duration(i) * time.Second))
	}
	r.add(time.Unix(-5, 0))
	require.Greater(t, r.step, int64(1))
	require.LessOrEqual(t, len(r.buckets), mostBuckets)
	perSecond, _ := r.peak()
	require.EqualValues(t, 1, perSecond)
	var sum int64
	for _, n := range r.columns(time.Unix(-5, 0), noon.AddDate(0, 0, 3), 7) {
		sum += n
	}
	require.EqualValues(t, 2*mostBuckets+11, sum)
}

func TestSparkline(t *testing.T) {
	require.Equal(t, "▁▂▂▅█", sparkline([]int64{0, 1, 10, 50, 100}))
	require.Equal(t, "▁▁", sparkline([]int64{0, 0}))
	require.Equal(t, "█", sparkline([]int64{1}))
}
