package meter

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Idle tells for how long the cores of this machine have had nothing to do.
type Idle struct{ cores int }

// FindIdle returns an error where that says nothing about this process: it may not use all of them, or not all of their time.
func FindIdle() (Idle, error) {
	text, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil {
		return Idle{}, err
	}
	i := Idle{countOf(strings.TrimSpace(string(text)))}
	if i.cores == 0 {
		return Idle{}, fmt.Errorf("bad list of cores %q", text)
	}
	if runtime.NumCPU() < i.cores || Find().Quota {
		return Idle{}, errors.New("the cores are not all this process's")
	}
	_, err = i.Read()
	return i, err
}

// Read returns for how long a core was idle, on the average, since the machine began.
func (i Idle) Read() (time.Duration, error) {
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0, err
	}
	all, err := idleOf(text)
	return all / time.Duration(i.cores), err
}

// idleOf reads the second of uptime's numbers, which are seconds.
func idleOf(uptime []byte) (time.Duration, error) {
	fields := bytes.Fields(uptime)
	if len(fields) < 2 {
		return 0, fmt.Errorf("bad uptime %q", uptime)
	}
	seconds, err := strconv.ParseFloat(string(fields[1]), 64)
	if err != nil || !(seconds >= 0 && seconds < 1e9) {
		return 0, fmt.Errorf("bad uptime %q", uptime)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// countOf returns how many numbers a list such as 0-3,8 has; 0: it is none.
func countOf(list string) (n int) {
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, errFrom := strconv.ParseUint(first, 10, 16)
		to, errTo := strconv.ParseUint(last, 10, 16)
		if errFrom != nil || errTo != nil || to < from {
			return 0
		}
		n += int(to-from) + 1
	}
	return n
}
