package importer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

func TestShiftKeepsDistancesTimesTheScale(t *testing.T) {
	start, to := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 22, 0, 0, 0, 5, time.UTC)
	offsets := []time.Duration{0, time.Second, -time.Second, time.Hour}
	for name, row := range map[string]struct {
		shift Shift
		want  []time.Time
	}{
		"nothing":        {Shift{}, []time.Time{start, start.Add(time.Second), start.Add(-time.Second), start.Add(time.Hour)}},
		"to another day": {Shift{To: to}, []time.Time{to, to.Add(time.Second), to.Add(-time.Second), to.Add(time.Hour)}},
		"half as long":   {Shift{Scale: 0.5}, []time.Time{start, start.Add(time.Second / 2), start.Add(-time.Second / 2), start.Add(time.Hour / 2)}},
		"both":           {Shift{To: to, Scale: 2}, []time.Time{to, to.Add(2 * time.Second), to.Add(-2 * time.Second), to.Add(2 * time.Hour)}},
	} {
		t.Run(name, func(t *testing.T) {
			for i, offset := range offsets {
				x := &traffic.Exchange{CaptureTime: start.Add(offset)}
				row.shift.Move(x)
				require.Equal(t, row.want[i], x.CaptureTime)
			}
		})
	}
}
