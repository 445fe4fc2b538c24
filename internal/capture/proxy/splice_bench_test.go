package proxy

import (
	"fmt"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkOpaque passes bytes on by read and write, and by splice.
func BenchmarkOpaque(b *testing.B) {
	for _, size := range []int{512, 16 << 10, 64 << 10, 256 << 10} {
		for _, by := range []string{"copy", "splice"} {
			b.Run(fmt.Sprintf("%s-%d", by, size), func(b *testing.B) {
				from, feed := socketPair(b)
				drain, to := socketPair(b)
				p, err := newPipe()
				if err != nil {
					b.Fatal(err)
				}
				defer p.close()
				block, sink := make([]byte, size), make([]byte, size)
				room := make([]byte, chunk)
				b.SetBytes(int64(size))
				for b.Loop() {
					write(feed, block)
					for moved := 0; moved < size; {
						var n int
						if by == "copy" {
							n, _ = receive(from, room, 0)
							if m, _ := write(to, room[:n]); m != n {
								b.Fatal(n, m)
							}
						} else {
							n, _ = splice(from, p.in, chunk)
							if m, _ := splice(p.out, to, n); m != n {
								b.Fatal(n, m)
							}
						}
						moved += n
						for got := 0; got < n; {
							m, _ := receive(drain, sink, 0)
							got += m
						}
					}
				}
			})
		}
	}
}

// socketPair returns the descriptors of a TCP connection.
func socketPair(b *testing.B) (x, y int) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		b.Fatal(err)
	}
	fds := [2]int{}
	for i, c := range []net.Conn{c, s} {
		f, err := c.(*net.TCPConn).File()
		if err != nil {
			b.Fatal(err)
		}
		if fds[i], err = unix.Dup(int(f.Fd())); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = unix.Close(fds[i]) })
		_ = unix.SetsockoptInt(fds[i], unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20)
		_ = unix.SetsockoptInt(fds[i], unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20)
		_ = f.Close()
		_ = c.Close()
	}
	return fds[0], fds[1]
}
