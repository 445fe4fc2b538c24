package link

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLinkPassesAsBadlyAsItIsTold(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer echo.Close()
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			}()
		}
	}()
	l, err := New()
	require.NoError(t, err)
	defer l.Close()
	l.To(echo.Addr().String())
	conn, err := net.Dial("tcp", l.Addr())
	require.NoError(t, err)
	defer conn.Close()
	ask := func(text string) (took time.Duration, err error) {
		began := time.Now()
		if _, err := io.WriteString(conn, text); err != nil {
			return 0, err
		}
		got := make([]byte, len(text))
		_, err = io.ReadFull(conn, got)
		if err == nil {
			require.Equal(t, text, string(got))
		}
		return time.Since(began), err
	}
	_, err = ask("hello")
	require.NoError(t, err)

	l.Set(Fault{Delay: 50 * time.Millisecond})
	took, err := ask("slow")
	require.NoError(t, err)
	require.GreaterOrEqual(t, took, 100*time.Millisecond, "there and back")

	l.Set(Fault{Rate: 1 << 20})
	took, err = ask(strings.Repeat("x", 256<<10))
	require.NoError(t, err)
	require.GreaterOrEqual(t, took, 200*time.Millisecond)

	l.Set(Fault{Hang: true})
	_, err = io.WriteString(conn, "later")
	require.NoError(t, err, "it is still open")
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	_, err = conn.Read(make([]byte, 1))
	require.ErrorContains(t, err, "timeout")
	require.NoError(t, conn.SetReadDeadline(time.Time{}))
	l.Set(Fault{})
	got := make([]byte, len("later"))
	_, err = io.ReadFull(conn, got)
	require.NoError(t, err)
	require.Equal(t, "later", string(got), "nothing is lost")
}
