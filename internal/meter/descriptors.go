package meter

import (
	"fmt"
	"math"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// What connections leave of the descriptors: an eighth, within these bounds, and never more than half. It is for Kafka (a
// connection or two to each broker), segments of the spool, metrics, names, certificates and rules that are read again.
const (
	keptShare = 8
	keptLeast = 32
	keptMost  = 256
)

// Descriptors are the file descriptors of this process, shared out between its connections: those are as many as clients
// please, and must leave some for what is ours. Its methods may be called from any goroutine.
type Descriptors struct {
	limit func() (uint64, error)
	most  atomic.Int64 // that connections may have
	taken atomic.Int64
}

// FindDescriptors returns those of this process, none of them taken. An error says that their number is not known: then there
// are as many as the kernel gives.
func FindDescriptors() (*Descriptors, error) { return newDescriptors(descriptorLimit) }

func newDescriptors(limit func() (uint64, error)) (*Descriptors, error) {
	d := &Descriptors{limit: limit}
	d.most.Store(math.MaxInt64)
	return d, d.read()
}

// descriptorLimit is the soft limit. The Go runtime has raised it to the hard one, and gives children the one from before.
func descriptorLimit() (uint64, error) {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0, fmt.Errorf("getrlimit: %w", err)
	}
	return r.Cur, nil
}

// read takes in a limit that may have changed: prlimit(1) raises that of a running process.
func (d *Descriptors) read() error {
	limit, err := d.limit()
	if err == nil {
		d.most.Store(forConnections(limit))
	}
	return err
}

func forConnections(limit uint64) int64 {
	n := int64(min(limit, math.MaxInt32))
	return n - min(max(n/keptShare, keptLeast), keptMost, n/2)
}

// Most is how many connections may have at present.
func (d *Descriptors) Most() int64 { return d.most.Load() }

// Take takes n, if so many are left. anyway takes them even then, and returns true.
func (d *Descriptors) Take(n int, anyway bool) bool {
	if d.fits(d.taken.Add(int64(n))) || anyway {
		return true
	}
	d.Give(n)
	return false
}

func (d *Descriptors) fits(taken int64) bool {
	return taken <= d.most.Load() || d.read() == nil && taken <= d.most.Load()
}

// Give gives n back that were taken.
func (d *Descriptors) Give(n int) { d.taken.Add(-int64(n)) }
