package topic

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
)

func TestBrokerAddresses(t *testing.T) {
	for _, good := range []string{"kafka", "kafka:9092", "10.0.0.1", "10.0.0.1:65535", "::1", "[::1]", "[::1]:9092"} {
		a, err := NewAdmin(Config{Brokers: []string{good}})
		require.NoError(t, err, good)
		a.Close()
	}
	for _, bad := range []string{"", "a:1:2", "a:x", "a:0", "a:99999", "a:-1", "a:", "[::1", "[::1]9092", "[a]", "http://a:1", "a b:1", "1:2:3:4"} {
		_, err := NewAdmin(Config{Brokers: []string{"kafka:9092", bad}})
		require.ErrorContains(t, err, "bad broker address", bad)
		require.Equal(t, fault.Usage, fault.Code(err), bad)
	}
}

func FuzzBrokerAddress(f *testing.F) {
	for _, s := range []string{"kafka:9092", "[::1]:9092", "a:1:2", "[::1", "]["} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if badAddress(s) == "" {
			a, err := NewAdmin(Config{Brokers: []string{s}})
			require.NoError(t, err, "the client agrees")
			a.Close()
		}
	})
}
