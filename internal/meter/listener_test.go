package meter

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestListenerKeepsToTheDescriptorsThatAreLeft(t *testing.T) {
	d, err := newDescriptors(func() (uint64, error) { return 64, nil }) // of which half are for connections
	require.NoError(t, err)
	most := int(d.Most())
	require.True(t, d.Take(most-2, false), "by others")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	told := 0
	l := d.Listener(ln, func() { told++ })
	defer l.Close()
	call := func() net.Conn {
		c, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	accept := func() net.Conn {
		c, err := l.Accept()
		require.NoError(t, err)
		return c
	}
	call()
	call()
	one, two := accept(), accept()

	late := call()
	accepted := make(chan net.Conn)
	go func() {
		c, _ := l.Accept()
		accepted <- c
	}()
	_, err = late.Read(make([]byte, 1))
	require.Error(t, err, "it is closed, and does not wait")
	require.NoError(t, one.Close())
	_ = one.Close() // twice is once
	call()
	three := <-accepted
	require.EqualValues(t, 1, l.Refused())
	require.Equal(t, 1, told)

	require.False(t, d.Take(1, false))
	require.NoError(t, two.Close())
	require.NoError(t, three.Close())
	require.True(t, d.Take(2, false))
	require.False(t, d.Take(1, false))
}
