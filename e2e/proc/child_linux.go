package proc

import "syscall"

// childAttr puts a program into a group of its own and has the kernel kill it when its starter is gone.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
