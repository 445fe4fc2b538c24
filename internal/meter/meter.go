// Package meter tells how much CPU and memory this process uses, and how much of both it may use: what its control group
// (version 1 or 2) or else the machine gives it.
package meter

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds are what a process may use.
type Bounds struct {
	CPUs   float64 // of the control group's quota where there is one, else the cores that the process may run on
	Quota  bool    // CPUs is a quota: over it the kernel stops the whole process, traffic and all, until the next period
	Memory int64   // bytes; beyond them the kernel kills. 0: none but the machine's
}

// Cores is how many cores CPUs keep busy, from 1.
func (b Bounds) Cores() int { return max(1, int(math.Ceil(b.CPUs))) }

// Find reads the bounds of this process. What cannot be read is no bound.
func Find() Bounds {
	b := Bounds{CPUs: float64(runtime.NumCPU())}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return b
	}
	limits := groups{root: "/sys/fs/cgroup"}.limits(own)
	if limits.CPUs > 0 && limits.CPUs < b.CPUs {
		b.CPUs, b.Quota = limits.CPUs, true
	}
	b.Memory = limits.Memory
	return b
}

// Use is what the process has used so far, and holds now.
type Use struct {
	CPU      time.Duration // of all its threads, in user and system mode, since it began
	Resident int64         // bytes in memory, with those of its files
}

// Read returns the use of this process.
func Read() (Use, error) {
	cpu, err := CPU()
	if err != nil {
		return Use{}, err
	}
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return Use{}, err
	}
	pages, err := resident(text)
	if err != nil {
		return Use{}, err
	}
	return Use{CPU: cpu, Resident: pages * int64(os.Getpagesize())}, nil
}

// CPU returns what Use.CPU is, for less than the price of Read.
func CPU() (time.Duration, error) {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return 0, fmt.Errorf("getrusage: %w", err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()), nil
}

// resident returns the second number of statm.
func resident(statm []byte) (pages int64, err error) {
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return 0, fmt.Errorf("bad statm %q", statm)
	}
	return strconv.ParseInt(string(fields[1]), 10, 64)
}
