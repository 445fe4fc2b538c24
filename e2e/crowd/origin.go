package crowd

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
)

// Origin answers a crowd. A request of a crowd's that is not, byte for byte, what was sent gets 400; any other request
// gets the digest of its body: see Digest.
type Origin struct {
	listener net.Listener
	kinds    []kind
	serving  sync.WaitGroup

	mu   sync.Mutex
	open map[net.Conn]bool // nil: closed
}

// NewOrigin serves on a free loopback port until it is closed.
func NewOrigin() (*Origin, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := &Origin{listener: listener, kinds: messages(), open: make(map[net.Conn]bool)}
	o.serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if o.keep(conn) {
				o.serving.Go(func() { o.serve(conn) })
			}
		}
	})
	return o, nil
}

// Addr is where it listens.
func (o *Origin) Addr() string { return o.listener.Addr().String() }

// Close ends all connections and waits.
func (o *Origin) Close() {
	_ = o.listener.Close()
	o.mu.Lock()
	for conn := range o.open {
		_ = conn.Close()
	}
	o.open = nil
	o.mu.Unlock()
	o.serving.Wait()
}

func (o *Origin) keep(conn net.Conn) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open == nil {
		_ = conn.Close()
		return false
	}
	o.open[conn] = true
	return true
}

func (o *Origin) serve(conn net.Conn) {
	defer func() {
		_ = conn.Close()
		o.mu.Lock()
		delete(o.open, conn)
		o.mu.Unlock()
	}()
	in := bufio.NewReaderSize(conn, 16<<10)
	var got, want, answer []byte
	for {
		line, err := peekLine(in)
		if err != nil {
			return
		}
		index, number, ours := parseTarget(line)
		if !ours {
			if answer, err = digest(in); err != nil {
				return
			}
		} else {
			k := o.kinds[index]
			want = numbered(want, k.request, k.inRequest, number)
			got = append(got[:0], want...)
			if _, err := io.ReadFull(in, got); err != nil {
				return
			}
			if !bytes.Equal(got, want) {
				_, _ = io.WriteString(conn, "HTTP/1.1 400 Not What Was Sent\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
				return
			}
			answer = numbered(answer, k.answer, k.inAnswer, number)
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

// peekLine returns the request line, unread, as far as it is in the first 64 bytes: ours are.
func peekLine(in *bufio.Reader) ([]byte, error) {
	if _, err := in.Peek(1); err != nil {
		return nil, err
	}
	line, err := in.Peek(64)
	if err != nil && len(line) == 0 {
		return nil, err
	}
	return line, nil
}

func digest(in *bufio.Reader) ([]byte, error) {
	req, err := http.ReadRequest(in)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, req.Body); err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n%x", sum.Sum(nil)), nil
}

// Digest is the body of the answer to a request that is not a crowd's.
func Digest(body []byte) string { return fmt.Sprintf("%x", sha256.Sum256(body)) }
