package importer

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
)

// streamOf writes a record of the OpenSearch traffic capture.
type streamOf struct {
	conn     string
	number   int
	last     bool
	inside   bool
	observed []byte
}

func (s streamOf) bytes() []byte {
	b := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), s.conn)
	b = protowire.AppendString(protowire.AppendTag(b, 5, protowire.BytesType), "node-1")
	b = append(b, s.observed...)
	if s.inside {
		b = protowire.AppendVarint(protowire.AppendTag(b, 7, protowire.VarintType), 1)
	}
	num := protowire.Number(3)
	if s.last {
		num = 4
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(s.number))
}

func (s streamOf) line() string {
	return s.conn + "|" + base64.StdEncoding.EncodeToString(s.bytes()) + "\n"
}

// observed appends an observation of that kind, ms after the capture began.
func observed(b []byte, ms int, kind protowire.Number, data string) []byte {
	at := time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC).Add(time.Duration(ms) * time.Millisecond)
	ts := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(at.Unix()))
	ts = protowire.AppendVarint(protowire.AppendTag(ts, 2, protowire.VarintType), uint64(at.Nanosecond()))
	o := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), ts)
	var m []byte
	if data != "" {
		num := protowire.Number(1)
		if kind == 5 || kind == 9 {
			num = 2
		}
		m = protowire.AppendString(protowire.AppendTag(nil, num, protowire.BytesType), data)
	}
	o = protowire.AppendBytes(protowire.AppendTag(o, kind, protowire.BytesType), m)
	return protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), o)
}

const (
	reads, readSegment, writes, writeSegment = 4, 5, 8, 9
	closes, endOfMessage, dropped            = 11, 15, 16
)

func roundTrip(b []byte, ms int, path string) []byte {
	b = observed(b, ms, reads, "GET "+path+" HTTP/1.1\r\nHost: search:9200\r\n\r\n")
	b = observed(b, ms+1, endOfMessage, "")
	return observed(b, ms+5, writes, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
}

func TestOpenSearchExportIsPutTogether(t *testing.T) {
	bulk := "POST /_bulk HTTP/1.1\r\nHost: search:9200\r\nContent-Length: 10\r\n\r\n01234"
	first := observed(observed(nil, 10, reads, bulk[:20]), 12, readSegment, bulk[20:])
	rest := observed(observed(nil, 20, readSegment, "56789"), 21, endOfMessage, "")
	rest = observed(observed(rest, 30, writeSegment, "HTTP/1.1 200 OK\r\nContent-"), 40, writeSegment, "Length: 2\r\n\r\nok")
	rest = roundTrip(rest, 50, "/second")
	lines := []streamOf{
		{conn: "a", number: 1, observed: first},
		{conn: "b", number: 1, observed: roundTrip(nil, 15, "/other"), last: true},
		{conn: "a", number: 2, observed: rest},
		{conn: "a", number: 2, observed: rest}, // stored twice
		{conn: "a", number: 3, observed: observed(nil, 60, closes, ""), last: true},
	}
	var text, delimited strings.Builder
	for _, l := range lines {
		text.WriteString(l.line())
		delimited.Write(binary.AppendUvarint(nil, uint64(len(l.bytes()))))
		delimited.Write(l.bytes())
	}
	for name, content := range map[string]string{
		"lines": text.String(), "lines in gzip": zip(t, text.String()), "delimited": delimited.String(),
		"lines without keys": strings.ReplaceAll(strings.ReplaceAll(text.String(), "a|", ""), "b|", ""),
	} {
		t.Run(name, func(t *testing.T) {
			xs, stats, err := readAll(t, write(t, "x", content), Options{})
			require.NoError(t, err)
			require.Len(t, xs, 3)
			require.EqualValues(t, 1, stats.Ignored)
			x := xs[1]
			require.Equal(t, "POST /_bulk", string(x.Request.Method)+" "+string(x.Request.Target))
			require.Equal(t, "0123456789", string(x.Request.Body))
			require.Equal(t, "ok", string(x.Response.Body))
			require.Equal(t, time.Date(2026, 11, 22, 13, 0, 0, 10e6, time.UTC), x.CaptureTime)
			require.Equal(t, 20*time.Millisecond, x.Response.TTFB)
			require.Equal(t, 30*time.Millisecond, x.Response.Duration)
			require.Equal(t, traffic.LogTime, x.TimeSource)
			require.Equal(t, "a", string(x.Connection.ID))
			require.EqualValues(t, 2, xs[2].Connection.Sequence)
			require.Equal(t, "/second", string(xs[2].Request.Target))
			for i, x := range xs {
				require.Zero(t, x.Flags)
				require.EqualValues(t, i+1, x.ID.Seq())
			}
		})
	}
}

func TestOpenSearchExportWithHoles(t *testing.T) {
	tail := observed(nil, 90, readSegment, "rest of a body")
	tail = observed(tail, 91, endOfMessage, "")
	tail = observed(tail, 92, writes, "rest of an answer")
	for name, row := range map[string]struct {
		streams []streamOf
		want    string
	}{
		"begins inside a request": {
			[]streamOf{{conn: "a", number: 7, inside: true, observed: roundTrip(tail, 100, "/x")}}, "/x",
		},
		"begins inside an answer": {
			[]streamOf{{conn: "a", number: 7, observed: roundTrip(observed(nil, 1, writes, "rest"), 100, "/x")}}, "/x",
		},
		"a piece is missing": {
			[]streamOf{
				{conn: "a", number: 1, observed: roundTrip(observed(nil, 1, reads, ""), 2, "/1")},
				{conn: "a", number: 4, inside: true, observed: roundTrip(tail, 100, "/x")},
			}, "/1 /x",
		},
		"cut within a request by a hole": {
			[]streamOf{
				{conn: "a", number: 1, observed: observed(nil, 1, reads, "POST /cut HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx")},
				{conn: "a", number: 4, inside: true, observed: roundTrip(tail, 100, "/x")},
			}, "/cut:NO_RESPONSE,TRUNCATED_REQUEST /x",
		},
		"dropped by the capture itself": {
			[]streamOf{{conn: "a", number: 1, observed: roundTrip(observed(observed(nil, 1, reads, "GET /half"), 2, dropped, ""), 9, "/x")}}, "/x",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			for _, s := range row.streams {
				b.WriteString(s.line())
			}
			xs, _, _ := readAll(t, write(t, "x", b.String()), Options{})
			var got []string
			for _, x := range xs {
				text := string(x.Request.Target)
				if x.Flags != 0 {
					text += ":" + x.Flags.String()
				}
				got = append(got, text)
			}
			require.Equal(t, row.want, strings.Join(got, " "))
		})
	}
}

func TestOpenSearchExportThatIsBroken(t *testing.T) {
	good := streamOf{conn: "a", number: 1, observed: roundTrip(nil, 1, "/x"), last: true}
	xs, stats, err := readAll(t, write(t, "x", good.line()+"a|!!!\nb|AAAA\n"), Options{})
	require.Len(t, xs, 1)
	require.EqualValues(t, 2, stats.Broken)
	require.Equal(t, fault.Incomplete, fault.Code(err))
	require.ErrorContains(t, err, "2 parts could not be read, the first at record 2 of 3")

	b := append(binary.AppendUvarint(nil, uint64(len(good.bytes()))), good.bytes()...)
	xs, _, err = readAll(t, write(t, "x", string(b)+string(b[:9])), Options{})
	require.Len(t, xs, 1)
	require.ErrorContains(t, err, "broken off behind record 1: unexpected EOF")

	tls := streamOf{conn: "a", number: 1, observed: observed(nil, 1, reads, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc")}
	_, _, err = readAll(t, write(t, "x", good.line()+tls.line()), Options{})
	require.ErrorContains(t, err, "connection that cannot be read on")
}

func TestOpenSearchExportHoldsABoundedNumberOfConnections(t *testing.T) {
	var b strings.Builder
	for i := range maxConnections + 50 {
		b.WriteString(streamOf{conn: fmt.Sprint("c", i), number: 1, observed: observed(nil, i, reads, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n")}.line())
	}
	f, err := Open(write(t, "x", b.String()), Options{})
	require.NoError(t, err)
	defer f.Close()
	n := 0
	_, err = f.Each(t.Context(), func(*traffic.Exchange) error { n++; return nil })
	require.NoError(t, err)
	require.Equal(t, maxConnections+50, n, "those that were closed early are there, without an answer")
}

func FuzzOpenSearch(f *testing.F) {
	f.Add([]byte(streamOf{conn: "a", number: 1, observed: roundTrip(nil, 1, "/x")}.line()))
	b := streamOf{conn: "a", number: 2, inside: true, observed: roundTrip(nil, 1, "/x"), last: true}.bytes()
	f.Add(append(binary.AppendUvarint(nil, uint64(len(b))), b...))
	f.Fuzz(func(t *testing.T, content []byte) {
		xs, stats, err := readAll(t, write(t, "x", string(content)), Options{Format: "opensearch", BodyMax: 64})
		for _, x := range xs {
			x.CaptureTime = x.CaptureTime.Add(time.Nanosecond) // there may be no time in it
		}
		checkImport(t, xs, stats, err)
	})
}
