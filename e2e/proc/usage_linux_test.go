package proc_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/proc"
)

func TestUsageOfARunningProgramHasItsChildrensToo(t *testing.T) {
	p, err := proc.Start(proc.Options{Path: "sh", Args: []string{"-c", "(while :; do :; done) & wait"}})
	require.NoError(t, err)
	defer p.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = proc.Poll(ctx, func() error { // the shell itself only waits
		cpu, rss, err := p.UsageNow()
		if err == nil && (cpu < 100*time.Millisecond || rss < 64<<10) {
			err = fmt.Errorf("%s, %d bytes so far", cpu, rss)
		}
		return err
	})
	require.NoError(t, err)
	p.Kill()
	_, _, err = p.UsageNow()
	require.ErrorIs(t, err, proc.ErrExited)
}
