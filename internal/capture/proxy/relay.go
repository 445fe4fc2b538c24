package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/reprise-io/reprise/internal/wire"
)

const (
	handshakeTime = 30 * time.Second
	relayBuffer   = 16 << 10 // a TLS record
	// lastWords is how long a side that takes nothing more may still say something.
	lastWords = 5 * time.Second
)

// half is a connection one direction of which can be ended.
type half interface {
	net.Conn
	CloseWrite() error
}

// relay serves a client and its upstream with two goroutines, because one of them or both speak TLS with us. It is made by
// a loop, which has accepted and connected.
type relay struct {
	p       *Proxy
	desk    *desk
	dialog  wire.Dialog
	to      *address
	raw     [2]*net.TCPConn
	sides   [2]half
	opening []byte      // to send to the upstream before all else
	first   []byte      // from the client, read to see what it speaks
	speaks  atomic.Bool // both handshakes are over
	broken  atomic.Int32
	ended   atomic.Int32 // sides that send nothing more
	heard   hearing
}

// hearing is what each side has said last and is not read yet. It is read once it was passed on, in the order in which it was heard,
// whoever passes it on: an answer may be there before the goroutine that wrote its request goes on.
type hearing struct {
	mu    sync.Mutex
	count uint64
	of    [2]struct {
		at   uint64 // 0: nothing
		kind kind
		data []byte // which does not change until it is read
	}
}

// Who broke a relay off.
const (
	brokenByClient = iota + 1
	brokenByServer
	brokenByUs
)

// depart takes a connection out of the loop and lets goroutines serve it.
func (l *loop) depart(c *conn) {
	r := &relay{p: l.p, desk: l.p.desks[int(l.serial)%len(l.p.desks)], dialog: c.dialog, to: c.to, opening: c.sides[server].unsent}
	for side := range c.sides {
		s := &c.sides[side]
		if s.polled {
			_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, s.fd, nil)
		}
	}
	fds := [2]int{c.sides[client].fd, c.sides[server].fd}
	c.sides = [2]socket{{fd: -1}, {fd: -1}}
	c.closed = true
	l.conns[c.slot] = nil
	l.free = append(l.free, c.slot)
	l.open--
	l.p.relays.Go(func() {
		defer l.p.leave()
		if err := r.adopt(fds); err != nil {
			l.p.cfg.Logger.Error("a connection was closed", "error", err)
			return
		}
		r.run()
	})
}

// adopt makes connections of descriptors, which it closes in any case.
func (r *relay) adopt(fds [2]int) (err error) {
	r.p.adopt.Lock() // what is made of a descriptor is a duplicate, and only perConnection are spoken for
	defer r.p.adopt.Unlock()
	for side, fd := range fds {
		f := os.NewFile(uintptr(fd), "")
		if err == nil {
			var c net.Conn
			if c, err = net.FileConn(f); err == nil {
				r.raw[side] = c.(*net.TCPConn)
			}
		}
		_ = f.Close()
	}
	if err != nil {
		r.close()
	}
	return err
}

func (r *relay) close() {
	for _, c := range r.raw {
		if c != nil {
			_ = c.Close()
		}
	}
}

// run serves until both sides have ended.
func (r *relay) run() {
	defer r.close()
	stop := context.AfterFunc(r.p.over, func() {
		if !r.speaks.Load() || !r.idle() {
			r.breakOff(brokenByUs)
		} else if r.broken.CompareAndSwap(0, brokenByUs) {
			r.end()
		}
	})
	defer stop()
	switch err := r.shakeHands(); {
	case errors.Is(err, errLeft):
		return
	case err != nil:
		r.breakOff(brokenByUs)
		return
	}
	r.speaks.Store(true)
	var ways sync.WaitGroup
	ways.Go(func() { r.pump(client) })
	r.pump(server)
	ways.Wait()
	ending := over
	if r.broken.Load() == brokenByClient {
		ending = abortedByClient
	}
	r.desk.note(&r.dialog, ending, nil)
	if r.broken.Load() == 0 {
		r.end()
	}
}

// end closes both sides in good order.
func (r *relay) end() {
	for _, s := range r.sides {
		_ = s.Close()
	}
}

// shakeHands brings both sides to the point where HTTP begins.
func (r *relay) shakeHands() error {
	if len(r.opening) > 0 {
		if _, err := r.raw[server].Write(r.opening); err != nil {
			return r.refused(err)
		}
	}
	switch t := &r.p.crypt.TLS; {
	case !t.Upstream:
		r.sides[server] = r.raw[server]
		return r.withClient(func(*tls.ClientHelloInfo) ([]string, error) { return t.ALPN, nil })
	case t.listens():
		return r.withClient(func(hello *tls.ClientHelloInfo) ([]string, error) {
			chosen, err := r.withUpstream(hello.SupportedProtos)
			if chosen == "" {
				return nil, err
			}
			return []string{chosen}, err // what the upstream speaks is what the client is to speak
		})
	}
	r.sides[client] = r.raw[client]
	speaks, err := r.listenFirst()
	if err != nil {
		return err
	}
	chosen, err := r.withUpstream([]string{speaks})
	if err == nil && speaks == "h2" && chosen != speaks {
		err = r.apart(fmt.Errorf("the client speaks h2 and the upstream does not (it chose %q)", chosen))
	}
	return err
}

// withClient makes the handshake with the client, who is offered the protocols that choose returns.
func (r *relay) withClient(choose func(*tls.ClientHelloInfo) ([]string, error)) error {
	c := tls.Server(&guest{r.raw[client], choose}, r.p.crypt.listening)
	ctx, cancel := context.WithTimeout(r.p.over, handshakeTime)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		r.p.stats.handshakes.Add(1)
		r.p.cfg.Logger.Debug("no TLS with a client", "client", string(r.dialog.Client), "error", err)
		return err
	}
	r.sides[client] = c
	return nil
}

// withUpstream makes the handshake with the upstream, which chooses a protocol.
func (r *relay) withUpstream(protocols []string) (chosen string, err error) {
	c := tls.Client(r.raw[server], r.p.crypt.toUpstream(r.to.of.host, protocols))
	ctx, cancel := context.WithTimeout(r.p.over, handshakeTime)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		if strings.Contains(err.Error(), "no application protocol") { // what the client offered, and it may offer anything
			return "", r.apart(err)
		}
		return "", r.refused(err)
	}
	r.to.worked()
	r.sides[server] = c
	return c.ConnectionState().NegotiatedProtocol, nil
}

// refused notes that the upstream did not come to speak TLS.
func (r *relay) refused(err error) error {
	if r.p.over.Err() == nil {
		r.p.stats.refused.Add(1)
		r.to.failed(fmt.Errorf("TLS with it: %w", err))
	}
	return err
}

// errLeft: the upstream has ended a connection on which nothing was asked.
var errLeft = errors.New("the upstream has left")

// apart notes that a client speaks nothing that the upstream does: no failure of the upstream, whatever clients say.
func (r *relay) apart(err error) error {
	r.p.stats.refused.Add(1)
	r.p.apart.Do(func() {
		r.p.cfg.Logger.Warn("a client and the upstream have no protocol in common; further ones are counted (refused)",
			"client", string(r.dialog.Client), "upstream", string(r.to.text), "error", err)
	})
	return err
}

// listenFirst reads what the client says first, to tell HTTP/2 from HTTP/1. That may take long: clients connect before they
// have something to ask. The upstream may not wait as long: then it is over for the client too.
func (r *relay) listenFirst() (protocol string, err error) {
	const preface = "PRI * HTTP/2.0"
	raw, err := r.raw[server].SyscallConn()
	if err != nil {
		return "", err
	}
	left := make(chan bool)
	go func() {
		gone := false
		_ = raw.Read(func(fd uintptr) bool {
			gone = hasEnded(int(fd))
			return gone
		})
		if gone {
			_ = r.raw[client].SetReadDeadline(time.Unix(1, 0))
		}
		left <- gone
	}()
	defer func() {
		_ = r.raw[server].SetReadDeadline(time.Unix(1, 0))
		if <-left && err != nil {
			err = errLeft
		}
		for _, c := range r.raw {
			_ = c.SetReadDeadline(time.Time{})
		}
	}()
	b := make([]byte, relayBuffer)
	n := 0
	for n < 3 && strings.HasPrefix(preface, string(b[:n])) {
		m, err := r.raw[client].Read(b[n:])
		if n += m; err != nil {
			return "", err
		}
	}
	r.first = b[:n]
	if strings.HasPrefix(string(r.first), preface[:3]) {
		return "h2", nil
	}
	return "http/1.1", nil
}

// pump passes on what a side sends.
func (r *relay) pump(side int) {
	from, to := r.sides[side], r.sides[1-side]
	b := r.first
	if side == server || b == nil {
		b = make([]byte, relayBuffer)
	}
	n, err := 0, error(nil)
	if side == client {
		n = len(r.first)
	}
	for {
		if n > 0 {
			r.p.countBytes(side, n)
			r.hear(side, dataOf(side), b[:n])
			_, failed := to.Write(b[:n])
			r.read(side)
			if failed != nil { // what it said before it broke off is still read, by the other pump
				_ = to.SetReadDeadline(time.Now().Add(lastWords))
				return
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			r.hear(side, endOf(side), nil)
			r.read(side)
			_ = to.CloseWrite()
			_ = r.raw[1-side].CloseWrite() // TLS says it only within itself
			r.await(side)
			return
		case err != nil:
			r.breakOff(int32(brokenByClient + side))
			return
		}
		b = b[:cap(b)]
		n, err = from.Read(b)
	}
}

// await stays with a side that sends nothing more until the other has ended too, or this one is gone altogether: it may have closed, and
// not only ended, which the kernel learns when it asks whether it is there. Else who never closes held two descriptors for ever.
func (r *relay) await(side int) {
	if r.ended.Add(1) == 2 {
		_ = r.raw[1-side].SetReadDeadline(time.Unix(1, 0)) // who stays there need not any more
		return
	}
	raw, err := r.raw[side].SyscallConn()
	if err != nil {
		return
	}
	gone := false
	_ = raw.Read(func(fd uintptr) bool {
		gone = isGone(int(fd))
		return gone
	})
	if gone && r.ended.Load() < 2 {
		r.breakOff(int32(brokenByClient + side))
	}
}

// hasEnded reports that a side has said all, without taking anything of it.
func hasEnded(fd int) bool {
	n, errno := receive(fd, make([]byte, 1), unix.MSG_PEEK)
	return errno != unix.EAGAIN && (errno != 0 || n == 0)
}

func isGone(fd int) bool {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	return err != nil || info.State == unix.BPF_TCP_CLOSE
}

// hear notes what a side says; read follows.
func (r *relay) hear(side int, k kind, data []byte) {
	h := &r.heard
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count++
	h.of[side].at, h.of[side].kind, h.of[side].data = h.count, k, data
}

// read reads what a side has said, after what the other has said before that.
func (r *relay) read(side int) {
	h := &r.heard
	h.mu.Lock()
	defer h.mu.Unlock()
	mine, other := &h.of[side], &h.of[1-side]
	if mine.at == 0 {
		return // the other way has read it
	}
	if other.at != 0 && other.at < mine.at {
		r.desk.note(&r.dialog, other.kind, other.data)
		other.at, other.data = 0, nil
	}
	r.desk.note(&r.dialog, mine.kind, mine.data)
	mine.at, mine.data = 0, nil
}

// idle reports that no message is under way.
func (r *relay) idle() bool {
	h := &r.heard
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.of[client].at == 0 && h.of[server].at == 0 && r.desk.idle(&r.dialog)
}

// breakOff resets both sides, as without a tap one would see the other's reset.
func (r *relay) breakOff(who int32) {
	if !r.broken.CompareAndSwap(0, who) {
		return
	}
	for _, c := range r.raw {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
}
