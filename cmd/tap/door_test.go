package main

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Filters and Envoys, as many as there may be, leave descriptors for Kafka, the spool and metrics.
func TestFiltersAndEnvoysLeaveDescriptorsForCapture(t *testing.T) {
	const limit, connections = 128, 110
	for _, command := range []string{"ingest", "extproc"} {
		t.Run(command, func(t *testing.T) {
			at := freePort(t)
			tap := startCommand(t, []string{fmt.Sprint(withDescriptors, "=", limit)}, command, "--listen", at, "--brokers", "127.0.0.1:1",
				"--admin", "127.0.0.1:0", "--log-format", "json")
			tap.saysWithin(t, `"msg":"listening"`)
			_, rest, _ := strings.Cut(tap.said(), `"msg":"admin","listen":"`)
			admin, _, _ := strings.Cut(rest, `"`)
			for range connections {
				c, err := net.Dial("tcp", at)
				require.NoError(t, err)
				defer c.Close()
			}
			tap.saysWithin(t, "are kept for Kafka")
			_, value, found := strings.Cut(metricsOf(t, admin), "\nreprise_tap_turned_away_total")
			require.True(t, found)
			require.NotContains(t, strings.SplitN(value, "\n", 2)[0], " 0", "some were")
		})
	}
}
