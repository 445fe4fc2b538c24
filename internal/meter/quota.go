package meter

import (
	"fmt"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// quota is the CPU time that a control group, with all in it, may use: what bounds a process most.
type quota struct {
	cpus  float64       // 0: there is none
	stat  string        // file with the periods, and in version 2 with what was used
	usage string        // file with what was used; "": it is in stat
	unit  time.Duration // of usage
}

// quota returns the closest of the groups that a process is in; own is its /proc/self/cgroup.
func (g groups) quota(own []byte) (q quota) {
	accounts := "" // version 1: the group whose use is counted, which may be in a hierarchy of its own
	for controllers, group := range entries(own) {
		if slices.Contains(controllers, "cpuacct") {
			accounts = path.Clean("/" + group)
		}
	}
	least := func(other quota) {
		if other.cpus > 0 && (q.cpus == 0 || other.cpus < q.cpus) {
			q = other
		}
	}
	for controllers, group := range entries(own) {
		switch {
		case controllers == nil:
			g.upwards("", group, func(dir string) {
				least(quota{quotaOf(read(dir, "cpu.max")), filepath.Join(dir, "cpu.stat"), "", time.Microsecond})
			})
		case slices.Contains(controllers, "cpu") && path.Clean("/"+group) == accounts: // else it is another's use
			g.upwards("cpu", group, func(dir string) {
				within, _ := filepath.Rel(filepath.Join(g.root, "cpu"), dir)
				least(quota{
					quotaOf(read(dir, "cpu.cfs_quota_us") + " " + read(dir, "cpu.cfs_period_us")), filepath.Join(dir, "cpu.stat"),
					filepath.Join(g.root, "cpuacct", within, "cpuacct.usage"), time.Nanosecond,
				})
			})
		}
	}
	return q
}

// spent is what a group has used of its quota.
type spent struct {
	used      time.Duration
	periods   int64 // in which it had something to do
	throttled int64 // of these, in which it was stopped
}

func (q *quota) read() (s spent, err error) {
	text, err := os.ReadFile(q.stat)
	if err != nil {
		return s, err
	}
	usage := text
	key := "usage_usec "
	if q.usage != "" {
		if usage, err = os.ReadFile(q.usage); err != nil {
			return s, err
		}
		key = ""
	}
	used, ok := numberAfter(usage, key)
	var okPeriods, okThrottled bool
	s.periods, okPeriods = numberAfter(text, "nr_periods ")
	s.throttled, okThrottled = numberAfter(text, "nr_throttled ")
	if !ok || !okPeriods || !okThrottled || used > int64(math.MaxInt64/q.unit) {
		return s, fmt.Errorf("bad cpu.stat %q, usage %q", text, usage)
	}
	s.used = time.Duration(used) * q.unit
	return s, nil
}

// numberAfter returns what follows a key at the beginning of a line.
func numberAfter(text []byte, key string) (n int64, ok bool) {
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, key); found {
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return n, err == nil && n >= 0
		}
	}
	return 0, false
}

// left returns for how long a core of the quota was not used, on the average, between two times that are wall apart. A group
// that was stopped in a period had nothing left in it, whatever it left in others: those do not count for it.
func (q *quota) left(was, now spent, wall time.Duration) time.Duration {
	share := 1 - float64(now.used-was.used)/(q.cpus*float64(wall))
	if stopped, periods := now.throttled-was.throttled, now.periods-was.periods; stopped > 0 {
		share *= 1 - min(1, float64(stopped)/float64(max(1, periods)))
	}
	return time.Duration(min(max(share, 0), 1) * float64(wall))
}
