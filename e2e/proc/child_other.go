//go:build !linux

package proc

import "syscall"

// childAttr puts a program into a group of its own. Without Linux nobody kills it when its starter crashes.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
