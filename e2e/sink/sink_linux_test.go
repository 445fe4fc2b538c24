package sink_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/sink"
)

func run(t *testing.T, o sink.Options) (s *sink.Sink, stop func()) {
	t.Helper()
	s, err := sink.New(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return s, func() {
		cancel()
		require.NoError(t, <-done)
	}
}

func TestNotesPipelinedAndSplitRequests(t *testing.T) {
	s, stop := run(t, sink.Options{Lines: true, Answer: []byte("HTTP/1.1 204 No Content\r\n\r\n")})
	conn, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))

	before := time.Now()
	for _, part := range []string{
		"GET /a HTTP/1.1\r\nReprise-Exchange-Id: one\r\n\r\nPOST /b HTTP/1.1\r\nContent-Le", // two in one write, the second cut
		"ngth: 5\r\nreprise-exchange-id:two\r\n\r\nab",
		"cdeGET /c HTTP/1.1\r\n\r\n",
	} {
		_, err := io.WriteString(conn, part)
		require.NoError(t, err)
	}
	answers := make([]byte, 3*len("HTTP/1.1 204 No Content\r\n\r\n"))
	_, err = io.ReadFull(conn, answers)
	require.NoError(t, err)
	require.Equal(t, 3, strings.Count(string(answers), "204"))
	require.Equal(t, 3, s.Requests())
	stop()

	got := s.Arrivals()
	require.Len(t, got, 3)
	require.Equal(t, []string{"one", "two", ""}, []string{got[0].ID, got[1].ID, got[2].ID})
	require.Equal(t, []string{"/a", "/b", "/c"}, []string{got[0].Target, got[1].Target, got[2].Target})
	require.Equal(t, "POST", got[1].Method)
	require.False(t, got[0].At.Before(before))
	require.False(t, got[2].At.Before(got[1].At))
}

func TestAnswersAPeerThatReadsLate(t *testing.T) {
	body := strings.Repeat("x", 1<<20)
	s, stop := run(t, sink.Options{Answer: []byte("HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + body)})
	defer stop()
	conn, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	const requests = 16 // more answers than any socket buffer holds
	_, err = io.WriteString(conn, strings.Repeat("GET / HTTP/1.1\r\n\r\n", requests))
	require.NoError(t, err)
	n, err := io.CopyN(io.Discard, conn, requests*(1<<20))
	require.NoError(t, err)
	require.EqualValues(t, requests<<20, n)
	require.Equal(t, requests, s.Requests())
}

func TestTheKernelTellsWhenARequestCame(t *testing.T) {
	s, stop := run(t, sink.Options{Stamps: true})
	conn, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	answer := make([]byte, 256)
	for range 1000 { // the kernel begins to stamp when it comes to it
		_, err = io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n")
		require.NoError(t, err)
		_, err = io.ReadAtLeast(conn, answer, 1)
		require.NoError(t, err)
	}
	stop()
	stamped := 0
	for _, a := range s.Arrivals() {
		if !a.Came.IsZero() {
			stamped++
			require.False(t, a.Came.After(a.At))
		}
	}
	require.Positive(t, stamped)
}
