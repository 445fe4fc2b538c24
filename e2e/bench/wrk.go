package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-io/reprise/e2e/proc"
)

// load is what clients send, and how many of them at a time.
type load struct {
	name        string // as in the tables
	path        string
	body        int // bytes of a POST; 0: GET
	connections int
}

// small is the load that most is measured with.
func small(connections int) load { return load{"GET, small answer", "/items/1", 0, connections} }

func postOneKiB(connections int) load {
	return load{"POST of 1 KiB", "/orders", 1 << 10, connections}
}

func largeAnswer(connections int) load {
	return load{"GET, answer of 64 KiB", "/body/64k", 0, connections}
}

// request is the load as the bytes of one request.
func (l load) request(host string) []byte {
	if l.body == 0 {
		return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", l.path, host)
	}
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		l.path, host, l.body, madeOrder(l.body))
}

// madeOrder is JSON with a secret in it, which the tap has to find.
func madeOrder(size int) []byte {
	order := fmt.Appendf(nil, `{"phone":"13812345678","password":"correct horse","cart":%s}`, madeJSON(size))
	return append(order[:size-2], `"}`...)
}

// wrkResult is what wrk tells.
type wrkResult struct {
	perSecond float64
	requests  int
	trouble   string // what went wrong with some of them; "": nothing
	cpu       time.Duration
}

// wrk sends requests as fast as they are answered; one thread of it is enough for two cores.
func (b *bench) wrk(ctx context.Context, addr string, l load, length time.Duration) (r wrkResult, err error) {
	args := []string{"-t1", "-c" + strconv.Itoa(l.connections), "-d" + strconv.Itoa(int(length.Seconds())) + "s", "--timeout", "10s"}
	if l.body > 0 {
		script := filepath.Join(b.dir, "post.lua")
		text := fmt.Sprintf("wrk.method = %q\nwrk.headers[%q] = %q\nwrk.body = %q\n", "POST", "Content-Type", "application/json", madeOrder(l.body))
		if err := os.WriteFile(script, []byte(text), 0o644); err != nil {
			return r, err
		}
		args = append(args, "-s", script)
	}
	ctx, cancel := context.WithTimeout(ctx, length+30*time.Second)
	defer cancel()
	p, err := proc.Start(proc.Options{Path: "wrk", Args: append(args, "http://"+addr+l.path)})
	if err != nil {
		return r, err
	}
	defer p.Kill()
	code, err := p.Wait(ctx)
	if err != nil {
		return r, fmt.Errorf("wrk: %w", err)
	}
	r.cpu, _ = p.Usage()
	said := p.Stdout()
	r.trouble = strings.TrimSpace(regexp.MustCompile(`(?m)^\s*(Socket errors|Non-2xx).*`).FindString(said))
	rate := regexp.MustCompile(`Requests/sec:\s+([\d.]+)`).FindStringSubmatch(said)
	count := regexp.MustCompile(`(\d+) requests in`).FindStringSubmatch(said)
	if code != 0 || rate == nil || count == nil {
		return r, fmt.Errorf("wrk: exit code %d: %s%s", code, said, p.Stderr())
	}
	if r.perSecond, err = strconv.ParseFloat(rate[1], 64); err != nil {
		return r, err
	}
	r.requests, err = strconv.Atoi(count[1])
	return r, err
}
