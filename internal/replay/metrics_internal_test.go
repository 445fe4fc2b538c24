package replay

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

func TestTotalsAreCounters(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	newMetrics(reg)
	families, err := reg.Gather()
	require.NoError(t, err)
	require.NotEmpty(t, families)
	for _, f := range families {
		require.Equal(t, strings.HasSuffix(f.GetName(), "_total"), f.GetType().String() == "COUNTER", f.GetName())
	}
}
