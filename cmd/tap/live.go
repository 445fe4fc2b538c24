package main

import (
	"context"
	"log/slog"
	"os"
	"sync"

	"github.com/reprise-io/reprise/internal/handover"
)

// live is a process's life among others: it tells its predecessor and systemd that it serves, and hands over to its successor
// when there is one. The context that it returns ends then, as it does with ctx; finish waits for all that live has started.
func live(
	ctx context.Context, life *handover.Succession, sources []placed, upgrades <-chan os.Signal, stopAdmin func(), limit *backstop, log *slog.Logger,
) (serving context.Context, finish func()) {
	for _, address := range life.Leftover() {
		log.Warn("a socket that was handed to this process is none of its own and was closed", "address", address)
	}
	life.Serving()
	tell(log, handover.Ready)
	serving, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		handed := life.Await(serving, upgrades, func() {
			stopAdmin() // the next one has its socket
			stop()
		}, func(pid int) { tell(log, handover.MainPID(pid)) })
		if handed {
			log.Info("the next process serves; this one ends when its connections have")
		} else {
			tell(log, handover.Stopping)
		}
		life.Close() // or the addresses would stay open with nobody there
	})
	running.Go(func() { limit.run(serving, func() int64 { return openConnections(sources) }) })
	if interval := handover.WatchdogInterval(); interval > 0 {
		running.Go(func() {
			handover.Watch(serving, interval, func() bool { return alive(sources) }, func() {
				log.Error("AN EVENT LOOP DOES NOT COME ROUND: systemd is not told that this process is alive")
			})
		})
	}
	return serving, func() {
		stop()
		running.Wait()
	}
}

// alive reports whether all sources are that can tell.
func alive(sources []placed) bool {
	all := true
	for _, p := range sources {
		if s, ok := p.source.(interface{ alive() bool }); ok {
			all = s.alive() && all
		}
	}
	return all
}

// openConnections is how many connections the sources have that can tell.
func openConnections(sources []placed) (n int64) {
	for _, p := range sources {
		if s, ok := p.source.(interface{ connected() int64 }); ok {
			n += s.connected()
		}
	}
	return n
}

func tell(log *slog.Logger, lines ...string) {
	if err := handover.Tell(lines...); err != nil {
		log.Warn("systemd was not reached", "error", err)
	}
}
