package control_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/reprise-io/reprise/internal/control"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func by(writer string) control.Author { return control.Author{Writer: writer, Time: noon} }

func apply(s *control.State, offset int64, r control.Record) {
	s.Apply(offset, noon, []byte(r.Key), r.Value)
}

func report(id byte, name string, wait time.Duration, listen, upstream string) *reprisev1.TapReport {
	return &reprisev1.TapReport{
		TapId: []byte{id, id}, Name: name, Host: "shop-1", HostId: "machine-1", ResponseWaitNano: uint64(wait),
		Listen: []string{listen}, Upstream: []string{upstream},
	}
}

func TestNewestTapReportWins(t *testing.T) {
	var s control.State
	newer := report(1, "gateway", 5*time.Second, ":8080", "10.0.0.2:80")
	apply(&s, 9, by("tap").Report(newer))
	apply(&s, 4, by("tap").Report(report(1, "gateway", time.Minute, ":8080", "10.0.0.1:80")))
	apply(&s, 5, by("tap").Report(report(2, "edge", time.Second, ":80", "10.0.0.3:80")))

	taps := s.Taps()
	require.Len(t, taps, 2)
	require.Equal(t, "edge", taps[0].Report.GetName())
	require.True(t, proto.Equal(newer, taps[1].Report))
	require.Equal(t, noon, taps[1].Time)
	require.Equal(t, 5*time.Second, s.MaxResponseWait())
}

func TestEmptyValueForgetsATap(t *testing.T) {
	var s control.State
	r := by("tap").Report(report(1, "gateway", time.Second, ":8080", "10.0.0.2:80"))
	apply(&s, 1, r)
	s.Apply(2, noon, []byte(r.Key), nil)
	require.Empty(t, s.Taps())
	require.Zero(t, s.MaxResponseWait())
	apply(&s, 1, r) // by who reads the topic from its beginning meanwhile
	require.Empty(t, s.Taps())
	apply(&s, 3, r)
	s.Apply(2, noon, []byte(r.Key), nil)
	require.Len(t, s.Taps(), 1, "it has reported since")
}

func TestProductionNamesWhereEachAddressComesFrom(t *testing.T) {
	var s control.State
	apply(&s, 1, by("tap").Report(report(1, "gateway-2", time.Second, "10.0.0.9:8080", "10.0.0.2:80")))
	apply(&s, 2, by("tap").Report(report(0xab, "", time.Second, "10.0.0.8:8080", "10.0.0.2:80")))
	require.Equal(t, []control.Address{
		{"10.0.0.2:80", "machine-1", "shop-1", "the upstream of tap abab", noon},
		{"10.0.0.2:80", "machine-1", "shop-1", "the upstream of tap gateway-2", noon},
		{"10.0.0.8:8080", "machine-1", "shop-1", "the listen address of tap abab", noon},
		{"10.0.0.9:8080", "machine-1", "shop-1", "the listen address of tap gateway-2", noon},
	}, s.Production())
}

func TestLowestOffsetWinsInAnyOrder(t *testing.T) {
	type at struct {
		offset int64
		record control.Record
	}
	records := []at{
		{10, by("a").Spec(&reprisev1.RunSpec{Run: "r", Generation: 1, Target: "first"})},
		{11, by("b").Spec(&reprisev1.RunSpec{Run: "r", Generation: 1, Target: "second"})},
		{12, by("b").Base(&reprisev1.TimeBase{Run: "r", Generation: 1, WallUnixNano: 1})},
		{13, by("a").Base(&reprisev1.TimeBase{Run: "r", Generation: 1, WallUnixNano: 2})},
		{14, by("a").End(&reprisev1.RunEnd{Run: "r", Generation: 1, State: "stopped"})},
		{15, by("b").End(&reprisev1.RunEnd{Run: "r", Generation: 1, State: "finished"})},
		{16, by("c").Spec(&reprisev1.RunSpec{Run: "r", Generation: 2, Target: "third"})},
		{17, by("c").Spec(&reprisev1.RunSpec{Run: "other", Generation: 1, Target: "fourth"})},
	}
	for range 50 {
		var s control.State
		rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		for _, r := range records {
			apply(&s, r.offset, r.record)
			apply(&s, r.offset, r.record) // reading twice changes nothing
		}
		first := s.Run("r").Generation(1)
		require.Equal(t, "first", first.Spec.GetTarget())
		require.Equal(t, "a", first.SpecWriter)
		require.Equal(t, uint64(1), first.Base.GetWallUnixNano())
		require.Equal(t, "b", first.BaseWriter)
		require.Equal(t, "finished", first.End.GetState())
		require.Equal(t, noon, first.Started())
		require.Equal(t, noon, first.Ended())
		current := s.Run("r").Current()
		require.Equal(t, uint32(2), current.Number)
		require.Nil(t, current.Base)
		require.Nil(t, current.End)
		require.Len(t, s.Runs(), 2)
	}
}

func TestUnknownRunIsNil(t *testing.T) {
	var s control.State
	require.Nil(t, s.Run("x"))
	require.Nil(t, s.Run("x").Current())
	require.Nil(t, s.Run("x").Generation(1))
}

func TestCorruptRecordsAreCountedAndSkipped(t *testing.T) {
	var s control.State
	s.Apply(3, noon, []byte("run/r/spec/a"), []byte("\xff\xff not protobuf"))
	apply(&s, 4, by("a").Spec(&reprisev1.RunSpec{Run: "../up", Generation: 1}))
	apply(&s, 5, by("a").Spec(&reprisev1.RunSpec{Run: "r"}))
	apply(&s, 6, by("tap").Report(&reprisev1.TapReport{Name: "nobody"}))
	s.Apply(7, noon, []byte("new/kind"), control.Marshal(&reprisev1.Control{Writer: "newer"}))

	n, corrupt := s.Skipped()
	require.Equal(t, 5, n)
	require.Len(t, corrupt, 4)
	require.Equal(t, int64(3), corrupt[0].Offset)
	require.Empty(t, s.Runs())
	require.Empty(t, s.Taps())
}

func TestCheckRunName(t *testing.T) {
	for name, good := range map[string]bool{
		"live": true, "yesterday-build-481": true, "A.b_c-9": true,
		"": false, "a/b": false, "a b": false, "über": false, string(make([]byte, 129)): false,
	} {
		require.Equal(t, good, control.CheckRunName(name) == nil, "%q", name)
	}
}

func FuzzApply(f *testing.F) {
	f.Add([]byte("k"), []byte("v"))
	f.Add([]byte("tap/01"), by("t").Report(report(1, "g", 1, ":1", ":2")).Value)
	f.Add([]byte("run/r/spec/a"), by("a").Spec(&reprisev1.RunSpec{Run: "r", Generation: 1}).Value)
	f.Fuzz(func(t *testing.T, key, value []byte) {
		var s control.State
		s.Apply(1, noon, key, value)
		s.Production()
		for _, r := range s.Runs() {
			require.NoError(t, control.CheckRunName(r.Name))
		}
	})
}

func TestTheBasesOfTheNewestLoopsAreKeptInAnyOrder(t *testing.T) {
	type proposal struct {
		offset int64
		loop   uint32
		wall   uint64
	}
	all := []proposal{{10, 0, 1}, {20, 1, 2}, {21, 1, 3}, {30, 2, 4}, {31, 2, 5}, {32, 1, 6}, {40, 3, 7}, {41, 3, 8}}
	for range 200 {
		var s control.State
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, p := range all {
			apply(&s, p.offset, by("a").Base(&reprisev1.TimeBase{Run: "r", Generation: 1, Loop: p.loop, WallUnixNano: p.wall}))
		}
		g := s.Run("r").Generation(1)
		require.EqualValues(t, 3, g.Loop())
		require.EqualValues(t, 7, g.BaseOf(3).GetWallUnixNano())
		require.EqualValues(t, 4, g.BaseOf(2).GetWallUnixNano())
		require.Nil(t, g.BaseOf(1), "nobody is at work there")
		require.Nil(t, g.BaseOf(4))
	}
	require.NotEqual(t, control.BaseKey("r", 1, 0, "w"), control.BaseKey("r", 1, 1, "w"), "no proposal replaces another one")
	require.NotEqual(t, control.BaseKey("r", 1, 1, "w"), control.BaseKey("r", 1, 2, "w"))
	require.Nil(t, (*control.Generation)(nil).BaseOf(0))
}
