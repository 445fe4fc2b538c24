package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Run becomes the program of an image, as an engine would start it with a read-only root, no capability and no way to gain
// one: in a mount namespace of its own, with the machine's network. It returns only when it could not. dir is what Build
// made; it must be the only one to run there, for what an engine mounts (/proc, resolv.conf) gets its places there first.
func Run(dir string, image Image, args, env []string) error {
	uid, gid, err := numericUser(image.User)
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("entering another root needs root: run it as root or with sudo")
	}
	runtime.LockOSThread() // what follows is of this thread, and so is the program that it becomes
	if err := readOnlyRoot(filepath.Join(dir, rootFolder)); err != nil {
		return err
	}
	death, err := unix.PrctlRetInt(unix.PR_GET_PDEATHSIG, 0, 0, 0, 0)
	if err != nil { // some kernels have only the form with a pointer
		death = 0
	}
	for _, step := range []func() error{
		func() error { return syscall.Setgroups(nil) },
		func() error { return syscall.Setgid(gid) },
		func() error { return syscall.Setuid(uid) }, // takes every capability away
		func() error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) },
		func() error { return unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(death), 0, 0, 0) }, // lost with the user id
	} {
		if err := step(); err != nil {
			return fmt.Errorf("become user %s: %w", image.User, err)
		}
	}
	environ := append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/"}, env...)
	for k, v := range image.Env {
		environ = append(environ, k+"="+v)
	}
	err = syscall.Exec(image.Entrypoint[0], append(image.Entrypoint, args...), environ)
	return fmt.Errorf("%s: %w", image.Entrypoint[0], err)
}

// readOnlyRoot makes a folder this thread's root.
func readOnlyRoot(root string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to ourselves: %w", err)
	}
	if err := bind(root, root); err != nil {
		return err
	}
	for _, name := range []string{"/proc", "/etc/resolv.conf", "/etc/hosts"} {
		if err := bind(name, filepath.Join(root, name)); err != nil {
			return err
		}
	}
	const flags = unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV
	if err := unix.Mount("", root, "", flags, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", root, err)
	}
	if err := unix.Chroot(root); err != nil {
		return err
	}
	return unix.Chdir("/")
}

// bind shows what is at from also at to, which it makes.
func bind(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return nil //nolint:nilerr // a machine without it gives the container none
	}
	if info.IsDir() {
		err = os.MkdirAll(to, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(to), 0o755); err == nil {
		var file *os.File
		if file, err = os.OpenFile(to, os.O_CREATE, 0o644); err == nil {
			err = file.Close()
		}
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s at %s: %w", from, to, err)
	}
	return nil
}

// numericUser reads UID:GID. Kubernetes' runAsNonRoot takes nothing else, and an empty root has no names.
func numericUser(user string) (uid, gid int, err error) {
	u, g, ok := strings.Cut(user, ":")
	uid, uidErr := strconv.Atoi(u)
	gid, gidErr := strconv.Atoi(g)
	if !ok || uidErr != nil || gidErr != nil || uid == 0 || gid == 0 {
		return 0, 0, fmt.Errorf("USER %q: want the numbers UID:GID of someone who is not root", user)
	}
	return uid, gid, nil
}
