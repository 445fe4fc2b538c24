package tap

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"

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

func TestAnImportTellsOfATopicThatWouldDropItsRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		defer s.open().Close()
		spec := topic.ExchangesSpec(s.names, 1)
		spec.Config["max.message.bytes"] = "2000"
		admin, err := topic.NewAdmin(s.cfg)
		require.NoError(t, err)
		require.NoError(t, admin.Ensure(t.Context(), []topic.Spec{spec}))
		admin.Close()
		var log lines
		s.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		im, err := NewImporter(t.Context(), Options{Topic: s.cfg, Names: s.names, Partitions: 1, Logger: s.cfg.Logger})
		require.NoError(t, err)
		stored, err := im.Run(t.Context(), func(put func(*traffic.Exchange) error) error {
			return put(&traffic.Exchange{ID: traffic.MakeID([16]byte{1}, 1)})
		})
		require.NoError(t, err)
		require.EqualValues(t, 1, stored)
		require.Contains(t, log.String(), "made in another way")
	})
}
