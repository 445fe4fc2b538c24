package main

import (
	"os"
	"syscall"
)

// maxRSS is the most memory that a program took, in bytes.
func maxRSS(p *os.ProcessState) int64 {
	if usage, ok := p.SysUsage().(*syscall.Rusage); ok {
		return usage.Maxrss << 10
	}
	return 0
}
