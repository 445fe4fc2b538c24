package sink

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/reprise-io/reprise/internal/meter"
)

// Arrival is one request.
type Arrival struct {
	ID     string    // value of the header Reprise-Exchange-Id; "" without
	At     time.Time // wall clock, when its last byte was read
	Came   time.Time // the same, when the kernel had its last segment, whoever had the cores then; zero: it was not stamped
	Method string
	Target string
	Conn   int // numbered from 1 as they were accepted
}

// Options for a sink. The zero value listens on a free loopback port and keeps ids and times.
type Options struct {
	Addr string // "": a free port on loopback
	// Lines keeps method and target of every request too.
	Lines bool
	// Count only counts: nothing is kept.
	Count bool
	// Stamps has the kernel tell when requests came: it begins to a moment after it was asked.
	Stamps bool
	// Answer is the whole response. nil: 200 with the body "ok".
	Answer []byte
	// AnswerTo appends the response to a request with that target instead. nil: all are answered alike.
	AnswerTo func(b, target []byte) []byte
}

// Sink listens from New on and answers while Run runs.
type Sink struct {
	options  Options
	listener int
	poll     int
	addr     string
	requests atomic.Int64

	// Owned by Run; readable after it returned.
	arrivals []Arrival
	conns    map[int]*conn
	accepted int
}

type conn struct {
	number int
	in     []byte    // read and not yet taken
	came   time.Time // the last of it, by the kernel
	out    []byte    // answers that the socket did not take
	full   bool      // waits until the socket takes more
}

// IDHeader is the field that names the exchange a request was made from.
const IDHeader = "reprise-exchange-id"

// New listens.
func New(o Options) (*Sink, error) {
	if o.Answer == nil {
		o.Answer = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok")
	}
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	addr, err := net.ResolveTCPAddr("tcp4", o.Addr)
	if err != nil {
		return nil, err
	}
	s := &Sink{options: o, conns: make(map[int]*conn)}
	if err := s.listen(addr); err != nil {
		return nil, fmt.Errorf("sink on %s: %w", o.Addr, err)
	}
	return s, nil
}

func (s *Sink) listen(addr *net.TCPAddr) (err error) {
	if s.listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = unix.Close(s.listener)
		}
	}()
	if err := unix.SetsockoptInt(s.listener, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if s.options.Stamps { // its connections inherit it
		if err := unix.SetsockoptInt(s.listener, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
			return err
		}
	}
	at := &unix.SockaddrInet4{Port: addr.Port}
	copy(at.Addr[:], addr.IP.To4())
	if err := unix.Bind(s.listener, at); err != nil {
		return err
	}
	if err := unix.Listen(s.listener, 1024); err != nil {
		return err
	}
	bound, err := unix.Getsockname(s.listener)
	if err != nil {
		return err
	}
	in4, ok := bound.(*unix.SockaddrInet4)
	if !ok {
		return errors.New("not an IPv4 socket")
	}
	s.addr = net.JoinHostPort(net.IP(in4.Addr[:]).String(), strconv.Itoa(in4.Port))
	if s.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	return unix.EpollCtl(s.poll, unix.EPOLL_CTL_ADD, s.listener, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(s.listener)})
}

// Addr is where it listens.
func (s *Sink) Addr() string { return s.addr }

// Requests counts what has arrived; safe at any time.
func (s *Sink) Requests() int { return int(s.requests.Load()) }

// Arrivals returns what came in the order in which it came. Call it after Run has returned.
func (s *Sink) Arrivals() []Arrival { return s.arrivals }

// Run answers until ctx ends; then it closes everything.
func (s *Sink) Run(ctx context.Context) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer s.close()
	_ = meter.Prompt() // less of what it waits for a core counts as its client's; no error where that cannot be
	events := make([]unix.EpollEvent, 256)
	buf := make([]byte, 64<<10)
	for ctx.Err() == nil {
		n, err := unix.EpollWait(s.poll, events, 50) // ms: how long the end of ctx may go unseen
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("sink: epoll: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			fd := int(e.Fd)
			if fd == s.listener {
				s.accept()
				continue
			}
			if c := s.conns[fd]; c != nil && !s.serve(fd, c, e.Events, buf) {
				delete(s.conns, fd)
				_ = unix.Close(fd)
			}
		}
	}
	return nil
}

func (s *Sink) close() {
	for fd := range s.conns {
		_ = unix.Close(fd)
	}
	_ = unix.Close(s.poll)
	_ = unix.Close(s.listener)
}

func (s *Sink) accept() {
	for {
		fd, _, err := unix.Accept4(s.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return // EAGAIN: all are accepted; anything else is the peer's affair
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		s.accepted++
		s.conns[fd] = &conn{number: s.accepted}
		if unix.EpollCtl(s.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}) != nil {
			delete(s.conns, fd)
			_ = unix.Close(fd)
		}
	}
}

// serve reads once, takes whole requests and answers them. false: the connection is over.
func (s *Sink) serve(fd int, c *conn, events uint32, buf []byte) bool {
	if events&unix.EPOLLOUT != 0 {
		return s.flush(fd, c)
	}
	n, err := s.read(fd, c, buf)
	if err != nil {
		return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR)
	}
	if n == 0 {
		return false
	}
	now := time.Now()
	data := buf[:n]
	if len(c.in) > 0 {
		c.in = append(c.in, data...)
		data = c.in
	}
	for {
		size, ok := s.take(c, data, now)
		if !ok {
			return false
		}
		if size == 0 {
			break
		}
		c.out = s.answer(c.out, data)
		data = data[size:]
	}
	c.in = append(c.in[:0], data...)
	return len(c.out) == 0 || s.flush(fd, c)
}

// read reads once, and notes when that came.
func (s *Sink) read(fd int, c *conn, buf []byte) (n int, err error) {
	if !s.options.Stamps {
		return unix.Read(fd, buf)
	}
	var control [64]byte
	n, size, _, _, err := unix.Recvmsg(fd, buf, control[:], 0)
	if err != nil {
		return n, err
	}
	c.came = time.Time{}
	messages, err := unix.ParseSocketControlMessage(control[:size])
	if err != nil {
		return n, err
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16 {
			c.came = time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
		}
	}
	return n, nil
}

// answer appends the response to the first request of data.
func (s *Sink) answer(out, data []byte) []byte {
	if s.options.AnswerTo == nil {
		return append(out, s.options.Answer...)
	}
	line, _, _ := bytes.Cut(data, []byte("\r"))
	_, rest, _ := bytes.Cut(line, []byte(" "))
	target, _, _ := bytes.Cut(rest, []byte(" "))
	return s.options.AnswerTo(out, target)
}

// take notes the first request of data and returns its size; 0: it is not whole yet.
func (s *Sink) take(c *conn, data []byte, now time.Time) (size int, ok bool) {
	end := bytes.Index(data, []byte("\r\n\r\n"))
	if end < 0 {
		return 0, len(data) < 1<<20
	}
	head := data[:end+2]
	size = end + 4
	if v := field(head, "content-length"); v != nil {
		length, err := strconv.Atoi(string(v))
		if err != nil || length < 0 {
			return 0, false
		}
		if size += length; size > len(data) {
			return 0, true
		}
	}
	s.requests.Add(1)
	if s.options.Count {
		return size, true
	}
	a := Arrival{ID: string(field(head, IDHeader)), At: now, Came: c.came, Conn: c.number}
	if s.options.Lines {
		method, rest, _ := bytes.Cut(head, []byte(" "))
		target, _, _ := bytes.Cut(rest, []byte(" "))
		a.Method, a.Target = string(method), string(target)
	}
	s.arrivals = append(s.arrivals, a)
	return size, true
}

// field finds a header field by its lower-case name.
func field(head []byte, name string) []byte {
	for {
		at := bytes.IndexByte(head, '\n')
		if at < 0 || at+1 >= len(head) {
			return nil
		}
		head = head[at+1:]
		if len(head) > len(name) && head[len(name)] == ':' && bytes.EqualFold(head[:len(name)], []byte(name)) {
			value, _, _ := bytes.Cut(head[len(name)+1:], []byte("\r"))
			return bytes.TrimSpace(value)
		}
	}
}

// flush writes the answers; what the socket does not take waits until it does, and nothing is read meanwhile.
func (s *Sink) flush(fd int, c *conn) bool {
	n, err := unix.Write(fd, c.out)
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		return false
	}
	c.out = append(c.out[:0], c.out[max(n, 0):]...)
	if full := len(c.out) > 0; full != c.full {
		c.full = full
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
		if full {
			event.Events = unix.EPOLLOUT
		}
		return unix.EpollCtl(s.poll, unix.EPOLL_CTL_MOD, fd, &event) == nil
	}
	return true
}
