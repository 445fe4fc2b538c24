package cli

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

func TestATopicPrefixIsWhatKafkaTakes(t *testing.T) {
	parse := func(s string) (string, error) {
		var shared Shared
		fs := pflag.NewFlagSet("", pflag.ContinueOnError)
		shared.AddKafka(fs)
		usual := shared.TopicPrefix
		return usual, fs.Parse([]string{"--topic-prefix", s})
	}
	for _, good := range []string{"reprise", "team-a.reprise_2", strings.Repeat("x", longestPrefix)} {
		usual, err := parse(good)
		require.NoError(t, err)
		require.Equal(t, "reprise", usual)
	}
	for _, bad := range []string{"", "a b", "a/b", "é", "a\n", strings.Repeat("x", longestPrefix+1)} {
		_, err := parse(bad)
		require.ErrorContains(t, err, "letters, digits and ._-", "%q", bad)
	}
}
