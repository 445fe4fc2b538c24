package fire

import (
	"io"
	"net"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestABodyWaitsForTheTargetsWordButNotForLong(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
	for name, c := range map[string]struct {
		says          string
		after, waited time.Duration
		refused       bool
		err           error
	}{
		"it asks for it":      {says: "HTTP/1.1 100 Continue\r\n\r\n", after: 300 * time.Millisecond, waited: 300 * time.Millisecond},
		"a hint comes first":  {says: "HTTP/1.1 103 Early Hints\r\n\r\n"},
		"a part of its word":  {says: "HTTP/1"},
		"it says nothing":     {after: time.Minute, waited: time.Second},
		"it refuses the head": {says: "HTTP/1.1 417 Expectation Failed\r\n\r\n", after: time.Millisecond, waited: time.Millisecond, refused: true},
		"it is of 1.0":        {says: "HTTP/1.0 200 OK\r\n\r\n", refused: true},
		"it closes":           {after: time.Millisecond, waited: time.Millisecond, err: io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				here, there := net.Pipe()
				defer here.Close()
				f := newFlight(&url.URL{})
				f.Context, f.shot = t.Context(), &Shot{bytes: []byte(head + "body"), headTo: len(head), expects: true}
				done, asked := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(done)
					defer there.Close()
					got := make([]byte, len(head)-10)
					if _, err := io.ReadFull(there, got); err != nil || string(got) != head[10:] {
						t.Errorf("the head: %q, %v", got, err)
					}
					time.Sleep(c.after)
					if c.err != nil {
						return
					}
					_, _ = io.WriteString(there, c.says) // fails when nobody waits any more
					<-asked                              // a pipe that its other end closed takes no deadline
				}()
				began := time.Now()
				written, have, refused, err := f.ask(&conn{Conn: here, deadline: began.Add(time.Hour)}, 10)
				close(asked)
				require.Equal(t, len(head), written)
				require.Equal(t, c.err, err)
				require.Equal(t, c.waited, time.Since(began))
				require.Equal(t, c.refused, refused)
				if c.after < time.Minute {
					require.Equal(t, c.says, string(f.buf[:have]))
				} else {
					require.Zero(t, have)
				}
				_ = here.Close()
				<-done
			})
		})
	}
}
