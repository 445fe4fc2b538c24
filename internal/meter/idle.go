package meter

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	tick = 10 * time.Millisecond // the unit of /proc/stat (USER_HZ), on all that Go runs on
	// idleEvery is how long a look at more than /proc/uptime is good for: a machine with many cores and interrupts takes a
	// millisecond to tell, and a quota is for a period of 100 ms.
	idleEvery = 100 * time.Millisecond
)

// Idle tells for how long the cores that this process may use have had nothing to do; with a quota no longer than some of that
// was left. One goroutine at a time may ask.
type Idle struct {
	proc  string // directory
	cores int    // that the process may run on
	only  []int  // their numbers; nil: they are all that there are
	quota quota

	last  idled // zero: nothing was read yet
	total time.Duration
}

// idled is what was read at a time.
type idled struct {
	at    time.Time
	cores time.Duration // that one was idle, on the average
	spent spent         // of the quota
}

// FindIdle returns an error where nothing can be known of that.
func FindIdle() (*Idle, error) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	i := &Idle{proc: "/proc"}
	if Find().Quota {
		i.quota = groups{root: "/sys/fs/cgroup"}.quota(own)
		if i.quota.cpus == 0 {
			return nil, fmt.Errorf("the use of which the quota bounds is not known: %q", own)
		}
	}
	online, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil {
		return nil, err
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil, err
	}
	if err := i.find(online, status); err != nil {
		return nil, err
	}
	if i.cores != runtime.NumCPU() {
		return nil, fmt.Errorf("the cores that this process may use are not known: %d, and by the runtime %d", i.cores, runtime.NumCPU())
	}
	_, err = i.Read()
	return i, err
}

// find learns of the cores: those that are there, and those that the process may use.
func (i *Idle) find(online, status []byte) error {
	there := listOf(strings.TrimSpace(string(online)))
	_, allowed, _ := strings.Cut(string(status), "\nCpus_allowed_list:")
	allowed, _, _ = strings.Cut(allowed, "\n")
	may := slices.DeleteFunc(listOf(strings.TrimSpace(allowed)), func(core int) bool { return !slices.Contains(there, core) })
	i.cores = len(may)
	if i.cores == 0 {
		return fmt.Errorf("bad lists of cores: online %q, allowed %q", online, allowed)
	}
	if i.only = nil; i.cores < len(there) {
		i.only = may
	}
	return nil
}

// Read returns for how long a core was idle, on the average: since the machine began, or with a quota or a set of cores since
// the first Read.
func (i *Idle) Read() (time.Duration, error) { return i.read(time.Now()) }

func (i *Idle) read(now time.Time) (time.Duration, error) {
	if i.only == nil && i.quota.cpus == 0 {
		return i.ofCores()
	}
	if !i.last.at.IsZero() && now.Sub(i.last.at) < idleEvery {
		return i.total, nil
	}
	next := idled{at: now}
	var err error
	if next.cores, err = i.ofCores(); err != nil {
		return 0, err
	}
	if i.quota.cpus > 0 {
		if next.spent, err = i.quota.read(); err != nil {
			return 0, err
		}
	}
	if was := i.last; !was.at.IsZero() {
		i.total += i.between(was, next)
	}
	i.last = next
	return i.total, nil
}

func (i *Idle) between(was, now idled) time.Duration {
	wall := now.at.Sub(was.at)
	idle := min(max(now.cores-was.cores, 0), wall)
	if i.quota.cpus > 0 {
		idle = min(idle, i.quota.left(was.spent, now.spent, wall))
	}
	return idle
}

// ofCores returns for how long one of the cores was idle, on the average, since the machine began.
func (i *Idle) ofCores() (time.Duration, error) {
	name, sum := "uptime", idleOf
	if i.only != nil {
		name, sum = "stat", i.idleOfSome
	}
	text, err := os.ReadFile(filepath.Join(i.proc, name))
	if err != nil {
		return 0, err
	}
	seconds, err := sum(text)
	seconds /= float64(i.cores)
	if err == nil && !(seconds >= 0 && seconds < 1e9) {
		err = fmt.Errorf("bad %s: a core was idle for %g s", name, seconds)
	}
	if err != nil {
		return 0, err
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// idleOf reads the second of uptime's numbers: seconds, of all cores together.
func idleOf(uptime []byte) (seconds float64, err error) {
	fields := bytes.Fields(uptime)
	if len(fields) < 2 {
		return 0, fmt.Errorf("bad uptime %q", uptime)
	}
	return strconv.ParseFloat(string(fields[1]), 64)
}

// idleOfSome adds up the fourth number of each line of stat that is about a core that the process may use. A core that was
// taken away meanwhile has no line.
func (i *Idle) idleOfSome(stat []byte) (seconds float64, err error) {
	found := 0
	for line := range bytes.Lines(stat) {
		fields := bytes.Fields(line)
		if len(fields) < 5 {
			continue
		}
		name, isCPU := bytes.CutPrefix(fields[0], []byte("cpu"))
		if !isCPU {
			break // they come first
		}
		core, err := strconv.Atoi(string(name))
		if err != nil || !slices.Contains(i.only, core) {
			continue // the sum of all has no number
		}
		ticks, err := strconv.ParseUint(string(fields[4]), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("bad line of stat %q", line)
		}
		seconds += float64(ticks) * tick.Seconds()
		found++
	}
	if found < i.cores {
		return 0, fmt.Errorf("stat tells of %d of %d cores", found, i.cores)
	}
	return seconds, nil
}

// listOf returns the numbers of a list such as 0-3,8; nil: it is none.
func listOf(list string) (numbers []int) {
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, errFrom := strconv.ParseUint(first, 10, 16)
		to, errTo := strconv.ParseUint(last, 10, 16)
		if errFrom != nil || errTo != nil || to < from {
			return nil
		}
		for n := from; n <= to; n++ {
			numbers = append(numbers, int(n))
		}
	}
	return numbers
}
