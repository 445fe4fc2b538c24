package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/meter"
	"github.com/reprise-io/reprise/internal/tap"
)

// source is one kind of source: the flags that are its own, and how it is made of them. They are the flags of
// `tap KIND` and the keys of a source in the file of `tap run`.
type source interface {
	addFlags(fs *pflag.FlagSet)
	// check finds what is wrong with the flags by themselves.
	check() problems
	// open takes what the source needs, as an address to listen on. Nothing passes before the Run of what it returns.
	open(s site) (tap.Source, error)
}

const (
	kindProxy   = "proxy"
	kindMirror  = "mirror"
	kindExtproc = "extproc"
	kindIngest  = "ingest"
	kindSniff   = "sniff"
)

// sourceKinds are the values of `kind:`, each with what makes a source of that kind, before addFlags gives it its defaults.
func sourceKinds() []sourceKind {
	return []sourceKind{
		{kindProxy, func() source { return new(proxyOptions) }},
		{kindMirror, func() source { return new(mirrorOptions) }},
		{kindExtproc, func() source { return new(extprocOptions) }},
		{kindIngest, func() source { return new(ingestOptions) }},
		{kindSniff, func() source { return new(sniffOptions) }},
	}
}

type sourceKind struct {
	name string
	make func() source
}

// newSource returns a source of a kind; nil: there is no such kind.
func newSource(kind string) source {
	for _, k := range sourceKinds() {
		if k.name == kind {
			return k.make()
		}
	}
	return nil
}

func kindNames() []string {
	var names []string
	for _, k := range sourceKinds() {
		names = append(names, k.name)
	}
	return names
}

// site is what a source stands in.
type site struct {
	tap         *tap.Tap
	descriptors *meter.Descriptors
	bind        func(address string) (*net.TCPListener, error) // a socket to listen on, inherited or new
	name        string                                         // of the source, in records
	bodyMax     int
	log         *slog.Logger
	reg         prometheus.Registerer
}

// problem is what is wrong with a flag.
type problem struct {
	flag string
	err  error
}

type problems []problem

func (p *problems) note(flag string, err error) {
	if err != nil {
		*p = append(*p, problem{flag, err})
	}
}

// least notes a number that is below what it can be.
func (p *problems) least(flag string, n, least int64) {
	if n < least {
		p.note(flag, fault.BadUsage(fmt.Sprintf("bad --%s %d", flag, n), fmt.Sprintf("want %d or more", least), ""))
	}
}

// time notes a time that is below what it can be.
func (p *problems) time(flag string, d, least time.Duration) {
	if d < least {
		p.note(flag, fault.BadUsage(fmt.Sprintf("bad --%s %s", flag, d), fmt.Sprintf("want %s or more", least), "--"+flag+" 2s"))
	}
}

// first is the error to show for a command line.
func (p problems) first() error {
	if len(p) == 0 {
		return nil
	}
	return p[0].err
}

// addListening adds what every source has that listens.
func addListening(fs *pflag.FlagSet, listen *string, drainTimeout *time.Duration) {
	fs.StringVar(listen, "listen", "", "address to listen on, such as :8080")
	fs.DurationVar(drainTimeout, "drain-timeout", 10*time.Second, "how long open connections may go on after SIGTERM")
}

// production is told to sources that see copies only: they cannot know where those come from.
type production []string

func (p *production) addFlags(fs *pflag.FlagSet) {
	fs.StringSliceVar((*[]string)(p), "production", nil,
		"HOST:PORT of the service whose traffic is copied: replayers refuse it as a target; repeatable")
}

func (p production) check(wrong *problems) {
	for _, address := range p {
		wrong.note("production", checkAddress("production", address, "HOST:PORT, such as shop.internal:8080"))
	}
}

// checkAddress reports whether an address has a port, and that is a number: replayers know production by it.
func checkAddress(flag, address, want string) error {
	_, port, err := net.SplitHostPort(address)
	if strings.Contains(address, "://") {
		err = errors.New("an address is wanted, without a scheme")
	}
	if err == nil {
		if _, bad := strconv.ParseUint(port, 10, 16); bad != nil {
			err = fmt.Errorf("the port %q is no number up to 65535", port)
		}
	}
	if err != nil {
		return fault.BadUsage(fmt.Sprintf("bad --%s %q", flag, address), err.Error(), want)
	}
	return nil
}
