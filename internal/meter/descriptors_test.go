package meter

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestConnectionsLeaveSomeDescriptors(t *testing.T) {
	for limit, want := range map[uint64]int64{
		0: 0, 1: 1, 20: 10, 64: 32, 100: 68, 256: 224, 1024: 896, 2048: 1792, 4096: 3840, 1 << 20: 1<<20 - 256,
		math.MaxUint64: math.MaxInt32 - 256,
	} {
		require.Equal(t, want, forConnections(limit), limit)
	}
}

func TestDescriptorsAreTakenAndGivenBack(t *testing.T) {
	limit, asked := uint64(1024), error(nil)
	d, err := newDescriptors(func() (uint64, error) { return limit, asked })
	require.NoError(t, err)
	require.EqualValues(t, 896, d.Most())
	require.True(t, d.Take(895, false))
	require.False(t, d.Take(2, false))
	require.True(t, d.Take(1, false), "one that did not fit has taken nothing")
	require.False(t, d.Take(1, false))
	require.True(t, d.Take(2, true))
	d.Give(2)
	require.False(t, d.Take(1, false))
	limit = 2048
	require.True(t, d.Take(1, false), "the limit was raised meanwhile")
	require.EqualValues(t, 1792, d.Most())
	limit = 1024
	require.True(t, d.Take(1, false), "it is only read when it matters")
	require.False(t, d.Take(1000, false))
	require.False(t, d.Take(1, false))
	asked = errors.New("no")
	require.False(t, d.Take(1, false))
	d, err = newDescriptors(func() (uint64, error) { return 0, asked })
	require.ErrorIs(t, err, asked)
	require.True(t, d.Take(1<<30, false), "the kernel says when there are no more")
}

func TestNoMoreAreTakenThanThereAre(t *testing.T) {
	d, err := newDescriptors(func() (uint64, error) { return 256, nil })
	require.NoError(t, err)
	var all sync.WaitGroup
	var mu sync.Mutex
	held := 0
	for range 8 {
		all.Go(func() {
			for range 1000 {
				if !d.Take(40, false) {
					continue
				}
				mu.Lock()
				held += 40
				within := held <= 224
				held -= 40
				mu.Unlock()
				if !within {
					t.Error("too many are out")
				}
				d.Give(40)
			}
		})
	}
	all.Wait()
	require.Zero(t, d.taken.Load())
}

// The soft limit is what shells and systemd give to programs that use select(2). Go raises it before main; this holds for a
// successor too, which is a child.
func TestTheSoftLimitIsRaisedToTheHardOne(t *testing.T) {
	const variable = "REPRISE_TEST_LIMIT"
	if os.Getenv(variable) != "" {
		d, err := FindDescriptors()
		require.NoError(t, err)
		n, err := descriptorLimit()
		require.NoError(t, err)
		fmt.Printf("limit %d for connections %d\n", n, d.Most())
		if os.Getenv(variable) == "child" {
			return
		}
		requireSays(t, variable+"=child", exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$"))
		return
	}
	var now unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &now))
	if now.Max < 300 {
		t.Skip("this process may have hardly any descriptors")
	}
	shell := exec.Command("/bin/sh", "-c", `ulimit -Sn 90 && ulimit -Hn 300 && exec "$0" "$@"`, os.Args[0], "-test.run=^"+t.Name()+"$")
	requireSays(t, variable+"=parent", shell)
}

func requireSays(t *testing.T, variable string, c *exec.Cmd) {
	t.Helper()
	c.Env = append(os.Environ(), variable)
	said, err := c.CombinedOutput()
	require.NoError(t, err, "%s", said)
	require.Regexp(t, "limit (299|300) for connections 26[23]\\n", string(said)) // Go leaves one out, to tell its doing from others
}
