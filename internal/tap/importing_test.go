package tap

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

func TestWhatAReplayerCausedIsNotImported(t *testing.T) {
	x := &traffic.Exchange{Request: traffic.Request{Headers: []traffic.Field{{Name: []byte("reprise-replay"), Value: []byte("run")}}}}
	keep, err := Prepare(x, nil, nil, nil)
	require.NoError(t, err)
	require.False(t, keep)
	keep, err = Prepare(&traffic.Exchange{}, nil, nil, nil)
	require.NoError(t, err)
	require.True(t, keep)
}

func TestRecallKnowsTheStoredExchangesOfOneFile(t *testing.T) {
	file, other := [16]byte{1}, [16]byte{2}
	r := &recall{file: file, known: true, stored: make(map[uint64]uint64)}
	header := func(key, value string) *topic.Record {
		return &topic.Record{Headers: []topic.Header{{Key: "method", Value: []byte("GET")}, {Key: key, Value: []byte(value)}}}
	}
	for _, seq := range []uint64{1, 63, 64, 1 << 40} {
		r.note(header(traffic.HeaderID, traffic.MakeID(file, seq).String()))
	}
	r.note(header(traffic.HeaderID, traffic.MakeID(other, 2).String()))
	r.note(header(traffic.HeaderID, "damaged"))
	r.note(header("else", "where"))
	for seq, want := range map[uint64]bool{0: false, 1: true, 2: false, 62: false, 63: true, 64: true, 65: false, 128: false, 1 << 40: true} {
		has, err := r.has(context.Background(), traffic.MakeID(file, seq))
		require.NoError(t, err)
		require.Equal(t, want, has, seq)
	}
}
