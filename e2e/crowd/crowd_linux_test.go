package crowd

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEveryAnswerIsWhatItHadToBe(t *testing.T) {
	origin := startOrigin(t)
	c, err := Start(Options{Addr: origin.Addr(), Rate: 2000, Connections: 16})
	require.NoError(t, err)
	first := until(t, c, func(got Tally) bool { return len(got.Answers) >= 500 })
	last := c.Stop()
	require.NoError(t, first.First)
	require.NoError(t, last.First)
	require.Zero(t, first.Failed+last.Failed)
	require.NotEmpty(t, first.Answers)
	for _, a := range first.Answers {
		require.Positive(t, a.Took)
	}
	require.Empty(t, c.Stop().Answers, "stopped is stopped")
}

// until takes what the crowd has noted until that is enough.
func until(t *testing.T, c *Crowd, enough func(Tally) bool) (all Tally) {
	t.Helper()
	require.Eventually(t, func() bool {
		got := c.Take()
		all.Answers, all.Failed = append(all.Answers, got.Answers...), all.Failed+got.Failed
		if all.First == nil {
			all.First = got.First
		}
		return enough(all)
	}, time.Minute, 10*time.Millisecond)
	return all
}

// A bit that is turned on the way, in either direction, is noticed; so is an answer that breaks off.
func TestWhatIsChangedOnTheWayIsNoticed(t *testing.T) {
	origin := startOrigin(t)
	for name, way := range map[string]func(client, server net.Conn){
		"request": func(client, server net.Conn) {
			go func() { _, _ = io.Copy(flip{server, 200}, client) }()
			_, _ = io.Copy(client, server)
		},
		"answer": func(client, server net.Conn) {
			go func() { _, _ = io.Copy(server, client) }()
			_, _ = io.Copy(flip{client, 120}, server)
		},
		"cut": func(client, server net.Conn) {
			go func() { _, _ = io.Copy(server, client) }()
			_, _ = io.CopyN(client, server, 150)
		},
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer listener.Close()
			go func() {
				for {
					client, err := listener.Accept()
					if err != nil {
						return
					}
					server, err := net.Dial("tcp", origin.Addr())
					if err != nil {
						return
					}
					go func() {
						way(client, server)
						_ = client.Close()
						_ = server.Close()
					}()
				}
			}()
			c, err := Start(Options{Addr: listener.Addr().String(), Rate: 500, Connections: 4})
			require.NoError(t, err)
			got := until(t, c, func(got Tally) bool { return got.Failed > 0 })
			require.Error(t, got.First)
			require.Empty(t, got.Answers)
			require.Empty(t, c.Stop().Answers)
		})
	}
}

// flip turns a bit at a place of everything that is written.
type flip struct {
	io.Writer
	at int
}

func (f flip) Write(b []byte) (int, error) {
	b = bytes.Clone(b)
	b[min(f.at, len(b)-1)] ^= 1
	return f.Writer.Write(b)
}

func TestOtherRequestsGetTheDigestOfTheirBody(t *testing.T) {
	origin := startOrigin(t)
	body := strings.Repeat("body", 1000)
	resp, err := http.Post("http://"+origin.Addr()+"/upload", "text/plain", strings.NewReader(body))
	require.NoError(t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, Digest([]byte(body)), string(got))
}

func startOrigin(t *testing.T) *Origin {
	t.Helper()
	origin, err := NewOrigin()
	require.NoError(t, err)
	t.Cleanup(origin.Close)
	return origin
}
