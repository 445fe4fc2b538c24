package meter

import "golang.org/x/sys/unix"

// Prefer puts the calling thread, which is to be locked to its goroutine, before others that want a core, by its nice value: -20
// (most) to 0, which changes nothing. That takes CAP_SYS_NICE or RLIMIT_NICE; an error that is os.ErrPermission says that there is
// neither. A value that somebody has given the process stays, as does another policy: it is not preferred then. It counts among the threads of
// the same control group, where there is one for CPU. What such a thread starts would be preferred too: in Go, threads are started by others.
func Prefer(nice int) (preferred bool, err error) {
	if nice == 0 {
		return false, nil
	}
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil || attr.Policy != unix.SCHED_NORMAL || attr.Nice != 0 {
		return false, err
	}
	if err := PreferThread(0, nice); err != nil {
		return false, err
	}
	return true, nil
}

// PreferThread changes how far a thread that is preferred goes before others; 0 is the calling one.
func PreferThread(id, nice int) error { return unix.Setpriority(unix.PRIO_PROCESS, id, nice) }
