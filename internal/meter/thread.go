package meter

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// Thread is a thread of this process.
type Thread struct{ file *os.File }

// Run is how a thread has fared since it began.
type Run struct {
	Ran    time.Duration // on a core
	Waited time.Duration // for one, with something to do
}

// OpenThread finds a thread by its id. An error: the kernel does not tell about threads.
func OpenThread(id int) (*Thread, error) {
	f, err := os.Open(fmt.Sprintf("/proc/self/task/%d/schedstat", id))
	if err != nil {
		return nil, err
	}
	t := &Thread{f}
	if _, err := t.Read(); err != nil {
		return nil, err
	}
	return t, nil
}

// Read returns how the thread has fared; an error when it is over, which closes it.
func (t *Thread) Read() (Run, error) {
	var text [96]byte
	n, err := t.file.ReadAt(text[:], 0)
	if n == 0 {
		_ = t.file.Close()
		return Run{}, fmt.Errorf("schedstat: %w", err)
	}
	return parseRun(text[:n])
}

// parseRun reads the first two of schedstat's numbers, which are nanoseconds.
func parseRun(schedstat []byte) (Run, error) {
	fields := bytes.Fields(schedstat)
	if len(fields) < 2 {
		return Run{}, fmt.Errorf("bad schedstat %q", schedstat)
	}
	ran, err := strconv.ParseInt(string(fields[0]), 10, 64)
	if err != nil {
		return Run{}, fmt.Errorf("bad schedstat %q", schedstat)
	}
	waited, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return Run{}, fmt.Errorf("bad schedstat %q", schedstat)
	}
	return Run{time.Duration(ran), time.Duration(waited)}, nil
}
