package importer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
)

const captured = 1568139746437296000 // ns

// gorRequest and gorResponse write payloads as GoReplay does.
func gorRequest(id string, after time.Duration, target string) string {
	return fmt.Sprintf("1 %s %d\nGET %s HTTP/1.1\r\nHost: shop\r\n\r\n\n🐵🙈🙉\n", id, captured+int64(after), target)
}

func gorResponse(id, times, status, body string) string {
	return fmt.Sprintf("2 %s %s\nHTTP/1.1 %s OK\r\nContent-Length: %d\r\n\r\n%s\n🐵🙈🙉\n", id, times, status, len(body), body)
}

func at(after time.Duration) string { return fmt.Sprint(captured + int64(after)) }

func readGor(t *testing.T, content string, o Options) ([]*traffic.Exchange, Stats, error) {
	t.Helper()
	o.Format = "gor"
	return readAll(t, write(t, "x.gor", content), o)
}

func TestGorPairsRequestsWithResponses(t *testing.T) {
	const ms = time.Millisecond
	xs, stats, err := readGor(t, gorRequest("a", 0, "/a")+
		gorRequest("b", ms, "/b")+
		gorResponse("b", at(3*ms)+" 1000000", "404", "no")+ // the answers come in another order
		gorResponse("a", at(5*ms)+" 2000000", "200", "yes")+
		gorRequest("c", 6*ms, "/c")+ // never answered
		gorResponse("z", at(7*ms), "200", "")+ // its request is not in the file
		"3 a "+at(8*ms)+" 1\nHTTP/1.1 500 No\r\n\r\n\n🐵🙈🙉\n", Options{}) // GoReplay's own target
	require.NoError(t, err)
	require.Equal(t, Stats{
		Exchanges: 3, Answered: 2, Orphans: 1, Ignored: 1,
		First: timestamp(captured), Last: timestamp(captured + int64(6*ms)),
	}, stats)

	require.Equal(t, "/a", string(xs[0].Request.Target))
	require.Equal(t, 200, xs[0].Response.Status)
	require.Equal(t, "yes", string(xs[0].Response.Body))
	require.Equal(t, 5*ms, xs[0].Response.TTFB)
	require.Equal(t, 7*ms, xs[0].Response.Duration)
	require.Zero(t, xs[0].Flags)
	require.Equal(t, "http", string(xs[0].Request.Scheme))
	require.Equal(t, "shop", string(xs[0].Request.Authority))
	require.Equal(t, traffic.Source{Kind: traffic.Import, Name: []byte("x.gor")}, xs[0].Source)
	require.Equal(t, traffic.LogTime, xs[0].TimeSource)

	require.Equal(t, 404, xs[1].Response.Status)
	require.Nil(t, xs[2].Response)
	require.Equal(t, traffic.NoResponse, xs[2].Flags)
}

func TestGorReadsEveryFormOfTime(t *testing.T) {
	want := time.Date(2019, 9, 10, 18, 22, 26, 437_296_000, time.UTC)
	for text, want := range map[string]time.Time{
		"1568139746437296000":   want,
		"1568139746437296":      want,
		"1568139746437":         want.Truncate(time.Millisecond),
		"1568139746":            want.Truncate(time.Second),
		"1568139746.437296":     want,
		"1568139746.4372960001": want,
	} {
		xs, _, err := readGor(t, "1 a "+text+" 0 extra\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\n🐵🙈🙉\n", Options{})
		require.NoError(t, err, text)
		require.Equal(t, want, xs[0].CaptureTime, text)
	}
}

func TestGorReadsEveryFormOfLatency(t *testing.T) {
	const ms = time.Millisecond
	for name, row := range map[string]struct {
		times          string
		ttfb, duration time.Duration
	}{
		"own time and the time its bytes took":     {at(4*ms) + " 1000000", 4 * ms, 5 * ms},
		"own time alone":                           {at(4 * ms), 4 * ms, 4 * ms},
		"the request's time and the latency":       {at(0) + " 6000000", 0, 6 * ms},
		"the latency in place of the time":         {"6000000", 0, 6 * ms},
		"a clock that ran back says nothing":       {at(-4 * ms), 0, 0},
		"a response of the next week says nothing": {at(7 * 24 * time.Hour), 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			xs, _, err := readGor(t, gorRequest("a", 0, "/")+gorResponse("a", row.times, "200", ""), Options{})
			require.NoError(t, err)
			require.Equal(t, row.ttfb, xs[0].Response.TTFB)
			require.Equal(t, row.duration, xs[0].Response.Duration)
		})
	}
}

func TestGorNeverPairsByGuessing(t *testing.T) {
	const ms = time.Millisecond
	type pair struct {
		target string
		status int // 0: none
	}
	for name, row := range map[string]struct {
		content string
		want    []pair
		orphans int64
	}{
		"an id for a whole connection": {
			gorRequest("a", 0, "/1") + gorResponse("a", at(ms), "201", "") +
				gorRequest("a", 2*ms, "/2") + gorResponse("a", at(3*ms), "202", ""),
			[]pair{{"/1", 201}, {"/2", 202}},
			0,
		},
		"and one answer lost: whose is the next?": {
			gorRequest("a", 0, "/1") + gorRequest("a", 2*ms, "/2") + gorResponse("a", at(3*ms), "202", "") +
				gorRequest("a", 4*ms, "/3") + gorResponse("a", at(5*ms), "203", ""),
			[]pair{{"/1", 0}, {"/2", 0}, {"/3", 203}},
			1,
		},
		"unless it repeats the request's time": {
			gorRequest("a", 0, "/1") + gorRequest("a", 2*ms, "/2") + gorResponse("a", at(2*ms)+" 9", "202", ""),
			[]pair{{"/1", 0}, {"/2", 202}},
			0,
		},
		"the response stands first": {
			gorResponse("a", at(5*ms), "201", "") + gorRequest("a", 0, "/1"),
			[]pair{{"/1", 201}},
			0,
		},
		"the file begins with the answer to something before": {
			gorResponse("a", at(-5*ms), "201", "") + gorRequest("a", 0, "/1") + gorResponse("a", at(ms), "202", ""),
			[]pair{{"/1", 202}},
			1,
		},
		"an interim response is not the answer": {
			gorRequest("a", 0, "/1") + "2 a " + at(ms) + "\nHTTP/1.1 100 Continue\r\n\r\n\n🐵🙈🙉\n" + gorResponse("a", at(2*ms), "201", ""),
			[]pair{{"/1", 201}},
			0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			xs, stats, err := readGor(t, row.content, Options{})
			require.NoError(t, err)
			var got []pair
			for _, x := range xs {
				p := pair{target: string(x.Request.Target)}
				if x.Response != nil {
					p.status = x.Response.Status
				}
				require.Equal(t, p.status == 0, x.Flags.Has(traffic.NoResponse))
				got = append(got, p)
			}
			require.Equal(t, row.want, got)
			require.Equal(t, row.orphans, stats.Orphans)
		})
	}
}

func TestGorToleratesHowFilesWereTreated(t *testing.T) {
	for name, content := range map[string]string{
		"no separator at the end":       strings.TrimSuffix(gorRequest("a", 0, "/a"), "\n🐵🙈🙉\n"),
		"no line break behind the last": strings.TrimSuffix(gorRequest("a", 0, "/a"), "\n"),
		"separators with CRLF":          "1 a 1568139746437296000\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n\r\n🐵🙈🙉\r\n",
		"blank lines between payloads":  "\n\n" + gorRequest("a", 0, "/a") + "\n\r\n",
		"empty payloads":                "🐵🙈🙉\n" + gorRequest("a", 0, "/a"),
		"in gzip":                       zip(t, gorRequest("a", 0, "/a")),
	} {
		t.Run(name, func(t *testing.T) {
			xs, _, err := readGor(t, content, Options{})
			if name != "empty payloads" {
				require.NoError(t, err)
			}
			require.Len(t, xs, 1)
			require.Equal(t, "/a", string(xs[0].Request.Target))
			require.Equal(t, traffic.RequestOnly, xs[0].Flags)
		})
	}
}

func TestGorBodyMayHoldTheSeparator(t *testing.T) {
	body := "x🐵🙈🙉\n🐵🙈🙉x"
	xs, _, err := readGor(t, fmt.Sprintf("1 a %d\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s\n🐵🙈🙉\n", int64(captured), len(body), body), Options{})
	require.NoError(t, err)
	require.Equal(t, body, string(xs[0].Request.Body))
}

func TestGorRemovesTransferCodingAndCutsBodies(t *testing.T) {
	long := strings.Repeat("x", 100)
	xs, _, err := readGor(t, fmt.Sprintf("1 a %d\nPOST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\n🐵🙈🙉\n", int64(captured))+
		fmt.Sprintf("1 b %d\nPOST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n%s\n🐵🙈🙉\n", int64(captured), long)+
		gorResponse("b", at(time.Millisecond), "200", long), Options{BodyMax: 10})
	require.NoError(t, err)
	require.Equal(t, "abc", string(xs[0].Request.Body))
	require.EqualValues(t, 3, xs[0].Request.BodySize)
	require.Equal(t, long[:10], string(xs[1].Request.Body))
	require.EqualValues(t, 100, xs[1].Request.BodySize)
	require.Equal(t, long[:10], string(xs[1].Response.Body))
	require.EqualValues(t, 100, xs[1].Response.BodySize)
	require.Equal(t, traffic.TruncatedRequest|traffic.TruncatedResponse, xs[1].Flags)
}

func TestGorBrokenInputSaysWhatWasReadAndWhere(t *testing.T) {
	good := gorRequest("a", 0, "/a")
	for name, row := range map[string]struct {
		content     string
		exchanges   int
		broken      int64
		what, cause string
		code        int
	}{
		"payload without its first line": {
			good + "GET / HTTP/1.1\r\n\r\n\n🐵🙈🙉\n" + good, 2, 1,
			fmt.Sprintf("x.gor: 1 payload could not be read whole, the first at byte %d", len(good)), "TYPE ID TIME", fault.Incomplete,
		},
		"payload that is no HTTP": {
			good + "1 b 1568139746437296000\n\x16\x03\x01 hello\r\n\r\n\n🐵🙈🙉\n" + good, 2, 1, "1 payload", "request: ", fault.Incomplete,
		},
		"payload without a time": {good + "1 b 0\nGET / HTTP/1.1\r\n\r\n\n🐵🙈🙉\n", 1, 1, "1 payload", "time 0", fault.Incomplete},
		"time that is none":      {good + "1 b x\nGET / HTTP/1.1\r\n\r\n\n🐵🙈🙉\n", 1, 1, "1 payload", `time "x"`, fault.Incomplete},
		"ends inside a header":   {good + "1 b 1568139746437296000\nGET / HTT", 1, 1, "1 payload", "request: ", fault.Incomplete},
		"ends inside a body": {
			good + "1 b 1568139746437296000\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", 2, 1, "1 payload", "the file ends inside it", fault.Incomplete,
		},
		"response that is no HTTP": {
			good + "2 a 1568139746437296000\nnonsense\n🐵🙈🙉\n", 1, 1, "1 payload", "response: ", fault.Incomplete,
		},
		"nothing could be read": {"nonsense\n🐵🙈🙉\nnonsense", 0, 2, "2 payloads", "TYPE ID TIME", fault.Failure},
		"only responses":        {gorResponse("a", at(0), "200", ""), 0, 0, "there is no request in it", "", fault.Failure},
		"gzip that breaks off": {
			zip(t, strings.Repeat(good, 50))[:60], 0, 0, "broken off at byte", "unexpected EOF", fault.Failure,
		},
	} {
		t.Run(name, func(t *testing.T) {
			xs, stats, err := readGor(t, row.content, Options{})
			require.Error(t, err)
			require.Equal(t, row.code, fault.Code(err), err)
			require.Contains(t, err.Error(), row.what)
			require.Contains(t, err.Error(), row.cause)
			require.Equal(t, row.broken, stats.Broken)
			if row.code == fault.Incomplete {
				require.Len(t, xs, row.exchanges)
			}
			for i, x := range xs {
				require.LessOrEqual(t, uint64(i+1), x.ID.Seq())
			}
		})
	}
}

func TestGorAmbiguousFramingIsFlagged(t *testing.T) {
	xs, _, err := readGor(t, fmt.Sprintf("1 a %d\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\n🐵🙈🙉\n", int64(captured)), Options{})
	require.NoError(t, err)
	require.True(t, xs[0].Flags.Has(traffic.AmbiguousFraming))
}

func TestGorPayloadThatIsTooLongIsSkipped(t *testing.T) {
	huge := "1 b 1568139746437296000\nPOST / HTTP/1.1\r\nHost: a\r\n\r\n" + strings.Repeat("x", maxPayload+maxPayload/2) + "\n🐵🙈🙉\n"
	good := gorRequest("a", 0, "/a")
	xs, stats, err := readGor(t, good+huge+gorRequest("c", 0, "/c"), Options{})
	require.Equal(t, fault.Incomplete, fault.Code(err))
	require.ErrorContains(t, err, fmt.Sprintf("byte %d", len(good)))
	require.ErrorContains(t, err, "longer than 32 MiB")
	require.Len(t, xs, 2)
	require.EqualValues(t, 1, stats.Broken)
	require.Equal(t, "/c", string(xs[1].Request.Target))
}

// TestGorHoldsNoMoreThanTheWindow pairs a file whose first request is never answered.
func TestGorHoldsNoMoreThanTheWindow(t *testing.T) {
	held, most, out := 0, 0, 0
	p := newPairing(func(x *traffic.Exchange) error { out++; return nil })
	p.window = 100_000
	attach := func(x *traffic.Exchange, a *answer) bool { x.Response = &traffic.Response{Status: 200}; return true }
	for i := range 10_000 {
		x := &traffic.Exchange{ID: traffic.MakeID([16]byte{1}, uint64(i+1)), CaptureTime: timestamp(captured)}
		id := fmt.Sprint(i)
		require.NoError(t, p.request(id, x, attach, true))
		if i%1000 != 0 {
			require.NoError(t, p.response(&answer{id: id, head: payloadHead{time: captured}}, attach))
		}
		held = i + 1 - out
		most = max(most, held)
		require.LessOrEqual(t, p.bytes, p.window+x.Size())
	}
	require.Greater(t, most, 10, "it does wait for answers")
	require.Less(t, most, 1000)
	_, err := p.flush()
	require.NoError(t, err)
	require.Equal(t, 10_000, out)
	require.Empty(t, p.requests)
	require.Empty(t, p.answers)
	require.Zero(t, p.bytes)
}

func FuzzGor(f *testing.F) {
	f.Add(oneRequest)
	f.Add(gorRequest("a", 0, "/a") + gorResponse("a", at(1), "200", "ok"))
	f.Add("1 a 1.5 9 9\r\nGET / HTTP/1.1\r\n\r\n\r\n🐵🙈🙉\r\n2 a 9\nHTTP/1.1 200\r\n\r\n🐵🙈🙉")
	f.Add("🐵🙈🙉\n🐵🙈🙉\n\n🐵🙈🙉\r\n")
	f.Fuzz(func(t *testing.T, content string) {
		path := write(t, "x.gor", content)
		xs, stats, err := readAll(t, path, Options{Format: "gor", BodyMax: 64})
		require.EqualValues(t, len(xs), stats.Exchanges)
		if err == nil {
			require.NotEmpty(t, xs)
			require.Zero(t, stats.Broken)
		}
		for _, x := range xs {
			require.NotZero(t, x.ID.Seq())
			require.NotEmpty(t, x.Request.Method)
			require.LessOrEqual(t, len(x.Request.Body), 64)
			require.False(t, x.CaptureTime.IsZero())
		}
	})
}

// FuzzPayloads checks that reading in pieces of any size splits as splitting the whole text does.
func FuzzPayloads(f *testing.F) {
	f.Add("a\n🐵🙈🙉\nb\r\n🐵🙈🙉\r\nc🐵🙈🙉\n", uint8(1))
	f.Add("a\n🐵🙈🙉", uint8(3))
	f.Fuzz(func(t *testing.T, text string, step uint8) {
		whole, pieces := newPayloads(strings.NewReader(text)), newPayloads(&slowReader{text, int(step%16) + 1})
		pieces.buf = make([]byte, 1)
		for {
			a, errA := whole.next()
			b, errB := pieces.next()
			require.Equal(t, errA, errB)
			require.Equal(t, a, b)
			if errA != nil {
				return
			}
			require.Equal(t, string(a.text), text[a.offset:a.offset+int64(len(a.text))])
		}
	})
}

type slowReader struct {
	text string
	step int
}

func (s *slowReader) Read(p []byte) (int, error) {
	n, err := strings.NewReader(s.text).Read(p[:min(len(p), s.step)])
	s.text = s.text[n:]
	return n, err
}

func TestGorBelievesNoFieldsOfGateways(t *testing.T) {
	request := strings.Replace(gorRequest("a", 0, "/a"), "\r\n\r\n", "\r\nX-Tap-Host: evil\r\nX-Original-URI: /evil\r\nX-Tap-Time: 1\r\n\r\n", 1)
	xs, _, err := readGor(t, request, Options{})
	require.NoError(t, err)
	require.Equal(t, "shop /a", string(xs[0].Request.Authority)+" "+string(xs[0].Request.Target))
	require.EqualValues(t, captured, xs[0].CaptureTime.UnixNano())
	value, _ := traffic.Get(xs[0].Request.Headers, "X-Tap-Host")
	require.Equal(t, "evil", string(value))
}
