package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The two speak so over a Unix socket: the predecessor sends the addresses as a JSON list, with the descriptors in the same
// message; the successor says ready when it serves; the predecessor closes the connection when it has stopped accepting.

const (
	longestList = 64 << 10
	mostSockets = 250 // what one message can carry
	ready       = "ready\n"
	// patience is how long a step of the other side is waited for.
	patience = 30 * time.Second
)

// send passes the sockets on.
func (s *Sockets) send(c *net.UnixConn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("the sockets are closed already")
	}
	if len(s.own) > mostSockets {
		return fmt.Errorf("%d sockets are more than can be handed over", len(s.own))
	}
	var addresses []string
	var fds []int
	for _, own := range s.own {
		addresses = append(addresses, own.address)
		fds = append(fds, own.fd)
	}
	list, err := json.Marshal(addresses)
	if err != nil {
		return err
	}
	if len(list) > longestList {
		return errors.New("the addresses are too long to be handed over")
	}
	_, _, err = c.WriteMsgUnix(list, unix.UnixRights(fds...), nil)
	return err
}

// receive takes what a predecessor sends.
func (s *Sockets) receive(c *net.UnixConn) error {
	list, rights := make([]byte, longestList), make([]byte, unix.CmsgSpace(4*mostSockets))
	n, m, flags, _, err := c.ReadMsgUnix(list, rights)
	if err != nil {
		return err
	}
	fds, err := descriptors(rights[:m])
	var addresses []string
	switch {
	case err != nil:
	case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		err = errors.New("its message was cut off")
	default:
		err = json.Unmarshal(list[:n], &addresses)
	}
	if err == nil && len(addresses) != len(fds) {
		err = fmt.Errorf("%d sockets for %d addresses", len(fds), len(addresses))
	}
	if err != nil {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, fd := range fds {
		s.inherited = append(s.inherited, socket{addresses[i], fd})
	}
	return nil
}

func descriptors(rights []byte) (all []int, err error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	for i := range messages {
		fds, bad := unix.ParseUnixRights(&messages[i])
		err = errors.Join(err, bad)
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			all = append(all, fd)
		}
	}
	return all, err
}

// sameUser reports whether the process at the other end is ours, or root's.
func sameUser(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var cred *unix.Ucred
	ctlErr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	return ctlErr == nil && err == nil && (cred.Uid == 0 || int(cred.Uid) == os.Geteuid())
}
