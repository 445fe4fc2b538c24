// Package sniff listens to a network interface of this machine: a copy of what passes, taken by the kernel (AF_PACKET), put
// together into TCP streams and read as HTTP. The traffic itself is not touched, and does not wait.
//
// The kernel writes packets into a ring that it shares with the process, and only those of the ports that are asked for.
// When the process is too slow the ring is full: what the kernel drops then is counted, and shows as gaps in the streams.
package sniff

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/reprise-io/reprise/internal/capture/passive"
	"github.com/reprise-io/reprise/internal/packet"
	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/wire"
)

// Sink takes what was captured. Its methods are called by the goroutine of Run and must never block.
type Sink interface {
	// Offer passes on finished exchanges with their Budget (Captured.Bytes each). The slice is valid during the call
	// only; the exchanges are the Sink's from then on.
	Offer(batch []wire.Captured)
	// Shed counts n exchanges that were seen and not kept, by one of wire's losses.
	Shed(reason string, n int)
}

// Config of a Sniffer. Interface, Ports and Sink are required.
type Config struct {
	Interface    string         // "eth0"; "any": all of them
	Ports        []uint16       // of the servers
	Hosts        []netip.Prefix // of the servers; none: any
	VXLAN        bool           // also look into VXLAN, as cloud providers mirror traffic
	Promiscuous  bool           // also take what is not addressed to this machine
	RingBytes    int            // of the kernel's ring; 0: 16 MiB
	HeldBytes    int            // of packets that wait for others before them; 0: 8 MiB
	Name         string         // of the source, for Exchange.Source
	BodyMax      int            // bytes kept of each body; 0: none
	ResponseWait time.Duration  // from the last request byte; 0: 2 s
	MarkHeader   string         // requests with this field are not captured; "": "Reprise-Replay"
	Budget       wire.Budget    // nil: no bound
	Sink         Sink
	Logger       *slog.Logger // nil: discard
}

const (
	defaultResponseWait = 2 * time.Second
	defaultMark         = "Reprise-Replay"
	defaultRing         = 16 << 20
	defaultHeld         = 8 << 20
	connectionsMost     = 32 << 10

	pollEvery  = 50 * time.Millisecond
	statsEvery = time.Second
	offerCount = 64
	offerAfter = 5 * time.Millisecond
	// drainFor is how long after the end what the kernel still has is taken: it hands a block over after retireAfter.
	drainFor = 4 * retireAfter
)

// Sniffer is an open capture. Open makes it, Run reads.
type Sniffer struct {
	cfg      Config
	ring     *ring
	addrs    []string // of the servers on this machine, HOST:PORT
	reader   *passive.Reader
	told     wire.Counts
	offered  time.Time
	counted  time.Time
	down     bool
	counters counters
}

// Open starts the capture; the kernel keeps packets from now on. Errors are *fault.Error.
func Open(cfg Config) (*Sniffer, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.ResponseWait == 0 {
		cfg.ResponseWait = defaultResponseWait
	}
	if cfg.MarkHeader == "" {
		cfg.MarkHeader = defaultMark
	}
	if cfg.RingBytes <= 0 {
		cfg.RingBytes = defaultRing
	}
	if cfg.HeldBytes <= 0 {
		cfg.HeldBytes = defaultHeld
	}
	cfg.BodyMax = max(cfg.BodyMax, 0)
	index, addrs, err := find(cfg.Interface, cfg.Ports)
	if err != nil {
		return nil, err
	}
	s := &Sniffer{cfg: cfg, addrs: addrs}
	if s.ring, err = openRing(&cfg, index); err != nil {
		return nil, openFault(&cfg, err)
	}
	var start [6]byte
	_, _ = rand.Read(start[:]) // never fails
	s.reader = passive.New(passive.Config{
		Recorder: wire.RecorderConfig{
			Source: traffic.Source{Kind: traffic.Sniff, Name: []byte(cfg.Name)}, TimeSource: traffic.PacketTime,
			BodyMax: cfg.BodyMax, ResponseWait: cfg.ResponseWait, MarkHeader: cfg.MarkHeader, Budget: cfg.Budget,
		},
		Limits: packet.Limits{Connections: connectionsMost, Total: cfg.HeldBytes, PerSide: cfg.HeldBytes / 4, Budget: cfg.Budget},
		Prefix: hex.EncodeToString(start[:]) + "-",
		Wanted: s.wanted,
	})
	return s, nil
}

// Addrs returns the addresses of this machine at which the servers may be, HOST:PORT.
func (s *Sniffer) Addrs() []string { return s.addrs }

// Run reads until ctx ends. Everything captured has been offered when it returns. It can be called once.
func (s *Sniffer) Run(ctx context.Context) error {
	defer s.ring.close()
	stop := context.AfterFunc(ctx, s.ring.wake)
	defer stop()
	s.offered, s.counted = time.Now(), time.Now()
	for ctx.Err() == nil {
		if err := s.turn(pollEvery); err != nil {
			return err
		}
	}
	for end := time.Now().Add(drainFor); time.Now().Before(end); {
		if err := s.turn(retireAfter); err != nil {
			return err
		}
	}
	s.reader.Finish()
	s.offer(time.Now())
	s.count()
	return nil
}

// turn waits for packets and reads those that are there.
func (s *Sniffer) turn(wait time.Duration) error {
	err := s.ring.wait(wait)
	now := time.Now()
	switch {
	case errors.Is(err, unix.ENETDOWN):
		s.lost()
	case err != nil:
		return err
	}
	s.ring.each(s.packet)
	s.reader.Tick(now)
	s.reader.Recorder.Expire(now)
	s.hand(now)
	if now.Sub(s.counted) >= statsEvery {
		s.counted = now
		s.count()
		s.follow()
	}
	return nil
}

func (s *Sniffer) packet(p *captured) {
	s.counters.packets.Add(1)
	s.reader.Packet(p.link, p.data, p.at)
	if s.reader.Recorder.Ready() >= offerCount {
		s.offer(time.Now())
	}
}

// wanted reports whether a segment is from or to a server that is asked for: the kernel's filter lets fragments and
// tunnels pass unseen.
func (s *Sniffer) wanted(seg *packet.Segment) bool {
	return s.server(seg.Src) || s.server(seg.Dst)
}

func (s *Sniffer) server(e packet.Endpoint) bool {
	if !slices.Contains(s.cfg.Ports, e.Port) {
		return false
	}
	if len(s.cfg.Hosts) == 0 {
		return true
	}
	addr := e.AddrPort().Addr()
	return slices.ContainsFunc(s.cfg.Hosts, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// lost tells once when the interface goes away.
func (s *Sniffer) lost() {
	if !s.down {
		s.down = true
		s.cfg.Logger.Warn("the interface is down: nothing is captured until it is back", "interface", s.cfg.Interface)
	}
}

// follow looks whether an interface that went away is there again under its name.
func (s *Sniffer) follow() {
	if !s.down {
		return
	}
	if i, err := net.InterfaceByName(s.cfg.Interface); err == nil && i.Flags&net.FlagUp != 0 && s.ring.bind(i.Index) == nil {
		s.down = false
		s.cfg.Logger.Info("the interface is back", "interface", s.cfg.Interface)
	}
}

// hand offers what is finished when it is time to.
func (s *Sniffer) hand(now time.Time) {
	ready := s.reader.Recorder.Ready()
	switch {
	case ready == 0:
		s.offered = now
		s.tell()
	case ready >= offerCount, now.Sub(s.offered) >= offerAfter:
		s.offer(now)
	}
}

func (s *Sniffer) offer(now time.Time) {
	s.offered = now
	if s.reader.Recorder.Ready() > 0 {
		s.cfg.Sink.Offer(s.reader.Recorder.Take())
	}
	s.tell()
}

// tell counts what was not kept.
func (s *Sniffer) tell() {
	now, told := &s.reader.Recorder.Counts, &s.told
	if *now == *told {
		return
	}
	for loss, n := range now.Lost {
		if more := n - told.Lost[loss]; more > 0 {
			s.cfg.Sink.Shed(wire.Loss(loss).String(), int(more))
		}
	}
	*told = *now
}

// find looks up an interface and its addresses.
func find(name string, ports []uint16) (index int, addrs []string, err error) {
	all, err := net.Interfaces()
	if err != nil {
		return 0, nil, fmt.Errorf("list interfaces: %w", err)
	}
	for _, i := range all {
		if name != anyInterface && name != i.Name {
			continue
		}
		index = i.Index
		of, err := i.Addrs()
		if err != nil {
			return 0, nil, fmt.Errorf("addresses of %s: %w", i.Name, err)
		}
		for _, a := range of {
			if ip, ok := a.(*net.IPNet); ok {
				for _, port := range ports {
					addrs = append(addrs, net.JoinHostPort(ip.IP.String(), fmt.Sprint(port)))
				}
			}
		}
	}
	switch {
	case name == anyInterface:
		return 0, addrs, nil
	case index == 0:
		return 0, nil, unknownInterface(name, all)
	}
	return index, addrs, nil
}

const anyInterface = "any"

// counters are Stats while Run runs.
type counters struct {
	packets, kernelDrops, gaps, gapBytes, connections, seen, opaque, panics atomic.Int64
}

// Stats are totals since Open, but Connections.
type Stats struct {
	Packets     int64 // read
	KernelDrops int64 // that the kernel dropped, because the ring was full
	Gaps        int64 // places at which a stream lacks bytes
	GapBytes    int64
	Connections int64 // followed now
	Seen        int64 // exchanges: offered, shed or still open
	Opaque      int64 // connections that are not read: TLS, HTTP/2, upgraded, no HTTP
	Panics      int64 // connections whose capture a fault in the parser ended
}

// Stats returns the counts so far.
func (s *Sniffer) Stats() Stats {
	c := &s.counters
	return Stats{
		Packets: c.packets.Load(), KernelDrops: c.kernelDrops.Load(), Gaps: c.gaps.Load(), GapBytes: c.gapBytes.Load(),
		Connections: c.connections.Load(), Seen: c.seen.Load(), Opaque: c.opaque.Load(), Panics: c.panics.Load(),
	}
}

// count publishes the totals.
func (s *Sniffer) count() {
	c, counts, streams := &s.counters, &s.reader.Recorder.Counts, s.reader.Stats()
	if drops := s.ring.drops(); drops > 0 {
		if c.kernelDrops.Add(drops) == drops {
			s.cfg.Logger.Warn("the kernel dropped packets: the ring was full", "packets", drops, "try", "a larger --ring")
		}
	}
	c.gaps.Store(streams.Gaps)
	c.gapBytes.Store(streams.GapBytes)
	c.connections.Store(int64(s.reader.Connections()))
	c.seen.Store(counts.Seen)
	c.panics.Store(counts.Opaque[0])
	var opaque int64
	for _, n := range counts.Opaque {
		opaque += n
	}
	c.opaque.Store(opaque)
}
