// Package proc runs programs for the end-to-end tests, the demo and the benchmarks, and leaves none of them behind: a
// child dies with the process that started it, whatever ends that one.
package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Options describe a program to start.
type Options struct {
	Path string
	Args []string
	Dir  string   // "" is the current directory
	Env  []string // added to the environment
	Log  io.Writer
	// Stdin is read by the program. nil: nothing to read.
	Stdin io.Reader
}

// Process is a started program. Its methods are safe for concurrent use.
type Process struct {
	name   string
	cmd    *exec.Cmd
	stdout *output
	stderr *output
	exited chan struct{} // closed when it has ended and its output is whole
}

// Start starts a program. Whoever starts it stops it; should that be forgotten, it is killed with this process.
func Start(o Options) (*Process, error) {
	cmd := exec.Command(o.Path, o.Args...)
	cmd.Dir = o.Dir
	cmd.Env = append(os.Environ(), o.Env...)
	cmd.Stdin = o.Stdin
	cmd.SysProcAttr = childAttr()
	p := &Process{
		name: filepath.Base(o.Path), cmd: cmd,
		stdout: newOutput(o.Log), stderr: newOutput(o.Log), exited: make(chan struct{}),
	}
	cmd.Stdout, cmd.Stderr = p.stdout, p.stderr
	cmd.WaitDelay = 5 * time.Second // a grandchild that keeps the pipe open does not hold us

	started := make(chan error, 1)
	go func() {
		// The death signal is sent when the thread that started the child ends: that thread waits here with it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait() // its code is in ProcessState
		p.stdout.end()
		p.stderr.end()
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	return p, nil
}

// Result is what a program left that ran to its end.
type Result struct {
	Code           int // -1: ended by a signal
	Stdout, Stderr string
}

// Run runs a program to its end, or kills it when ctx ends.
func Run(ctx context.Context, o Options) (Result, error) {
	p, err := Start(o)
	if err != nil {
		return Result{}, err
	}
	code, err := p.Wait(ctx)
	if err != nil {
		p.Kill()
		err = fmt.Errorf("%s %s: %w\n%s", p.name, strings.Join(o.Args, " "), err, p.Stderr())
	}
	return Result{Code: code, Stdout: p.Stdout(), Stderr: p.Stderr()}, err
}

// Name is the program's file name.
func (p *Process) Name() string { return p.name }

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Stdout returns what it has written so far.
func (p *Process) Stdout() string { return p.stdout.String() }

// Stderr returns what it has written so far.
func (p *Process) Stderr() string { return p.stderr.String() }

// Exited is closed when the program has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Signal sends a signal to the program. It is no error when it has ended already.
func (p *Process) Signal(sig syscall.Signal) {
	_ = p.cmd.Process.Signal(sig)
}

// Wait waits for the end and returns the exit code, -1 after a signal.
func (p *Process) Wait(ctx context.Context) (int, error) {
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return -1, ctx.Err()
	}
}

// Kill ends the program and its children at once, as a crash does, and waits for it.
func (p *Process) Kill() {
	select {
	case <-p.exited:
		return
	default:
	}
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL) // Setpgid: the group has the leader's id
	<-p.exited
}

// Stop asks the program to end, kills it when it has not within the given time, and returns its exit code.
func (p *Process) Stop(within time.Duration) (int, error) {
	p.Signal(syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	code, err := p.Wait(ctx)
	if err != nil {
		p.Kill()
		return -1, fmt.Errorf("%s did not end within %s of SIGTERM:\n%s", p.name, within, tail(p.Stderr(), 30))
	}
	return code, nil
}

// Usage returns CPU time and the largest resident size in bytes, after the end.
func (p *Process) Usage() (cpu time.Duration, rss int64) {
	<-p.exited
	state := p.cmd.ProcessState
	if u, ok := state.SysUsage().(*syscall.Rusage); ok {
		rss = u.Maxrss << 10 // KiB on Linux
	}
	return state.UserTime() + state.SystemTime(), rss
}

// ErrExited is wrapped when a program ended while something was awaited of it.
var ErrExited = errors.New("has ended")

// WaitLine waits until a line with the given text is on stdout or stderr and returns it.
func (p *Process) WaitLine(ctx context.Context, text string) (string, error) {
	for {
		more1, more2 := p.stdout.more(), p.stderr.more()
		for _, o := range []*output{p.stdout, p.stderr} {
			if line, ok := o.find(text); ok {
				return line, nil
			}
		}
		select {
		case <-more1:
		case <-more2:
		case <-p.exited:
			if line, ok := p.stderr.find(text); ok {
				return line, nil
			}
			return "", fmt.Errorf("%s %w before it said %q:\n%s", p.name, ErrExited, text, tail(p.Stderr(), 30))
		case <-ctx.Done():
			return "", fmt.Errorf("%s did not say %q: %w:\n%s", p.name, text, ctx.Err(), tail(p.Stderr(), 30))
		}
	}
}

func tail(s string, lines int) string {
	all := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// output keeps what a program writes and tells when there is more.
type output struct {
	also io.Writer // nil: nobody else reads it

	mu      sync.Mutex
	buf     bytes.Buffer
	changed chan struct{} // closed at the next write
}

func newOutput(also io.Writer) *output { return &output{also: also, changed: make(chan struct{})} }

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.also != nil {
		_, _ = o.also.Write(b)
	}
	o.buf.Write(b)
	o.wake()
	return len(b), nil
}

func (o *output) wake() {
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wake()
}

func (o *output) more() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.changed
}

func (o *output) find(text string) (string, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.buf.Bytes()
	at := bytes.Index(all, []byte(text))
	if at < 0 {
		return "", false
	}
	start := bytes.LastIndexByte(all[:at], '\n') + 1
	end := bytes.IndexByte(all[at:], '\n')
	if end < 0 {
		return "", false // the line is not whole yet
	}
	return string(all[start : at+end]), true
}

// String implements fmt.Stringer.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
