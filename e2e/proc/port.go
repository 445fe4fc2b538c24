package proc

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports below the kernel's range for outgoing connections (from 32768): there, a port that a stopped server is to come
// back to can be taken by somebody's outgoing connection, and a client that dials it while the server is away can even
// connect to itself.
const lowestPort, portRange = 20000, 12000

// FreePort returns a TCP port that nobody on this machine listens on.
func FreePort() (int, error) {
	for range 200 {
		port := lowestPort + rand.IntN(portRange)
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
