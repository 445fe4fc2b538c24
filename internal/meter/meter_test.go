package meter

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheClosestLimitOfAllGroupsCounts(t *testing.T) {
	for name, row := range map[string]struct {
		own   string
		files map[string]string
		want  Bounds
	}{
		"version 2": {
			"0::/tap.slice/tap.service\n",
			map[string]string{"tap.slice/tap.service/cpu.max": "50000 100000\n", "tap.slice/tap.service/memory.max": "268435456\n"},
			Bounds{CPUs: 0.5, Memory: 256 << 20},
		},
		"version 2, bound by the group above": {
			"0::/a/b\n",
			map[string]string{"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000", "a/memory.max": "1048576", "a/b/memory.max": "max"},
			Bounds{CPUs: 1.5, Memory: 1 << 20},
		},
		"version 2, in a container": { // its group is the root of what is mounted
			"0::/\n", map[string]string{"cpu.max": "200000 100000", "memory.max": "536870912"}, Bounds{CPUs: 2, Memory: 512 << 20},
		},
		"version 1": {
			"4:memory:/docker/1\n2:cpu,cpuacct:/docker/1\n1:name=systemd:/docker/1\n0::/\n",
			map[string]string{
				"cpu/docker/1/cpu.cfs_quota_us": "25000", "cpu/docker/1/cpu.cfs_period_us": "100000",
				"memory/docker/1/memory.limit_in_bytes": "67108864",
			},
			Bounds{CPUs: 0.25, Memory: 64 << 20},
		},
		"version 1, the host's path seen from within": {
			"4:memory:/kubepods/pod1/x\n2:cpu,cpuacct:/kubepods/pod1/x\n",
			map[string]string{"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000", "memory/memory.limit_in_bytes": "67108864"},
			Bounds{Memory: 64 << 20},
		},
		"version 1 without limits": {
			"4:memory:/\n2:cpu:/\n",
			map[string]string{"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000", "memory/memory.limit_in_bytes": "9223372036854771712"},
			Bounds{},
		},
		"nothing to read":  {"0::/gone\n", nil, Bounds{}},
		"nothing sensible": {"x\n0::/\n::\n", map[string]string{"cpu.max": "1 0", "memory.max": "-5"}, Bounds{}},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for file, text := range row.files {
				at := filepath.Join(root, file)
				require.NoError(t, os.MkdirAll(filepath.Dir(at), 0o700))
				require.NoError(t, os.WriteFile(at, []byte(text), 0o600))
			}
			require.Equal(t, row.want, groups{root}.limits([]byte(row.own)))
		})
	}
}

func TestCoresAreWhatAQuotaKeepsBusy(t *testing.T) {
	for cpus, cores := range map[float64]int{0: 1, 0.25: 1, 1: 1, 1.5: 2, 2: 2, 3.01: 4, 64: 64} {
		require.Equal(t, cores, Bounds{CPUs: cpus}.Cores(), cpus)
	}
}

func TestThisProcessIsMeasured(t *testing.T) {
	require.Positive(t, Find().CPUs)
	before, err := Read()
	require.NoError(t, err)
	require.Greater(t, before.Resident, int64(1<<20), "a Go program is larger than that")
	for begin := time.Now(); time.Since(begin) < time.Minute; {
		now, err := Read()
		require.NoError(t, err)
		if now.CPU >= before.CPU+20*time.Millisecond {
			return
		}
	}
	require.Fail(t, "reading for a minute takes no CPU")
}

func FuzzLimits(f *testing.F) {
	f.Add([]byte("0::/a/../..\n4:memory:/\n"), []byte("12 3"))
	f.Fuzz(func(t *testing.T, own, limit []byte) {
		b := groups{t.TempDir()}.limits(own)
		require.Zero(t, b, "nothing is outside of the root")
		require.GreaterOrEqual(t, quotaOf(string(limit)), 0.0)
		b.memory(string(limit))
		require.GreaterOrEqual(t, b.Memory, int64(0))
	})
}
