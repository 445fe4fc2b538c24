package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var seeds = []string{
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.0\r\n\r\n",
	"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: v\r\n\r\nGET / HTTP/1.1\n\n",
	"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\nA: b\r\n c\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"GET /old\r\n\r\nA: b\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n1;a\r\nx\r\n0\r\nHost: c\r\n\r\nGET / HTTP/1.1\r\n\r\n",
	"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nabc",
	"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 204 N\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\nHTTP/1.0 200 OK\r\n\r\nto the end",
	"HTTP/1.1 101 S\r\n\r\nabc",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"\x16\x03\x01\x00",
}

// caseSeeds are the messages of other projects, where they are.
func caseSeeds(f *testing.F) (all []corpusRow) {
	f.Helper()
	if dir, ok := findCases(f, "http1"); ok {
		for _, name := range []string{"llhttp.jsonl", "gunicorn.jsonl", "go-readrequest.jsonl", "smuggler-te.jsonl"} {
			all = append(all, readCorpus(f, filepath.Join(dir, name))...)
		}
	}
	return all
}

// FuzzFramer: in whatever slices the bytes come, the same messages come out, and little is held.
func FuzzFramer(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed), uint8(1), false, uint8(0))
		f.Add([]byte(seed), uint8(5), true, uint8(1))
		f.Add([]byte(seed), uint8(3), false, uint8(200))
	}
	for _, row := range caseSeeds(f) {
		f.Add(row.Raw, uint8(2), strings.HasPrefix(row.Kind, "response"), uint8(0))
	}
	f.Fuzz(func(t *testing.T, raw []byte, step uint8, response bool, to uint8) {
		framer := Requests
		switch {
		case response:
			framer = Responses
		case to > 127:
			framer = func() Framer { f := Requests(); f.simple = true; return f }
		}
		method := Method(to % 3)
		whole, fault := frame(framer(), string(raw), 0, method)
		sliced, faultSliced := frame(framer(), string(raw), int(step)+1, method)
		require.Equal(t, whole, sliced)
		require.Equal(t, fault.String(), faultSliced.String())
		doubtful := false
		for i, m := range whole {
			if doubtful {
				require.True(t, m.Ambiguous, "behind a request with two lengths nothing is certain")
			}
			if m.Ambiguous && i < len(whole)-1 {
				require.True(t, m.Whole, "something was read behind a message whose end nobody knows")
			}
			fields := "\n" + strings.ToLower(m.Fields)
			doubtful = doubtful || !response && strings.Contains(fields, "\ncontent-length: ") && strings.Contains(fields, "\ntransfer-encoding: ")
		}
	})
}

// FuzzAgainstNetHTTP: a request that both read is the same, and ends at the same place.
func FuzzAgainstNetHTTP(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		br := bufio.NewReaderSize(bytes.NewReader(raw), len(raw)+16)
		theirs, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		body, err := io.ReadAll(theirs.Body)
		if err != nil {
			return
		}
		ours, flags, err := ParseRequest(raw, -1)
		if err != nil || flags != 0 {
			return
		}
		require.Equal(t, theirs.Method, string(ours.Method))
		require.Equal(t, theirs.RequestURI, string(ours.Target))
		require.Equal(t, string(body), string(ours.Body))
		for _, field := range ours.Headers {
			name := http.CanonicalHeaderKey(string(field.Name))
			if name == "Host" || name == "Content-Length" || name == "Transfer-Encoding" || name == "Trailer" {
				continue
			}
			require.True(t, slices.ContainsFunc(theirs.Header[name], func(v string) bool {
				return strings.TrimSpace(v) == strings.TrimSpace(string(field.Value))
			}), "%s: %q is not in %q", name, field.Value, theirs.Header[name])
		}
	})
}

// FuzzAnswer: an answer takes nothing beyond its end, and what one read gives, many give.
func FuzzAnswer(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed), uint8(3), "GET")
	}
	f.Fuzz(func(t *testing.T, raw []byte, step uint8, method string) {
		read := func(p []byte, step int) (a Answer, used int, err error) {
			a.Reset(method, 1000)
			for {
				n, done, err := a.Feed(p[:min(step, len(p))])
				used += n
				if p = p[n:]; done || err != nil {
					return a, used, err
				}
				if len(p) == 0 {
					return a, used, a.EOF()
				}
			}
		}
		whole, used, err := read(raw, len(raw)+1)
		sliced, usedSliced, errSliced := read(raw, int(step)+1)
		require.Equal(t, err == nil, errSliced == nil)
		if err == nil {
			require.Equal(t, used, usedSliced)
			require.Equal(t, whole.Response, sliced.Response)
			require.Equal(t, whole.KeepAlive, sliced.KeepAlive)
		}
		if errors.Is(err, io.EOF) {
			require.False(t, whole.Started())
		}
	})
}
