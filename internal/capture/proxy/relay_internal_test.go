package proxy

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// quickServer answers before the one who writes the request to it goes on.
type quickServer struct {
	net.Conn
	asked, answered chan struct{}
	reads           int
}

func (s *quickServer) Write(b []byte) (int, error) {
	close(s.asked)
	<-s.answered
	return len(b), nil
}

func (s *quickServer) Read(b []byte) (int, error) {
	if s.reads++; s.reads == 1 {
		<-s.asked
		return copy(b, answer), nil
	}
	if s.reads == 2 {
		close(s.answered) // and passed on
	}
	return 0, io.EOF
}

func (s *quickServer) CloseWrite() error { return nil }

// onceClient asks once.
type onceClient struct {
	net.Conn
	asked bool
}

func (c *onceClient) Read(b []byte) (int, error) {
	if c.asked {
		return 0, io.EOF
	}
	c.asked = true
	return copy(b, get), nil
}

func (c *onceClient) Write(b []byte) (int, error) { return len(b), nil }
func (c *onceClient) CloseWrite() error           { return nil }

func TestAnAnswerIsReadAfterItsRequestHoweverQuick(t *testing.T) {
	rig := newRig(t, reserve(t))
	d := &desk{ledger: newLedger(rig.Proxy), news: make(chan struct{}, 1)}
	address, accept := listen(t)
	r := &relay{p: rig.Proxy, desk: d, raw: [2]*net.TCPConn{client: dial(t, address), server: accept()}, sides: [2]half{
		client: &onceClient{}, server: &quickServer{asked: make(chan struct{}), answered: make(chan struct{})},
	}}
	r.dialog.Start([]byte("id"), []byte("127.0.0.1:1"), []byte("127.0.0.1:2"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.pump(client)
	}()
	r.pump(server)
	<-done
	require.Zero(t, r.heard.of[client].at+r.heard.of[server].at, "nothing is left to be read")
	d.note(&r.dialog, over, nil)
	got := d.recorder.Take()
	require.Len(t, got, 1)
	require.NotNil(t, got[0].Exchange.Response)
	require.Equal(t, 200, got[0].Exchange.Response.Status)
	rig.shelf.Release(got[0].Bytes)
}
