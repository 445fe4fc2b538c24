package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/reprise-io/reprise/e2e/proc"
)

// table is one part of the results.
type table struct {
	title string
	notes []string
	head  []string
	rows  [][]string
}

// write prints the results and stores them.
func (b *bench) write(ctx context.Context) error {
	var text bytes.Buffer
	fmt.Fprintf(&text, "# Results of `make bench`\n\n%s. Medians of %d rounds in which everyone has a turn;\nratios are taken within a round. "+
		"Everything shares one machine, load generator and Kafka included: compare ratios, not figures of other machines.\n\n",
		time.Now().UTC().Format("2006-01-02 15:04 UTC"), b.rounds)
	for _, line := range machine(ctx, b.jars) {
		fmt.Fprintf(&text, "- %s\n", line)
	}
	for _, t := range b.tables {
		fmt.Fprintf(&text, "\n## %s\n\n", t.title)
		row := func(cells []string) { fmt.Fprintf(&text, "| %s |\n", strings.Join(cells, " | ")) }
		row(t.head)
		row(slices.Repeat([]string{"---"}, len(t.head)))
		for _, r := range t.rows {
			row(r)
		}
		if len(t.notes) > 0 {
			fmt.Fprintf(&text, "\n%s\n", strings.Join(t.notes, "\n"))
		}
	}
	if _, err := os.Stdout.Write(text.Bytes()); err != nil || b.out == "" {
		return err
	}
	return os.WriteFile(b.out, text.Bytes(), 0o644)
}

// machine tells what it was measured on and with.
func machine(ctx context.Context, jars string) []string {
	cpu := "unknown processor"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if m := regexp.MustCompile(`model name\s*: (.*)`).FindSubmatch(info); m != nil {
			cpu = string(m[1])
		}
	}
	memory := ""
	if info, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kb int64
		if _, err := fmt.Sscanf(string(info), "MemTotal: %d kB", &kb); err == nil {
			memory = fmt.Sprintf(", %.0f GiB", float64(kb)/(1<<20))
		}
	}
	said := func(pattern, program string, args ...string) string {
		got, err := proc.Run(ctx, proc.Options{Path: program, Args: args})
		if err != nil {
			return "not there"
		}
		return cmp.Or(regexp.MustCompile(pattern).FindString(got.Stdout+got.Stderr), "unknown")
	}
	kafka := "unknown"
	if jar, _ := filepath.Glob(filepath.Join(jars, "kafka_*.jar")); len(jar) > 0 {
		kafka = strings.TrimSuffix(filepath.Base(jar[0]), ".jar")
	}
	number := `\d+\.\d+[.\d]*`
	return []string{
		fmt.Sprintf("%s, %d cores%s, Linux %s", cpu, runtime.NumCPU(), memory, said(`\S+`, "uname", "-r")),
		fmt.Sprintf("%s, %s (one JVM, Java %s), HAProxy %s, nginx %s, wrk %s", runtime.Version(), kafka,
			said(number, "java", "-version"), said(number, "haproxy", "-v"), said(number, nginx(), "-v"), said(number, "wrk", "-v")),
		"revision " + said(`\S+`, "git", "describe", "--always", "--dirty"),
	}
}

// median of some numbers; NaN-free and not empty.
func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if len(s)%2 == 1 {
		return s[len(s)/2]
	}
	return (s[len(s)/2-1] + s[len(s)/2]) / 2
}

// each formats the numbers of all rounds, for the reader who wants to see how much they differ.
func each(v []float64, format string) string {
	parts := make([]string, len(v))
	for i, x := range v {
		parts[i] = fmt.Sprintf(format, x)
	}
	return strings.Join(parts, " ")
}
