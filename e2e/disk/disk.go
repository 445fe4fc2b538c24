// Package disk makes a file system of a test's own: in memory, seen only by the programs that the test starts with it, full or
// read-only from one moment to the next. It is gone when the test is.
package disk

import (
	"context"
	"errors"
	"fmt"
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

const timeout = 20 * time.Second

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

// ReadOnly lets nobody write. It is an error while a file is open for that.
func (d *Disk) ReadOnly(ctx context.Context) error { return d.remount(ctx, "ro") }

// Writable undoes ReadOnly.
func (d *Disk) Writable(ctx context.Context) error { return d.remount(ctx, "rw") }

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
