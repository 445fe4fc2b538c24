package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/reprise-io/reprise/internal/traffic"
)

// The reference pacer: the least that can send requests at given times. It knows its schedule beforehand, sleeps to each
// deadline with clock_nanosleep on one thread, and writes a prepared request to an idle connection from that very
// thread; goroutines only read the answers. It runs as a process of its own, as the replayer does.
func runPace(args []string) error {
	fs := flag.NewFlagSet("bench pace", flag.ExitOnError)
	target := fs.String("target", "", "HOST:PORT")
	count := fs.Int("count", 20000, "requests")
	rate := fs.Float64("rate", 1000, "requests a second")
	if err := fs.Parse(args); err != nil {
		return err
	}
	runtime.GOMAXPROCS(runtime.NumCPU() + 1) // a woken thread still needs a processor
	p := &pacer{idle: make(chan net.Conn, 256)}
	for range 64 { // many more than are ever in flight at a sink
		conn, err := net.Dial("tcp", *target)
		if err != nil {
			return err
		}
		p.idle <- conn
	}
	base := time.Now().Add(200 * time.Millisecond)
	fmt.Println(base.UnixNano()) // due time of request i is this plus the schedule's
	if err := p.run(*target, base, schedule(*count, *rate)); err != nil {
		return err
	}
	p.answers.Wait()
	return nil
}

// schedule is a Poisson process, the same every time.
func schedule(count int, rate float64) []time.Duration {
	random := rand.New(rand.NewPCG(seed, 7))
	due := make([]time.Duration, count)
	var at time.Duration
	for i := range due {
		at += time.Duration(random.ExpFloat64() / rate * float64(time.Second))
		due[i] = at
	}
	return due
}

type pacer struct {
	idle    chan net.Conn
	answers sync.WaitGroup
}

func (p *pacer) run(target string, base time.Time, due []time.Duration) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for i, after := range due {
		request := fmt.Appendf(nil, "GET /items/%d?ref=home HTTP/1.1\r\nHost: %s\r\nUser-Agent: reference pacer\r\n"+
			"Accept: application/json,text/html;q=0.9,*/*;q=0.8\r\nReprise-Exchange-Id: %s\r\n\r\n",
			i, target, traffic.MakeID([16]byte{1}, uint64(i+1)))
		deadline := unix.NsecToTimespec(base.Add(after).UnixNano())
		for unix.ClockNanosleep(unix.CLOCK_REALTIME, unix.TIMER_ABSTIME, &deadline, nil) == unix.EINTR {
		}
		conn := <-p.idle
		if _, err := conn.Write(request); err != nil {
			return err
		}
		p.answers.Go(func() {
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				return // the sink has fewer arrivals then, which is an error there
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			p.idle <- conn
		})
	}
	return nil
}
