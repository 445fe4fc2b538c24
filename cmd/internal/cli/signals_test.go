package cli

import (
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestASignalThatComesTwiceIsOne(t *testing.T) {
	for name, row := range map[string]struct {
		after         []time.Duration // the signals, each after the one before
		drains, quits int
	}{
		"none":                {nil, 0, 0},
		"one":                 {[]time.Duration{time.Second}, 1, 0},
		"one that came twice": {[]time.Duration{0, 0, time.Millisecond}, 1, 0},
		"a second later":      {[]time.Duration{0, time.Millisecond, time.Second}, 1, 1},
		"much later":          {[]time.Duration{0, time.Hour, 0}, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				signals, done, ended := make(chan os.Signal, 2), make(chan struct{}), make(chan struct{})
				drains, quits := 0, 0
				go func() {
					defer close(ended)
					obey(signals, done, func() { drains++ }, func() { quits++ })
				}()
				for _, wait := range row.after {
					time.Sleep(wait)
					signals <- syscall.SIGTERM
					synctest.Wait()
				}
				close(done)
				<-ended
				require.Equal(t, row.drains, drains)
				require.Equal(t, row.quits, quits)
			})
		})
	}
}
