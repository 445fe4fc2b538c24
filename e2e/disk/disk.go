// Package disk makes a file system of a test's own: in memory, seen only by the programs that the test starts with it, full or
// immutable from one moment to the next. It is gone when the test is.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/reprise-io/reprise/e2e/proc"
)

// Disk is a file system mounted on a folder, in a mount namespace that a process holds.
type Disk struct {
	dir    string
	bytes  int64
	holder *proc.Process
}

const (
	timeout   = 20 * time.Second
	immutable = 0x10 // FS_IMMUTABLE_FL of the kernel
)

// New mounts a file system of at most so many bytes on dir, which exists. It is an error where no namespaces can be made.
func New(ctx context.Context, dir string, bytes int64) (*Disk, error) {
	const script = `mount -t tmpfs -o "size=$2" none "$1" && echo mounted && exec sleep infinity`
	holder, err := proc.Start(proc.Options{Path: "unshare", Args: []string{"-rm", "sh", "-c", script, "sh", dir, strconv.FormatInt(bytes, 10)}})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if _, err := holder.WaitLine(ctx, "mounted"); err != nil {
		holder.Kill()
		return nil, err
	}
	return &Disk{dir, bytes, holder}, nil
}

// Wrap runs the program behind it so that it sees the disk.
func (d *Disk) Wrap() []string {
	return []string{"nsenter", "-U", "--preserve-credentials", "-m", "-t", strconv.Itoa(d.holder.PID()), "--"}
}

// Path is where others find a file of the disk, by its path as the programs see it.
func (d *Disk) Path(path string) string { return fmt.Sprintf("/proc/%d/root%s", d.holder.PID(), path) }

// Used is what is in it, in bytes.
func (d *Disk) Used() (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(d.Path(d.dir), &s); err != nil {
		return 0, err
	}
	return int64(s.Blocks-s.Bfree) * s.Bsize, nil
}

// Fill leaves no room.
func (d *Disk) Fill(ctx context.Context) error {
	for { // whoever is writing is quicker, now and then
		used, err := d.Used()
		if err == nil {
			err = d.remount(ctx, fmt.Sprintf("size=%d", max(used, 1)))
		}
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
	}
}

// Free gives the room back.
func (d *Disk) Free(ctx context.Context) error {
	return d.remount(ctx, fmt.Sprintf("size=%d", d.bytes))
}

// Lock makes a folder of the disk, and all that is in it, immutable, as far as it goes for files that are open already: nothing can
// be made, renamed or removed there, while those can still be written. (To mount it read-only is refused while they are open.)
func (d *Disk) Lock(folder string, locked bool) error {
	return filepath.WalkDir(d.Path(folder), func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
		if err != nil {
			return err
		}
		if flags &^= immutable; locked {
			flags |= immutable
		}
		return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(flags))
	})
}

func (d *Disk) remount(ctx context.Context, how string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	command := slices.Concat(d.Wrap(), []string{"mount", "-o", "remount," + how, d.dir})
	got, err := proc.Run(ctx, proc.Options{Path: command[0], Args: command[1:]})
	if err == nil && got.Code != 0 {
		err = fmt.Errorf("remount %s with %s: %s", d.dir, how, got.Stderr)
	}
	return err
}

// Close is due when the programs that see it have ended.
func (d *Disk) Close() { d.holder.Kill() }
