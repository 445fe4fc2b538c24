package rules_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/rules"
)

func TestLimitsAreWrittenShortOrLong(t *testing.T) {
	breaker := func(text string) (*fire.Breaker, bool) {
		f, err := rules.Parse("rules.yaml", text)
		require.NoError(t, err, text)
		b, said, err := f.Limits.Breaker.Options()
		require.NoError(t, err)
		return b, said
	}
	b, said := breaker("limits: {rate: 500, concurrency: 64}\n")
	require.Nil(t, b)
	require.False(t, said)
	for _, off := range []string{"off", `"off"`, "false"} {
		b, said = breaker("limits: {breaker: " + off + "}\n")
		require.Nil(t, b)
		require.True(t, said)
	}
	usual := fire.DefaultBreaker()
	for _, text := range []string{"on", "'on'", "true", "50%/10s", "'error_rate > 50%'", "{error-rate: 50%}", "{wait: 1s}"} {
		b, _ = breaker("limits:\n  breaker: " + text + "\n")
		require.Equal(t, usual, *b, text)
	}
	b, _ = breaker("limits: {breaker: {error-rate: 20%/1m, at-least: 7, wait: 2s, longest-wait: 9s, probes: 1}}\n")
	require.Equal(t, fire.Breaker{
		ErrorRate: fire.ErrorRate{Above: .2, Within: time.Minute, AtLeast: 7}, Wait: 2 * time.Second, Longest: 9 * time.Second, Probes: 1,
	}, *b)

	f, err := rules.Parse("rules.yaml", "limits: {rate: 0.5, concurrency: 3, adaptive: on, max-error-rate: 5%/1m}\n")
	require.NoError(t, err)
	require.InDelta(t, .5, f.Limits.Rate, 0)
	require.True(t, f.Limits.Adaptive)
	require.Equal(t, "5%/1m", f.Limits.MaxErrorRate)
	require.Equal(t, rules.Empty().Version, f.Version)
	other, err := rules.Parse("rules.yaml", "limits: {rate: 7}\n")
	require.NoError(t, err)
	require.Equal(t, f.Digest(), other.Digest(), "the load may change when a run is resumed")

	for text, want := range map[string]string{
		"limits: {rate: -1}\n":                                    ":1:16: rate cannot be -1",
		"limits: {breaker: 0.5%}\n":                               ":1:19: bad error rate",
		"limits: {breaker: often}\n":                              ":1:19: bad error rate",
		"limits: {breaker: {probes: -1}}\n":                       ":1:28: bad number of the breaker's probes",
		"limits: {breaker: {at-least: -1}}\n":                     "at-least",
		"limits: {breaker: {wait: 1m, longest-wait: 1s}}\n":       "bad wait of the breaker",
		"limits: {max-error-rate: 5}\n":                           ":1:26: bad error rate",
		"limits: {max-error-rates: 5%}\n":                         "did you mean max-error-rate?",
		"limits: {concurrency: -4}\n":                             "concurrency cannot be -4",
		"limits: {breaker: {error-rate: 5%, error_rates: 50%}}\n": "unknown key",
	} {
		_, err := rules.Parse("rules.yaml", text)
		require.ErrorContains(t, err, want, text)
	}
}
