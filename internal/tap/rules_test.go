package tap

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/sample"
	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/wire"
)

func TestUnknownRulesRecordNothing(t *testing.T) {
	k := &keeper{}
	s := everything()
	s.Rules = &Rules{Unknown: true, Flaw: "rules.yaml:1:1: bad"}
	p := runWith(t, s, PipelineConfig{Redactor: shout{}}, k, []wire.Captured{exchange("GET", "/a", "s"), exchange("GET", "/b", "s")})
	require.Empty(t, k.records)
	require.Equal(t, map[string]uint64{"bad_rules": 2}, p.counters.filtered.snapshot())
	p.Shed("memory", 3)
	require.Equal(t, map[string]uint64{"bad_rules": 5}, p.counters.filtered.snapshot())
	require.False(t, p.wanted())
}

func TestRulesFileChoosesAndRedactsInPlaceOfTheBuiltInRules(t *testing.T) {
	set, err := filter.CompileSet([]string{"GET /a/**"}, []string{"/a/secret"})
	require.NoError(t, err)
	for name, redactor := range map[string]redactor{"redacted": shout{}, "off": nil} {
		k := &keeper{}
		s := everything()
		s.Include = []string{"GET"}
		s.Rules = &Rules{Filter: set, Redactor: redactor}
		p := runWith(t, s, PipelineConfig{Redactor: shout{"panic"}}, k, []wire.Captured{
			exchange("GET", "/a/1", "s"), exchange("GET", "/a/secret", "s"), exchange("GET", "/b", "s"), exchange("POST", "/a/1", "s"),
		})
		require.Len(t, k.records, 1, name)
		want := "/a/1"
		if redactor != nil {
			want = "/A/1"
		}
		require.Equal(t, want, string(decoded(t, k.records[0]).Request.Target))
		require.Equal(t, map[string]uint64{"rule": 3}, p.counters.filtered.snapshot())
		require.Equal(t, redactor != nil, p.digest() != nil)
	}
	counts := (&Rules{Filter: set}).report().GetCounts()
	require.Len(t, counts, 2)
	require.Equal(t, []any{"include", "1", uint64(2)}, []any{counts[0].GetList(), counts[0].GetRule(), counts[0].GetDecided()})
	require.Equal(t, []any{"exclude", "1", uint64(2)}, []any{counts[1].GetList(), counts[1].GetRule(), counts[1].GetDecided()})
}

func TestQuotaKeepsRareRoutesAndFlagsThem(t *testing.T) {
	keep, err := sample.ParseKeep("1/h per route")
	require.NoError(t, err)
	k := &keeper{}
	s := Settings{Capture: true, Keep: keep} // of which the share keeps nothing
	batch := []wire.Captured{exchange("GET", "/rare", "s")}
	for range 20 {
		batch = append(batch, exchange("GET", "/busy", "s"))
	}
	p := runWith(t, s, PipelineConfig{Redactor: shout{}}, k, batch)
	require.Len(t, k.records, 2, "one of each route")
	for _, r := range k.records {
		require.True(t, decoded(t, r).Flags.Has(traffic.KeptByQuota))
	}
	require.EqualValues(t, 19, p.counters.Report().GetSampledOut())

	k = &keeper{}
	s.Sample = sample.All
	runWith(t, s, PipelineConfig{Redactor: shout{}}, k, []wire.Captured{exchange("GET", "/rare", "s"), exchange("GET", "/busy", "s")})
	require.Len(t, k.records, 2)
	require.False(t, decoded(t, k.records[0]).Flags.Has(traffic.KeptByQuota), "the share has kept it")
}

func TestQuotaGoesOnWhenOtherSettingsChange(t *testing.T) {
	keep, err := sample.ParseKeep("1/s")
	require.NoError(t, err)
	one := compiled(t, Settings{Keep: keep})
	two, err := Settings{Keep: keep, Capture: true}.compile(one)
	require.NoError(t, err)
	require.Same(t, one.quota, two.quota)
	three, err := Settings{}.compile(two)
	require.NoError(t, err)
	require.Nil(t, three.quota)
}
