package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
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

// write prints a part's section and puts it into the file, in the place of the one that was there.
func (b *bench) write(p part, machine string) error {
	text := section(p, b.rounds, b.tables, machine)
	if _, err := fmt.Println(text); err != nil || b.out == "" {
		return err
	}
	was, err := os.ReadFile(b.out)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	sections := parseSections(was)
	sections[p.name] = text
	return os.WriteFile(b.out, document(b.parts(), sections), 0o644)
}

// section is a part's results. It has its own date, machine and revision: others may be of another day.
func section(p part, rounds int, tables []table, machine string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "## %s\n\n`make bench ONLY=%s`, %s, rounds: %d; %s.\n", p.title, p.name,
		time.Now().UTC().Format("2006-01-02 15:04 UTC"), rounds, machine)
	for _, t := range tables {
		fmt.Fprintf(&text, "\n### %s\n\n", t.title)
		row := func(cells []string) { fmt.Fprintf(&text, "| %s |\n", strings.Join(cells, " | ")) }
		row(t.head)
		row(slices.Repeat([]string{"---"}, len(t.head)))
		for _, r := range t.rows {
			if r[0] == tapProxy {
				r[0] = "**" + r[0] + "**"
			}
			row(r)
		}
		if len(t.notes) > 0 {
			fmt.Fprintf(&text, "\n%s\n", strings.Join(t.notes, "\n"))
		}
	}
	return text.String()
}

// document puts sections together, in the order of the parts, between marks by which they are found again.
func document(parts []part, sections map[string]string) []byte {
	var text bytes.Buffer
	text.WriteString("# Results of `make bench`\n\nEverything shares one machine, load generator and Kafka included: compare ratios, not figures of other machines.\n" +
		"Figures are medians of rounds in which everyone has a turn; ratios are taken within a round. `make bench ONLY=NAME`\nmeasures a section again and leaves the others.\n")
	for _, p := range parts {
		if s, ok := sections[p.name]; ok {
			fmt.Fprintf(&text, "\n<!-- %s -->\n%s<!-- /%s -->\n", p.name, s, p.name)
		}
	}
	return text.Bytes()
}

// parseSections finds the sections of a document by their marks. What is outside of them is left out.
func parseSections(document []byte) map[string]string {
	sections := make(map[string]string)
	for _, m := range regexp.MustCompile(`(?s)<!-- (\w+) -->\n(.*?)<!-- /(\w+) -->`).FindAllSubmatch(document, -1) {
		if string(m[1]) == string(m[3]) {
			sections[string(m[1])] = string(m[2])
		}
	}
	return sections
}

// machine tells what it was measured on and with.
func machine(ctx context.Context, jars, envoy string) string {
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
	return fmt.Sprintf("%s, %d cores%s, Linux %s; %s, %s (one JVM, Java %s), HAProxy %s, nginx %s, Envoy %s, wrk %s; revision %s",
		cpu, runtime.NumCPU(), memory, said(`\S+`, "uname", "-r"), runtime.Version(), kafka,
		said(number, "java", "-version"), said(number, "haproxy", "-v"), said(number, nginx(), "-v"), said(number, envoy, "--version"),
		said(number, "wrk", "-v"), said(`\S+`, "git", "describe", "--always", "--dirty"))
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
