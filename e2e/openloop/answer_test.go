package openloop

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnswersAreReadToTheirEnd(t *testing.T) {
	for in, want := range map[string]struct {
		status int
		done   bool
		err    string
	}{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok":                              {200, true, ""},
		"HTTP/1.1 200 OK\r\ncontent-length:2\r\n\r\no":                                {200, false, ""},
		"HTTP/1.1 204 No Content\r\n\r\n":                                             {204, true, ""},
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n": {503, true, ""},
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n":              {200, false, "no Content-Length"},
		"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n":                               {200, false, "Content-Length is"},
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Le": {200, false, "more came"},
		"SSH-2.0-OpenSSH\r\n\r\n":                                                     {0, false, "no status line"},
		"HTTP/1.1 2":                                                                  {0, false, ""},
	} {
		whole, split := answer{}, answer{}
		done, err := whole.take([]byte(in))
		require.Equal(t, want.done, done, in)
		require.Equal(t, want.status, whole.status, in)
		if want.err != "" {
			require.ErrorContains(t, err, want.err, in)
			continue
		}
		require.NoError(t, err, in)
		for i := range in {
			done, err = split.take([]byte(in[i : i+1]))
			require.NoError(t, err, in)
			require.Equal(t, want.done && i == len(in)-1, done, in)
		}
		require.Equal(t, whole.status, split.status, in)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), 3)
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), 25)
	f.Add([]byte("HTTP/1.1 204 No Content\r\n\r\n"), 1)
	f.Fuzz(func(t *testing.T, data []byte, at int) {
		var whole, split answer
		done, err := whole.take(data)
		if at < 0 || at > len(data) {
			return
		}
		first, splitErr := split.take(data[:at])
		if splitErr != nil || first {
			return // an end inside the data: the caller stops there
		}
		second, splitErr := split.take(data[at:])
		if done != second || (err == nil) != (splitErr == nil) || whole.status != split.status {
			t.Fatalf("in one: %v %v %d, split at %d: %v %v %d", done, err, whole.status, at, second, splitErr, split.status)
		}
	})
}
