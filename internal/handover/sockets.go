// Package handover passes the listening sockets of a process on to the next one, so that no client finds nobody there: from
// a running process to its successor, and from systemd. It also tells systemd how we are.
//
// The descriptor itself is passed on, and not only the port: connections that wait in a socket's queue are reset when it is
// closed, however many others listen on the same port.
package handover

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Sockets are the listening sockets of a process. Those that it inherited are taken by Listen. The zero value has inherited
// none.
type Sockets struct {
	mu        sync.Mutex
	inherited []socket
	own       []socket
	closed    bool
}

// socket is a listening socket by the address that it was asked for with; "" when systemd has opened it. It is a bare
// descriptor: asking an os.File for its own would make it block, and with it all that share the socket.
type socket struct {
	address string
	fd      int
}

// listener makes one of the socket, which is closed in any case.
func (s socket) listener() (*net.TCPListener, error) {
	f := os.NewFile(uintptr(s.fd), s.address)
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	if tcp, ok := ln.(*net.TCPListener); ok {
		return tcp, nil
	}
	return nil, errors.Join(errors.New("it is no socket of TCP"), ln.Close())
}

// keep returns a second descriptor of a listener.
func keep(ln *net.TCPListener) (fd int, err error) {
	raw, err := ln.SyscallConn()
	if err != nil {
		return -1, err
	}
	ctlErr := raw.Control(func(listening uintptr) { fd, err = unix.FcntlInt(listening, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, errors.Join(ctlErr, err)
}

// Listen returns the socket that was inherited for an address, or binds it. The listener is the caller's.
func (s *Sockets) Listen(address string) (*net.TCPListener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ln, err := s.inherit(address)
	if ln == nil && err == nil {
		var bound net.Listener
		if bound, err = net.Listen("tcp", address); err == nil {
			ln = bound.(*net.TCPListener)
		}
	}
	if err != nil {
		return nil, err
	}
	kept, err := keep(ln)
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	s.own = append(s.own, socket{address, kept})
	return ln, nil
}

func (s *Sockets) inherit(address string) (*net.TCPListener, error) {
	for i, in := range s.inherited {
		if in.address != address && (in.address != "" || !in.boundTo(address)) {
			continue
		}
		s.inherited = append(s.inherited[:i], s.inherited[i+1:]...)
		ln, err := in.listener()
		if err != nil {
			return nil, fmt.Errorf("the socket that was handed over for %s: %w", address, err)
		}
		return ln, nil
	}
	return nil, nil
}

// boundTo reports whether a socket is what listening on an address would give.
func (s socket) boundTo(address string) bool {
	sa, err := unix.Getsockname(s.fd)
	want, bad := net.ResolveTCPAddr("tcp", address)
	if err != nil || bad != nil {
		return false
	}
	var ip netip.Addr
	var port int
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		ip, port = netip.AddrFrom4(a.Addr), a.Port
	case *unix.SockaddrInet6:
		ip, port = netip.AddrFrom16(a.Addr).Unmap(), a.Port
	default:
		return false
	}
	wanted, _ := netip.AddrFromSlice(want.IP) // not valid: every address
	wanted = wanted.Unmap()
	every := !wanted.IsValid() || wanted.IsUnspecified()
	return port == want.Port && (ip == wanted || every && ip.IsUnspecified())
}

// Leftover closes what was inherited and nobody wanted, and returns its addresses.
func (s *Sockets) Leftover() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, in := range s.inherited {
		ln, err := in.listener()
		if err != nil {
			all = append(all, err.Error())
			continue
		}
		all = append(all, ln.Addr().String())
		_ = ln.Close()
	}
	s.inherited = nil
	return all
}

// Close lets go of the sockets: they end when their listeners are closed too, unless a successor has them.
func (s *Sockets) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, own := range s.own {
		_ = unix.Close(own.fd)
	}
	s.own, s.closed = nil, true
}

// FromSystemd takes the sockets that systemd passes to this process, if it does.
func (s *Sockets) FromSystemd() error {
	pid, errPID := strconv.Atoi(os.Getenv("LISTEN_PID"))
	n, errN := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if errPID != nil || errN != nil || pid != os.Getpid() {
		return nil
	}
	const first = 3
	for fd := first; fd < first+n; fd++ {
		listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		if err != nil {
			return fmt.Errorf("descriptor %d, from systemd: %w", fd, err)
		}
		if listening == 0 {
			return fmt.Errorf("descriptor %d, from systemd, is no listening socket: the socket unit needs Accept=no", fd)
		}
		unix.CloseOnExec(fd)
		s.inherited = append(s.inherited, socket{fd: fd})
	}
	return nil
}
