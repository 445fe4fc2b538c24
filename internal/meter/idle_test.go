package meter

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestIdleTimeGrowsNoFasterThanTheClock(t *testing.T) {
	i, err := FindIdle()
	if err != nil {
		t.Skip("nothing can be known of idle cores here: ", err)
	}
	began := time.Now()
	first, err := i.Read()
	require.NoError(t, err)
	var last time.Duration
	require.Eventually(t, func() bool { // somebody else may have all cores for long
		last, err = i.Read()
		return err != nil || last > first || time.Since(began) > 5*time.Second
	}, time.Minute, time.Millisecond)
	require.NoError(t, err)
	require.LessOrEqual(t, last-first, time.Since(began)+2*idleEvery, "it is counted in hundredths of a second, and may be that old")
}

func TestIdleOf(t *testing.T) {
	for uptime, want := range map[string]time.Duration{
		"47102.61 88011.5\n":         44005750 * time.Millisecond,
		"94608000.00 1892160000.0\n": 946080000 * time.Second,
		"":                           -1, "1\n": -1, "1 x\n": -1, "1 -1\n": -1, "1 NaN\n": -1, "1 1e30\n": -1,
	} {
		i := Idle{proc: t.TempDir(), cores: 2}
		put(t, i.proc, "uptime", uptime)
		got, err := i.Read()
		require.Equal(t, want < 0, err != nil, "%q: %v", uptime, err)
		require.Equal(t, max(want, 0), got)
	}
}

func TestListOf(t *testing.T) {
	for list, want := range map[string][]int{
		"0": {0}, "0-1": {0, 1}, "0-3,8,10-11": {0, 1, 2, 3, 8, 10, 11},
		"": nil, "x": nil, "3-1": nil, "0-": nil, "-1": nil, "0,": nil, "0-99999": nil,
	} {
		require.Equal(t, want, listOf(list), list)
	}
	require.Len(t, listOf("0-65535"), 65536)
}

func TestCoresThatAProcessMayUse(t *testing.T) {
	for _, row := range []struct {
		online, allowed string
		cores           int
		only            []int
	}{
		{"0-3", "0-3", 4, nil},
		{"0-3", "0-127", 4, nil}, // those that could be plugged in
		{"0-3", "1,3", 2, []int{1, 3}},
		{"0,2-3", "1-2", 1, []int{2}}, // 1 was switched off
		{"0-3", "8", 0, nil},
		{"", "0", 0, nil},
		{"0", "", 0, nil},
	} {
		var i Idle
		err := i.find([]byte(row.online+"\n"), []byte("Name:\ttap\nCpus_allowed:\tf\nCpus_allowed_list:\t"+row.allowed+"\nMems_allowed:\t1\n"))
		require.Equal(t, row.cores == 0, err != nil, row)
		require.Equal(t, row.cores, i.cores, row)
		require.Equal(t, row.only, i.only, row)
	}
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	at := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(at), 0o700))
	require.NoError(t, os.WriteFile(at, []byte(text), 0o600))
}

// stat is what a machine with four cores tells, which were idle for so many hundredths of a second.
func stat(idle ...int) (text string) {
	text = "cpu  2699254 2721752 1874798 3976808 31471 0 423435 53160 0 0\n"
	for core, n := range idle {
		text += fmt.Sprintf("cpu%d 1342476 1340899 931165 %d 8173 0 213435 26453 0 0\n", core, n)
	}
	return text + "intr 333536922 0 0\nctxt 9\nbtime 1764180000\nprocesses 1\ncpu9 is no core here\n"
}

func TestOnlyCoresThatTheProcessMayUseAreAsked(t *testing.T) {
	i := Idle{proc: t.TempDir(), cores: 2, only: []int{1, 3}}
	began := time.Now()
	at := func(d time.Duration, text string, want time.Duration) {
		t.Helper()
		put(t, i.proc, "stat", text)
		got, err := i.read(began.Add(d))
		require.NoError(t, err)
		require.Equal(t, want, got.Round(time.Microsecond))
	}
	at(0, stat(500, 1000, 500, 2000), 0)
	at(500*time.Millisecond, stat(550, 1010, 550, 2020), 150*time.Millisecond)
	at(520*time.Millisecond, stat(550, 1099, 550, 2099), 150*time.Millisecond) // it was asked just now
	at(700*time.Millisecond, stat(550, 1012, 550, 2024), 180*time.Millisecond)
	at(800*time.Millisecond, stat(550, 1000, 550, 2000), 180*time.Millisecond) // what goes backwards says nothing
	at(900*time.Millisecond, stat(550, 1900, 550, 2900), 280*time.Millisecond) // nor what is faster than the clock
	for _, bad := range []string{"", stat(1, 2, 3), stat(1, -2, 3, 4), "cpu1 1 1 1 99999999999999999999 1\ncpu3 1 1 1 1 1\n", "cpu1 1 1\ncpu3 1 1\n"} {
		put(t, i.proc, "stat", bad)
		_, err := i.read(began.Add(time.Minute))
		require.Error(t, err, bad)
	}
}

// Of a quota what was used is known, by all in the group, and in how many periods it was used up.
func TestAQuotaLeavesNoMoreThanWasNotUsed(t *testing.T) {
	for _, version := range []int{1, 2} {
		dir := t.TempDir()
		i := Idle{proc: dir, cores: 4}
		if version == 1 {
			put(t, dir, "cpu/tap/cpu.cfs_quota_us", "150000\n")
			put(t, dir, "cpu/tap/cpu.cfs_period_us", "100000\n")
			i.quota = groups{dir}.quota([]byte("5:cpuacct:/tap\n4:memory:/\n2:cpu:/tap\n0::/\n"))
		} else {
			put(t, dir, "tap/cpu.max", "150000 100000\n")
			i.quota = groups{dir}.quota([]byte("0::/tap/service\n"))
		}
		require.InDelta(t, 1.5, i.quota.cpus, 0)
		began := time.Now()
		at := func(d time.Duration, machineIdle float64, used time.Duration, periods, throttled int, want time.Duration) {
			t.Helper()
			put(t, dir, "uptime", fmt.Sprintf("1 %.2f\n", machineIdle))
			text := fmt.Sprintf("nr_periods %d\nnr_throttled %d\n", periods, throttled)
			if version == 1 {
				put(t, dir, "cpu/tap/cpu.stat", text+"throttled_time 5\n")
				put(t, dir, "cpuacct/tap/cpuacct.usage", fmt.Sprintln(used.Nanoseconds()))
			} else {
				put(t, dir, "tap/cpu.stat", fmt.Sprintf("usage_usec %d\nuser_usec 7\n%sthrottled_usec 5\n", used.Microseconds(), text))
			}
			got, err := i.read(began.Add(d))
			require.NoError(t, err)
			require.Equal(t, want, got.Round(time.Microsecond), "version %d at %s", version, d)
		}
		at(0, 1000, time.Hour, 700, 7, 0)
		at(time.Second, 1004, time.Hour+750*time.Millisecond, 710, 7, 500*time.Millisecond)      // half of it, on an idle machine
		at(2*time.Second, 1004.8, time.Hour+750*time.Millisecond, 710, 7, 700*time.Millisecond)  // none, on one that is full of others
		at(3*time.Second, 1008.8, time.Hour+2250*time.Millisecond, 720, 7, 700*time.Millisecond) // all of it
		at(4*time.Second, 1012.8, time.Hour+3*time.Second, 730, 11, time.Second)                 // half, and it was stopped in four of ten periods
		at(5*time.Second, 1016.8, time.Hour+4*time.Second, 730, 12, time.Second)                 // and in more than there were
		at(6*time.Second, 1020.8, time.Hour+9*time.Second, 740, 12, time.Second)                 // more than all: it may be saved up
	}
}

func TestTheQuotaThatBoundsMost(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a/cpu.max", "100000 100000")
	put(t, dir, "a/b/cpu.max", "max 100000")
	put(t, dir, "a/b/c/cpu.max", "400000 100000")
	q := groups{dir}.quota([]byte("0::/a/b/c\n"))
	require.Equal(t, quota{cpus: 1, stat: filepath.Join(dir, "a/cpu.stat"), unit: time.Microsecond}, q)
	require.Zero(t, groups{dir}.quota([]byte("0::/b\n")))

	put(t, dir, "cpu/x/cpu.cfs_quota_us", "50000")
	put(t, dir, "cpu/x/cpu.cfs_period_us", "100000")
	require.Equal(t, filepath.Join(dir, "cpuacct/x/cpuacct.usage"), groups{dir}.quota([]byte("2:cpu,cpuacct:/x\n")).usage)
	require.Zero(t, groups{dir}.quota([]byte("3:cpuacct:/\n2:cpu:/x\n")), "what is counted is another group's")
	require.Zero(t, groups{dir}.quota([]byte("2:cpu:/x\n")))
}

func FuzzIdle(f *testing.F) {
	f.Add([]byte(stat(1, 2)), []byte("nr_periods 1\nnr_throttled 0\nusage_usec 5\n"))
	f.Add([]byte("1 2\n"), []byte("nr_periods 9\nnr_throttled 10\nusage_usec -5\n"))
	f.Fuzz(func(t *testing.T, proc, stat []byte) {
		dir := t.TempDir()
		for _, name := range []string{"stat", "uptime", "cpu.stat"} {
			text := proc
			if name == "cpu.stat" {
				text = stat
			}
			put(t, dir, name, string(text))
		}
		began := time.Now()
		for _, only := range [][]int{nil, {0}} {
			i := Idle{proc: dir, cores: 1, only: only, quota: quota{cpus: 1, stat: filepath.Join(dir, "cpu.stat"), unit: time.Microsecond}}
			_, err := i.read(began)
			got, errLater := i.read(began.Add(time.Second))
			require.Equal(t, err != nil, errLater != nil)
			require.GreaterOrEqual(t, got, time.Duration(0))
			require.LessOrEqual(t, got, time.Second)
		}
	})
}
