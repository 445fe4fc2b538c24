package fire_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fire"
)

// expecting answers like a server that looks at the head first: those for /no are refused there and then.
func expecting(bodies chan<- string) func(net.Conn, int) {
	return func(c net.Conn, _ int) {
		for r := bufio.NewReader(c); ; {
			head := ""
			for !strings.HasSuffix(head, "\r\n\r\n") {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				head += line
			}
			switch {
			case strings.HasPrefix(head, "POST /no"):
				_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
				_, _ = io.Copy(io.Discard, r)
				return
			case strings.HasPrefix(head, "POST /quiet"):
			case strings.Contains(head, "Expect: 100-continue\r\n"):
				_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
			}
			body := make([]byte, len(large))
			if strings.Contains(head, "Content-Length: 5\r\n") {
				body = body[:5]
			}
			if _, err := io.ReadFull(r, body); err != nil {
				return
			}
			bodies <- string(body)
			_, _ = io.WriteString(c, ok)
		}
	}
}

var large = strings.Repeat("large", 50000)

func TestABodyThatWasAskedForIsSentWhenTheTargetAsks(t *testing.T) {
	bodies := make(chan string, 3)
	s := sender(t, listen(t, expecting(bodies)), nil)
	for _, body := range []string{"hello", large, "again"} {
		length := "5"
		if body == large {
			length = "250000"
		}
		a := fireOne(t, s, exchange("POST /\nHost: s\nExpect: 100-continue\nContent-Length: "+length, body))
		require.Empty(t, a.Reason, "%v", a.Err)
		require.Equal(t, 200, a.Response.Status)
		require.Equal(t, body, <-bodies)
	}
	require.Equal(t, 1, s.Stats().Idle, "one connection for all of them")

	a := fireOne(t, s, exchange("POST /quiet\nHost: s\nExpect: 100-continue\nContent-Length: 5", "quiet"))
	require.Empty(t, a.Reason, "%v", a.Err)
	require.Equal(t, "quiet", <-bodies, "a target that knows no such thing gets it all the same")

	for {
		s, began := sender(t, listen(t, expecting(bodies)), nil), time.Now()
		a := fireOne(t, s, exchange("POST /no\nHost: s\nExpect: 100-continue\nContent-Length: 5", "never"))
		if time.Since(began) >= time.Second {
			continue // this machine stood still: that is all the time a target has to refuse
		}
		require.Empty(t, a.Reason, "%v", a.Err)
		require.Equal(t, 413, a.Response.Status)
		require.Equal(t, "no", string(a.Response.Body))
		require.Empty(t, bodies)
		require.Zero(t, s.Stats().Open, "it may wait for the body still")
		return
	}
}

func TestBeginWritesNoBodyThatHasToBeAskedFor(t *testing.T) {
	bodies := make(chan string, 2)
	s := sender(t, listen(t, expecting(bodies)), nil)
	x := exchange("POST /\nHost: s\nExpect: 100-continue\nContent-Length: 250000", large)
	require.Empty(t, fireOne(t, s, x).Reason)
	require.Equal(t, large, <-bodies)
	shot, _ := s.Prepare(x, fire.Mark{})
	require.True(t, s.Begin(shot))
	a := s.Fire(t.Context(), shot)
	s.Recycle(shot)
	require.Empty(t, a.Reason, "%v", a.Err)
	require.Equal(t, large, <-bodies)
}
