package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/reprise-io/reprise/e2e/feed"
)

// importing measures how fast a packet capture is read, against tshark. Both write what they find to a pipe that is read.
func (b *bench) importing(ctx context.Context) error {
	path := filepath.Join(b.dir, "made.pcap")
	progress("import: writing a capture of %d requests", b.captured)
	size, err := feed.Packets{Requests: b.captured, Start: time.Now().Add(-time.Hour)}.WriteFile(path)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	tap := []string{filepath.Join(b.bin, "tap"), "import", "--print", "--redact", "off", path}
	tshark := []string{"tshark", "-r", path, "-Y", "http.request", "-T", "fields", "-e", "http.request.method", "-e", "http.request.uri"}
	var ours, theirs, ratio []float64
	var rows [][]string
	var most int64
	for round := range b.rounds {
		t, err := reading(ctx, tshark)
		if err != nil {
			return err
		}
		o, err := reading(ctx, tap)
		if err != nil {
			return err
		}
		if o.lines != b.captured {
			return fmt.Errorf("tap import found %d of %d requests", o.lines, b.captured)
		}
		ours, theirs = append(ours, o.took.Seconds()), append(theirs, t.took.Seconds())
		ratio = append(ratio, t.took.Seconds()/o.took.Seconds())
		most = max(most, o.rss)
		progress("import, round %d: tap %.2f s, tshark %.2f s and %d requests", round+1, o.took.Seconds(), t.took.Seconds(), t.lines)
	}
	megabytes := float64(size) / 1e6
	for _, r := range []struct {
		name string
		took []float64
	}{{"tap import --print", ours}, {"tshark", theirs}} {
		m := median(r.took)
		rows = append(rows, []string{
			r.name, fmt.Sprintf("%.2f", m), fmt.Sprintf("%.0f", megabytes/m), fmt.Sprintf("%.0f", float64(b.captured)/m), each(r.took, "%.2f"),
		})
	}
	b.tables = append(b.tables, table{
		title: fmt.Sprintf("Reading a packet capture: %.0f MB, %d requests", megabytes, b.captured),
		head:  []string{"", "s", "MB/s", "requests/s", "each round"},
		rows:  rows,
		notes: []string{fmt.Sprintf("tshark's time ÷ tap's in each round: %s; median **%.1f**. The most memory that tap import took: %d MiB.",
			each(ratio, "%.1f"), median(ratio), most>>20)},
	})
	return nil
}

// read is what a program that reads a capture did.
type read struct {
	took  time.Duration
	lines int
	rss   int64 // bytes, at most
}

func reading(ctx context.Context, args []string) (read, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return read{}, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return read{}, err
	}
	var r read
	for buf := make([]byte, 1<<20); ; {
		n, err := out.Read(buf)
		r.lines += bytes.Count(buf[:n], []byte{'\n'})
		if err != nil {
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		return read{}, fmt.Errorf("%s: %w: %s", filepath.Base(args[0]), err, strings.TrimSpace(said.String()))
	}
	r.took, r.rss = time.Since(began), maxRSS(cmd.ProcessState)
	return r, nil
}
