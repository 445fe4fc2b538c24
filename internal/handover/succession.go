package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// variable tells a successor that was started by its predecessor the descriptor of their connection.
const variable = "REPRISE_HANDOVER_FD"

// Succession is a process's place between the one before and the one after it.
type Succession struct {
	Sockets

	path        string // of the Unix socket for the next one; "": none
	program     string // whose next version is started at a signal; "": not known
	log         *slog.Logger
	post        *net.UnixListener // at path
	place       os.FileInfo       // of post
	predecessor *net.UnixConn     // until it has been told that we serve; nil: there was none
}

// Begin takes the sockets of the process before this one: that which started it, the one that listens at path, or systemd.
// path may be empty. There need be none before: then everything is bound anew. The one before may let wait; when ctx ends meanwhile
// it is an error: who is to end must not take over.
func Begin(ctx context.Context, path string, log *slog.Logger) (*Succession, error) {
	s := &Succession{path: path, log: log, program: program()}
	c, err := s.findPredecessor()
	if err != nil {
		return nil, err
	}
	if c == nil {
		return s, s.FromSystemd()
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	end := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	err = s.receive(c)
	if !end() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = c.Close()
		s.Leftover()
		return nil, fmt.Errorf("take over from the process before: %w", err)
	}
	s.predecessor = c
	log.Info("took over the sockets of the process before", "sockets", len(s.inherited))
	return s, nil
}

func (s *Succession) findPredecessor() (*net.UnixConn, error) {
	if text := os.Getenv(variable); text != "" {
		_ = os.Unsetenv(variable)
		fd, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("bad %s %q", variable, text)
		}
		f := os.NewFile(uintptr(fd), "predecessor")
		defer f.Close()
		c, err := net.FileConn(f)
		if err != nil {
			return nil, fmt.Errorf("%s=%s: %w", variable, text, err)
		}
		if unixConn, ok := c.(*net.UnixConn); ok {
			return unixConn, nil
		}
		return nil, errors.Join(fmt.Errorf("%s=%s is no Unix socket", variable, text), c.Close())
	}
	if s.path == "" {
		return nil, nil
	}
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: s.path, Net: "unix"})
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) { // none, or it died
		return nil, nil
	}
	return c, err
}

// program is the file of this program, by the name that it was started by: a link, or a file that is moved aside, is its next version
// later.
func program() string {
	own, err := os.Executable()
	if err != nil {
		return ""
	}
	named, err := exec.LookPath(os.Args[0])
	if err == nil {
		named, err = filepath.Abs(named)
	}
	a, errA := os.Stat(own)
	b, errB := os.Stat(named)
	if errors.Join(err, errA, errB) == nil && os.SameFile(a, b) {
		return named
	}
	return own
}

// Serving tells the process before that this one serves, and waits until that one takes no more connections. From here on
// the next one finds this process at the path.
func (s *Succession) Serving() {
	s.bind()
	if c := s.predecessor; c != nil {
		s.predecessor = nil
		_ = c.SetDeadline(time.Now().Add(patience))
		_, err := io.WriteString(c, ready)
		if err == nil {
			_, err = io.Copy(io.Discard, c)
		}
		if err != nil {
			s.log.Warn("the process before did not say that it has stopped; both serve", "error", err)
		}
		_ = c.Close()
	}
}

// bind listens at the path. There is always somebody there: the one before loses its place in the same moment.
func (s *Succession) bind() {
	if s.path == "" {
		return
	}
	if now, err := os.Stat(s.path); err == nil && s.post != nil && os.SameFile(now, s.place) {
		return
	}
	if s.post != nil {
		_ = s.post.Close()
	}
	own := s.path + "." + strconv.Itoa(os.Getpid())
	_ = os.Remove(own)
	post, err := net.ListenUnix("unix", &net.UnixAddr{Name: own, Net: "unix"})
	if err == nil {
		post.SetUnlinkOnClose(false) // it may be the successor's by then
		err = errors.Join(os.Chmod(own, 0o600), os.Rename(own, s.path))
	}
	if err == nil {
		s.place, err = os.Stat(s.path)
	}
	if err != nil {
		s.log.Error("NO SUCCESSOR CAN TAKE OVER: traffic passes, an upgrade will interrupt it", "path", s.path, "error", err)
	}
	s.post = post
}

// Await waits until a successor serves: one that connects to the path, or one that is started for each value of start. It
// returns false when ctx ended before that. stop is called when the successor serves; it is told that all is well when stop
// has returned. started is told the process that was started and now serves.
func (s *Succession) Await(ctx context.Context, start <-chan os.Signal, stop func(), started func(pid int)) bool {
	var listening sync.WaitGroup
	defer listening.Wait()
	listens, cancel := context.WithCancel(ctx)
	defer cancel()
	asked := make(chan *net.UnixConn)
	for post := (*net.UnixListener)(nil); ; {
		if s.bind(); s.post != post { // whoever failed to take over may have taken the place
			post = s.post
			listening.Go(func() { visitors(listens, post, asked) })
		}
		handed := false
		select {
		case <-ctx.Done():
			return false
		case c := <-asked:
			handed = s.handTo(ctx, c, stop)
		case <-start:
			handed = s.startSuccessor(ctx, stop, started)
		}
		if handed {
			return true
		}
	}
}

// visitors passes on who connects, until ctx ends.
func visitors(ctx context.Context, post *net.UnixListener, asked chan<- *net.UnixConn) {
	stop := context.AfterFunc(ctx, func() { _ = post.Close() })
	defer stop()
	for {
		c, err := post.AcceptUnix()
		if err != nil {
			return
		}
		select {
		case asked <- c:
		case <-ctx.Done():
			_ = c.Close()
		}
	}
}

// handTo passes the sockets on and waits until the successor serves. If it does not, this process serves on.
func (s *Succession) handTo(ctx context.Context, c *net.UnixConn, stop func()) bool {
	defer c.Close()
	if !sameUser(c) {
		s.log.Warn("another user's process asked for the sockets: refused")
		return false
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	end := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer end()
	err := s.send(c)
	said := make([]byte, len(ready))
	if err == nil {
		_, err = io.ReadFull(c, said)
	}
	if err == nil && string(said) != ready {
		err = fmt.Errorf("it said %q", said)
	}
	if err != nil {
		s.log.Error("THE SUCCESSOR DID NOT TAKE OVER: this process serves on", "error", err)
		return false
	}
	stop()
	return true
}

// startSuccessor starts this program again, from the file that is there now, with the same arguments.
func (s *Succession) startSuccessor(ctx context.Context, stop func(), started func(pid int)) bool {
	ours, child, theirs, err := s.spawn()
	if err != nil {
		s.log.Error("NO SUCCESSOR COULD BE STARTED: this process serves on", "error", err)
		return false
	}
	_ = theirs.Close()
	ended := make(chan error, 1)
	go func() { // ends with the successor, or with this process
		ended <- child.Wait()
		_ = ours.SetDeadline(time.Unix(1, 0)) // nobody says ready any more
	}()
	s.log.Info("a successor was started", "pid", child.Process.Pid)
	if s.handTo(ctx, ours, func() { started(child.Process.Pid); stop() }) {
		return true
	}
	_ = child.Process.Kill()
	if err := <-ended; err != nil {
		s.log.Debug("the successor ended", "error", err)
	}
	return false
}

func (s *Succession) spawn() (ours *net.UnixConn, child *exec.Cmd, theirs *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, nil, err
	}
	mine := os.NewFile(uintptr(fds[0]), "successor")
	theirs = os.NewFile(uintptr(fds[1]), "predecessor")
	defer mine.Close()
	defer func() {
		if err != nil {
			_ = theirs.Close()
		}
	}()
	c, err := net.FileConn(mine)
	if err != nil {
		return nil, nil, nil, err
	}
	ours = c.(*net.UnixConn)
	if err = errors.New("its file is not known"); s.program != "" {
		child = exec.Command(s.program, os.Args[1:]...)
		child.Args[0] = os.Args[0]
		child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
		child.ExtraFiles = []*os.File{theirs}
		child.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "LISTEN_") }), variable+"=3")
		err = child.Start()
	}
	if err != nil {
		_ = ours.Close()
		return nil, nil, nil, err
	}
	return ours, child, theirs, nil
}
