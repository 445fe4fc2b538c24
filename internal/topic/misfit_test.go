package topic

import (
	"maps"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestTopicsOfOthersThatCostSomethingAreNamed(t *testing.T) {
	names := NamesOf("p")
	for name, row := range map[string]struct {
		spec       Spec
		partitions int32
		config     map[string]string // beside the spec's
		want       []string
	}{
		"as ours are":             {ExchangesSpec(names, 4), 4, nil, nil},
		"fewer, kept longer":      {ExchangesSpec(names, 4), 1, map[string]string{"retention.ms": "-1", "retention.bytes": "1"}, nil},
		"control as ours is":      {ControlSpec(names), 1, nil, nil},
		"exchanges by key":        {ExchangesSpec(names, 4), 4, map[string]string{"cleanup.policy": "compact"}, []string{"cleanup.policy=compact"}},
		"small records":           {ExchangesSpec(names, 4), 4, map[string]string{"max.message.bytes": "2000"}, []string{"max.message.bytes=2000"}},
		"young records":           {ResultsSpec(names, 4), 4, map[string]string{timestampBefore: "60000"}, []string{timestampBefore + "=60000"}},
		"young by the brokers":    {ResultsSpec(names, 4), 4, map[string]string{timestampBefore: "60000", "message.timestamp.type": "LogAppendTime"}, nil},
		"control without order":   {ControlSpec(names), 3, nil, []string{"3 partitions"}},
		"control that forgets":    {ControlSpec(names), 1, map[string]string{"cleanup.policy": "delete", "retention.ms": "60000"}, []string{"cleanup.policy=delete, retention.ms=60000"}},
		"control that forgets, 2": {ControlSpec(names), 1, map[string]string{"cleanup.policy": "compact,delete", "retention.bytes": "9"}, []string{"cleanup.policy=compact,delete, retention.bytes=9"}},
		"control kept for ever":   {ControlSpec(names), 1, map[string]string{"cleanup.policy": "delete"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n testNet
				cluster := n.cluster(t)
				config := maps.Clone(row.spec.Config)
				maps.Copy(config, row.config)
				require.NoError(t, cluster.CreateTopic(row.spec.Name, row.partitions, config))
				adm := newTestAdmin(t, n.config())
				has := adm.settings(t.Context(), row.spec.Name)
				require.Equal(t, config["cleanup.policy"], has["cleanup.policy"])
				var got []string
				for _, m := range adm.misfits(t.Context(), row.spec, has) {
					got = append(got, m.setting)
					require.NotEmpty(t, m.cost)
					require.NotEmpty(t, m.try)
				}
				require.Equal(t, row.want, got)
				require.Nil(t, adm.settings(t.Context(), "nowhere"))
			})
		})
	}
}
