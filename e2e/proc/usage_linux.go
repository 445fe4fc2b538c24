package proc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// clockTick is the unit of times in /proc: a hundredth of a second on every Linux.
const clockTick = 10 * time.Millisecond

// UsageNow returns the CPU time that a running program has taken, with the children that it has now (an nginx master's
// workers), and the memory that they have resident, in bytes. Pages that they share count for each of them.
func (p *Process) UsageNow() (cpu time.Duration, rss int64, err error) {
	select {
	case <-p.exited:
		return 0, 0, fmt.Errorf("usage of %s: it %w", p.name, ErrExited)
	default:
	}
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, 0, err
	}
	group := strconv.Itoa(p.PID()) // childAttr: the children are of its group
	for _, path := range all {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// pid (name) state ppid pgrp …: what follows the name, which may hold anything
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 22 || string(fields[2]) != group {
			continue
		}
		number := func(i int) int64 {
			n, _ := strconv.ParseInt(string(fields[i]), 10, 64) // the kernel writes numbers
			return n
		}
		cpu += time.Duration(number(11)+number(12)) * clockTick
		rss += number(21) * int64(os.Getpagesize())
	}
	return cpu, rss, nil
}
