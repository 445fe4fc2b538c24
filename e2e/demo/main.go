// Command demo shows Reprise at work on one machine, in under a minute: a shop as production with a tap in front of it,
// a Kafka-compatible broker inside the tap, live replay at the shop's next version beside it, and then the recorded
// traffic again at twice the speed. `make demo` builds and runs it.
//
// For those who want to go on by themselves it also serves the shop (demo shop) and sends its visitors (demo visit).
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/reprise-io/reprise/e2e/shop"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "shop":
			return runShop(ctx, args[1:])
		case "visit":
			return runVisit(ctx, args[1:])
		}
	}
	var d demo
	fs := flag.NewFlagSet("demo", flag.ExitOnError)
	fs.StringVar(&d.bin, "bin", "bin", "folder with tap and replayer")
	fs.StringVar(&d.dir, "dir", ".cache/demo", "folder for the recorded data; its kafka/ is emptied first")
	fs.DurationVar(&d.traffic, "traffic", 20*time.Second, "how long there are visitors")
	fs.Float64Var(&d.rate, "rate", 300, "requests a second")
	fs.BoolVar(&d.anyPorts, "any-ports", false, "take ports that nobody expects, instead of 18080 and so on")
	fs.BoolVar(&d.verbose, "v", false, "show what the programs say")
	if err := fs.Parse(args); err != nil {
		return err
	}
	return d.run(ctx)
}

func runShop(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("demo shop", flag.ExitOnError)
	listen := fs.String("listen", "127.0.0.1:18090", "address")
	next := fs.Bool("pre-production", false, "the next version: an item without a price, a slow search")
	if err := fs.Parse(args); err != nil {
		return err
	}
	o := shop.Options{}
	if *next {
		o = shop.PreProduction()
	}
	s, err := serveShop(*listen, o)
	if err != nil {
		return err
	}
	fmt.Printf("listening on %s\n", *listen)
	<-ctx.Done()
	s.close()
	return nil
}

func runVisit(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("demo visit", flag.ExitOnError)
	v := shop.Visit{}
	fs.StringVar(&v.URL, "url", "http://127.0.0.1:18081", "shop, or tap in front of it")
	fs.Float64Var(&v.Rate, "rate", 300, "requests a second")
	fs.DurationVar(&v.For, "for", 20*time.Second, "how long")
	fs.Uint64Var(&v.Seed, "seed", 1, "of everything that is random")
	if err := fs.Parse(args); err != nil {
		return err
	}
	got, err := v.Run(ctx)
	fmt.Printf("%d requests (%d writes) in %.1f s, %d failed, by status %v\n",
		got.Requests, got.Writes, got.Elapsed.Seconds(), got.Failed, got.Status)
	return err
}

// served is a shop that answers on a port.
type served struct {
	*shop.Shop
	server *http.Server
	done   chan struct{}
}

func serveShop(addr string, o shop.Options) (*served, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &served{Shop: shop.New(o), done: make(chan struct{})}
	s.server = &http.Server{Handler: s.Shop, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(s.done)
		_ = s.server.Serve(ln) // until close
	}()
	return s, nil
}

func (s *served) close() {
	_ = s.server.Close() // whoever is still there does not matter any more
	<-s.done
}
