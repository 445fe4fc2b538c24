package topic

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStoredRecordIsWhatItWas(t *testing.T) {
	for _, want := range []Record{
		{Value: []byte("v")},
		{Key: []byte{}, Value: []byte{}, Time: time.Unix(0, 1).UTC()},
		{
			Key: []byte("session"), Value: []byte("value"), Time: time.Date(2026, 11, 26, 1, 2, 3, 4000000, time.UTC),
			Headers: []Header{{Key: "reprise-id", Value: []byte("00ff")}, {Key: "", Value: []byte{}}},
		},
	} {
		got, err := ParseRecord(AppendRecord(nil, &want))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add(AppendRecord(nil, &Record{Key: []byte("k"), Value: []byte("v"), Time: time.Unix(1, 0), Headers: []Header{{Key: "a", Value: []byte("b")}}}))
	f.Add([]byte{storedVersion, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRecord(b)
		if err != nil {
			require.ErrorIs(t, err, ErrStored)
			return
		}
		again, err := ParseRecord(AppendRecord(nil, &r))
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}
