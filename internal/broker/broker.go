// Package broker is the embedded Kafka-compatible broker for one machine: franz-go's kfake with its data on disk, behind the
// guards that make it safe to keep a day's recordings in. It has no replication: a demonstration or a single host, never a cluster.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"golang.org/x/sys/unix"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/topic"
)

const (
	defaultListen = "127.0.0.1:19092"
	// retainEvery is how often old segments are deleted; left alone, the broker looks only once an hour.
	retainEvery   = 10 * time.Second
	createTimeout = 10 * time.Second
)

// Options say where the broker keeps its data and listens.
type Options struct {
	Data   string // directory, made when missing; one broker at a time
	Listen string // default 127.0.0.1:19092; port 0: any
	Logger *slog.Logger
	Topics []topic.Spec // created when missing
}

// Broker is a running embedded broker.
type Broker struct {
	cluster *kfake.Cluster
	lock    *os.File
	addr    string
	stop    chan struct{}
	done    sync.WaitGroup
	close   func() error // once
}

// Start starts the broker and creates the topics. Errors are *fault.Error.
func Start(opts Options) (*Broker, error) {
	if opts.Listen == "" {
		opts.Listen = defaultListen
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	lock, err := lockDir(opts.Data)
	if err != nil {
		return nil, err
	}
	ln, err := listen(opts.Listen)
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	b := &Broker{lock: lock, addr: ln.advertised.String(), stop: make(chan struct{})}
	b.cluster, err = kfake.NewCluster(
		kfake.NumBrokers(1), kfake.Ports(ln.advertised.port), kfake.DataDir(filepath.Join(opts.Data, "kafka")),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return ln, nil }),
		kfake.WithLogger(logger{opts.Logger}),
		kfake.BrokerConfigs(map[string]string{
			"log.cleaner.backoff.ms": "60000",
			// For topics that do not say: segments are read whole at the start, and what is unbounded fills the disk.
			"log.segment.bytes":   strconv.Itoa(16 << 20),
			"log.retention.bytes": strconv.Itoa(256 << 20),
		}),
	)
	if err != nil {
		_ = ln.Close()
		_ = lock.Close()
		return nil, &fault.Error{
			What: "cannot start the embedded broker on " + opts.Data, Cause: err.Error(),
			Try: "another --data directory, or move this one away", Err: err,
		}
	}
	b.close = sync.OnceValue(b.end)
	b.done.Go(b.retain)
	if err := b.create(opts.Topics); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// lockDir makes sure that no other broker writes to the directory: the broker itself does not look.
func lockDir(dir string) (*os.File, error) {
	err := os.MkdirAll(dir, 0o700)
	if err != nil {
		return nil, &fault.Error{What: "cannot make the data directory", Cause: err.Error(), Try: "--data DIR, where this user may write", Code: fault.Usage, Err: err}
	}
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, &fault.Error{What: "cannot open " + path, Cause: err.Error(), Code: fault.Usage, Err: err}
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, &fault.Error{
			What: fmt.Sprintf("the data directory %s is in use", dir), Cause: "another embedded broker holds its lock",
			Try: "end that one, or give another directory", Code: fault.Failure, Err: err, // as for a port: nothing is wrong with what was typed
		}
	}
	return f, nil
}

// create makes the topics by the same way as everybody else, with explicit settings: topics made in passing would be
// forgotten by a crash.
func (b *Broker) create(specs []topic.Spec) error {
	if len(specs) == 0 {
		return nil
	}
	admin, err := topic.NewAdmin(topic.Config{Brokers: []string{b.addr}, ClientID: "reprise-broker"})
	if err != nil {
		return err
	}
	defer admin.Close()
	ctx, cancel := context.WithTimeout(context.Background(), createTimeout)
	defer cancel()
	return admin.Ensure(ctx, specs)
}

// retain keeps the topics within their limits until Close.
func (b *Broker) retain() {
	tick := time.NewTicker(retainEvery)
	defer tick.Stop()
	for {
		select {
		case <-b.stop:
			return
		case <-tick.C:
			b.cluster.ApplyRetention()
		}
	}
}

// Addr is the address for clients, HOST:PORT.
func (b *Broker) Addr() string { return b.addr }

// Close writes everything to disk and stops. A second call does nothing.
func (b *Broker) Close() error { return b.close() }

func (b *Broker) end() error {
	close(b.stop)
	b.done.Wait()
	b.cluster.Close()
	return b.lock.Close()
}

// listener tells clients an address that they can use: the broker advertises what Addr says, and [::]:9092 is nobody's.
type listener struct {
	net.Listener
	advertised advertised
}

// Addr implements net.Listener.
func (l listener) Addr() net.Addr { return l.advertised }

type advertised struct {
	host string
	port int
}

// Network implements net.Addr.
func (advertised) Network() string { return "tcp" }

// String implements net.Addr.
func (a advertised) String() string { return net.JoinHostPort(a.host, strconv.Itoa(a.port)) }

func listen(address string) (*listener, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		f := &fault.Error{
			What: "the embedded broker cannot listen on " + address, Cause: err.Error(), Try: "another address", Code: fault.Usage, Err: err,
		}
		if errors.Is(err, syscall.EADDRINUSE) {
			f.Code, f.Cause, f.Try = fault.Failure, "the port is in use", "another port, or use the Kafka that listens there: leave the embedded one out"
		}
		return nil, f
	}
	bound := ln.Addr().(*net.TCPAddr)
	a := advertised{host: bound.IP.String(), port: bound.Port}
	if bound.IP.IsUnspecified() {
		if a.host, err = os.Hostname(); err != nil {
			a.host = "127.0.0.1"
		}
	}
	return &listener{ln, a}, nil
}

// logger passes the broker's warnings on.
type logger struct{ log *slog.Logger }

// Logf implements kfake.Logger.
func (l logger) Logf(level kfake.LogLevel, format string, args ...any) {
	switch level {
	case kfake.LogLevelError:
		l.log.Error("embedded broker: " + fmt.Sprintf(format, args...))
	case kfake.LogLevelWarn:
		l.log.Warn("embedded broker: " + fmt.Sprintf(format, args...))
	default:
	}
}
