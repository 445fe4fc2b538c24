package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/reprise-io/reprise/e2e/proc"
)

// replayRecorder is a GoReplay that listens to a port and writes the requests to a file.
type replayRecorder struct {
	*proc.Process
	file string
}

func (b *bench) startGoReplay(ctx context.Context, addr string) (*replayRecorder, error) {
	dir, err := os.MkdirTemp(b.dir, "goreplay-")
	if err != nil {
		return nil, err
	}
	g := &replayRecorder{file: filepath.Join(dir, "kept.gor")}
	g.Process, err = proc.Start(proc.Options{Path: b.gor, Args: []string{
		// One file, so that none is left out of the count.
		"--input-raw", addr, "--output-file", g.file, "--output-file-append", "--output-file-size-limit", "4gb",
	}})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if _, err := g.WaitLine(ctx, "Interface:"); err != nil {
		g.Kill()
		return nil, err
	}
	pause(ctx, time.Second) // it says so before it listens
	return g, nil
}

// written tells what it has written of what it will while it runs: it flushes every second, and gives a message up after two.
func (g *replayRecorder) written(ctx context.Context) (kept, error) {
	pause(ctx, 3*time.Second)
	n, err := g.requests()
	return kept{stored: float64(n)}, errors.Join(err, ctx.Err())
}

// end stops it and returns how many requests it has kept.
func (g *replayRecorder) end() (requests int, err error) {
	g.Signal(syscall.SIGINT)
	if _, err := g.Stop(15 * time.Second); err != nil {
		return 0, err
	}
	return g.requests()
}

func (g *replayRecorder) requests() (int, error) {
	file, err := os.Open(g.file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer file.Close()
	return countRequests(file), nil
}

// countRequests counts the messages of a .gor file that are requests. Each begins with a line of its type (1: a request), its
// id, its time, and how long it took.
func countRequests(file io.Reader) (n int) {
	const id = 24 // hexadecimal digits
	lines := bufio.NewReaderSize(file, 1<<20)
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 2+id && line[0] == '1' && line[1] == ' ' && line[2+id] == ' ' {
			n++
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return n
		}
	}
}
