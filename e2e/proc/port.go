package proc

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
)

// Ports below the kernel's range for outgoing connections (from 32768): there, a port that a stopped server is to come
// back to can be taken by somebody's outgoing connection, and a client that dials it while the server is away can even
// connect to itself.
const lowestPort, portRange = 20000, 12000

// given counts the ports that FreePort has looked at. One that its server has not taken yet, or comes back to, is not given
// again.
var given atomic.Int64 //nolint:gochecknoglobals // what else could a process's ports be counted by?

// FreePort returns a TCP port that nobody on this machine listens on.
func FreePort() (int, error) {
	given.CompareAndSwap(0, 1+rand.Int64N(portRange)) // apart from other processes
	for range 200 {
		port := lowestPort + int(given.Add(1)%portRange)
		if Free(net.JoinHostPort("127.0.0.1", strconv.Itoa(port))) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port from %d to %d", lowestPort, lowestPort+portRange)
}

// FreeAddr returns a loopback address with a free port.
func FreeAddr() (string, error) {
	port, err := FreePort()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), err
}

// Free tells whether one can listen on an address.
func Free(addr string) bool {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	_ = ln.Close()
	return true
}
