package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Files is the one directory that a spool lives in. Names have no path in them.
type Files interface {
	Names() ([]string, error)
	// Create makes a file that must not exist, for writing, and the directory when it is there no more.
	Create(name string) (File, error)
	Open(name string) (File, error)
	Size(name string) (int64, error)
	Truncate(name string, size int64) error
	Rename(from, to string) error
	Remove(name string) error
	// Sync makes what was created, renamed and removed last.
	Sync() error
	Close() error
}

// File is one file of Files.
type File interface {
	io.ReaderAt
	io.Writer
	io.Closer
	Truncate(size int64) error
	Sync() error
}

// ErrLocked is wrapped when another process has the directory.
var ErrLocked = errors.New("another process uses it")

// directory is Files on a disk.
type directory struct {
	path string
	lock *os.File
}

const lockName = "lock"

// OpenDirectory makes the directory when it is missing, for its owner only, and locks it: the lock ends with the process.
func OpenDirectory(path string) (Files, error) {
	d := &directory{path: path}
	if err := d.make(); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *directory) make() error {
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return err
	}
	lock, err := os.OpenFile(d.at(lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return fmt.Errorf("lock %s: %w", d.path, err)
	}
	if d.lock != nil {
		_ = d.lock.Close()
	}
	d.lock = lock
	return nil
}

func (d *directory) at(name string) string { return filepath.Join(d.path, name) }

func (d *directory) Names() ([]string, error) {
	dir, err := os.Open(d.path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Readdirnames(-1)
}

func (d *directory) Create(name string) (File, error) {
	f, err := os.OpenFile(d.at(name), os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if errors.Is(err, fs.ErrNotExist) { // somebody has removed the directory
		if err = d.make(); err == nil {
			f, err = os.OpenFile(d.at(name), os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
		}
	}
	return opened(f, err)
}

func (d *directory) Open(name string) (File, error) { return opened(os.Open(d.at(name))) }

// opened keeps a nil pointer from becoming an interface that is not nil.
func opened(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (d *directory) Size(name string) (int64, error) {
	info, err := os.Lstat(d.at(name))
	switch {
	case err != nil:
		return 0, err
	case !info.Mode().IsRegular():
		return 0, fmt.Errorf("%s: %w", d.at(name), fs.ErrInvalid)
	}
	return info.Size(), nil
}

func (d *directory) Truncate(name string, size int64) error { return os.Truncate(d.at(name), size) }

func (d *directory) Rename(from, to string) error { return os.Rename(d.at(from), d.at(to)) }

func (d *directory) Remove(name string) error { return os.Remove(d.at(name)) }

func (d *directory) Sync() error {
	dir, err := os.Open(d.path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

func (d *directory) Close() error { return d.lock.Close() }
