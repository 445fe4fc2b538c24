package main

import "golang.org/x/sys/unix"

// moreFiles lets us, and the programs that we start, open as many files as are allowed, and more where we may allow it:
// 10,000 connections through a proxy are 20,000 in it.
func moreFiles() {
	const wanted = 65536
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return
	}
	more := max(limit.Max, wanted)
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: more, Max: more}) != nil {
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit.Max, Max: limit.Max})
	}
}

// openFiles is how many a program may open.
func openFiles() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 1024
	}
	return int(min(limit.Cur, 1<<20))
}
