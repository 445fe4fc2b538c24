package tap

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/wire"
)

// The lag of a tap is from the capture to Kafka's word.
func TestLagToKafkaIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		defer s.open().Close()
		s.ensure()
		tap := s.start("gateway", everything())
		defer tap.stop()
		settle(2 * time.Second)
		for range 3 {
			c := exchange("GET", "/", "")
			c.Exchange.CaptureTime = time.Now().Add(-7 * time.Second)
			tap.Budget().used.Add(c.Bytes)
			tap.Pipeline().Offer([]wire.Captured{c})
		}
		settle(2 * time.Second)
		require.EqualValues(t, 3, tap.Pipeline().Counters().Report().GetProduced())
		families, err := tap.opts.Registerer.(prometheus.Gatherer).Gather()
		require.NoError(t, err)
		for _, f := range families {
			if f.GetName() == "reprise_tap_acknowledged_seconds" {
				h := f.GetMetric()[0].GetHistogram()
				require.EqualValues(t, 3, h.GetSampleCount())
				require.InDelta(t, 3*7, h.GetSampleSum(), 3*2)
				return
			}
		}
		require.Fail(t, "no such metric")
	})
}
