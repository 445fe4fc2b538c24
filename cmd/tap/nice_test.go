package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// niceValues of a process's threads.
func niceValues(t *testing.T, pid int) (values []int) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	require.NoError(t, err)
	for _, task := range tasks {
		stat, err := os.ReadFile(task)
		if err != nil { // it has ended
			continue
		}
		_, fields, _ := strings.Cut(string(stat), ") ")
		value, err := strconv.Atoi(strings.Fields(fields)[16])
		require.NoError(t, err)
		values = append(values, value)
	}
	return values
}

func TestTrafficGoesBeforeOtherWorkWhereItMay(t *testing.T) {
	if own, err := unix.SchedGetAttr(0, 0); err != nil || own.Nice != 0 || own.Policy != unix.SCHED_NORMAL {
		t.Skip("LEFT OUT: a sandbox forbids to ask, or somebody has chosen how tests run")
	}
	const forbidden = "traffic does not go before other work"
	for most, args := range map[int][]string{-10: nil, -3: {"--forward-nice", "-3"}, 0: {"--forward-nice", "0"}} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			const loops = 2
			at := freePort(t)
			tap := startTap(t, nil, append([]string{"--listen", at, "--upstream", newOrigin(t), "--loops", fmt.Sprint(loops)}, args...)...)
			preferred := func() (n int) {
				for _, nice := range niceValues(t, tap.cmd.Process.Pid) {
					if nice != 0 {
						require.Contains(t, []int{most, (most - 1) / 2}, nice)
						n++
					}
				}
				return n
			}
			if most != 0 {
				require.Eventually(t, func() bool { return preferred() == loops || tap.counts(forbidden) > 0 }, patience, 2*time.Millisecond)
			}
			tap.saysWithin(t, `"msg":"listening"`)
			c, err := net.Dial("tcp", at)
			require.NoError(t, err)
			defer c.Close()
			hears(t, c, asks(t, c, 0)) // a loop runs
			switch said := tap.counts(forbidden); {
			case most == 0:
				require.Zero(t, said)
				require.Zero(t, preferred())
			case said > 0:
				require.Equal(t, 1, said, "once for all loops")
				require.Zero(t, preferred())
				t.Log("LEFT OUT, that it does: no right to")
			}
		})
	}
}

func (p *tapProcess) counts(what string) int { return strings.Count(p.said(), what) }
