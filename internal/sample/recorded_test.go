package sample_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/sample"
	"github.com/reprise-io/reprise/internal/traffic"
)

// What a tap kept a tenth of is not kept whole by the tenth of a replay.
func TestTheSecondSampleIsOfWhatTheFirstOneKept(t *testing.T) {
	tenth, err := sample.ParseShare("10%")
	require.NoError(t, err)
	const sessions = 100_000
	recorded, replayed := 0, 0
	for i := range sessions {
		x := &traffic.Exchange{ID: traffic.MakeID([16]byte{1}, uint64(i)), Session: fmt.Appendf(nil, "session-%d", i)}
		if !tenth.Keeps(sample.Hash(x, sample.BySession, [16]byte{1})) {
			continue
		}
		recorded++
		if tenth.Keeps(sample.HashRecorded(x)) {
			replayed++
		}
	}
	require.InDelta(t, sessions/10, recorded, 500)
	require.InDelta(t, sessions/100, replayed, 200)
}

func TestTheSecondSampleKeepsWhatBelongsTogether(t *testing.T) {
	x := func(tap byte, seq uint64, session, connection string) *traffic.Exchange {
		return &traffic.Exchange{
			ID: traffic.MakeID([16]byte{tap}, seq), Session: []byte(session), Connection: traffic.Connection{ID: []byte(connection)},
		}
	}
	hash := sample.HashRecorded
	require.Equal(t, hash(x(1, 1, "s", "a")), hash(x(2, 7, "s", "b")), "a session, wherever it was recorded")
	require.Equal(t, hash(x(1, 1, "", "a")), hash(x(1, 2, "", "a")), "a connection, of what has no session")
	require.NotEqual(t, hash(x(1, 1, "", "a")), hash(x(2, 1, "", "a")), "another tap numbers its own connections")
	lone, again := x(1, 1, "", ""), x(1, 1, "", "")
	require.Equal(t, hash(lone), hash(again), "the same exchange, however often it is read")
	require.NotEqual(t, hash(x(1, 1, "", "")), hash(x(1, 2, "", "")))
}
