package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// maxRSS is the most memory that a program took, in bytes.
func maxRSS(p *os.ProcessState) int64 {
	if usage, ok := p.SysUsage().(*syscall.Rusage); ok {
		return usage.Maxrss << 10
	}
	return 0
}

// peakRSS is the most that a running program has had resident, in bytes; 0: it has ended. Unlike maxRSS it leaves out what the
// process was before it became that program: a copy of ours.
func peakRSS(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscan(after, &kib); err != nil {
		return 0
	}
	return kib << 10
}
