package wire

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/reprise-io/reprise/internal/traffic"
)

func TestPairsStreams(t *testing.T) {
	long := strings.Repeat("x", 150)
	for _, row := range []struct {
		name string
		talk func(c, s *speaker) []string
		want []string
	}{
		{
			"one after the other",
			func(c, s *speaker) []string {
				return []string{c.hello(), s.hello(), c.ack(), s.ack(), c.get(1, "/1"), s.answer(1, "1"), c.get(3, "/2"), s.answer(3, "2"), "C:fin"}
			},
			[]string{`1 GET /1 "" → 200 "1"`, `2 GET /2 "" → 200 "2"`},
		},
		{
			"at the same time, answered the other way round",
			func(c, s *speaker) []string {
				return []string{
					c.hello(), s.hello(), c.post(1, "/1"), c.get(3, "/2"), c.data(1, false, "ab"), s.answer(3, "2"), c.data(1, true, "cd"), s.answer(1, "1"),
				}
			},
			[]string{`2 GET /2 "" → 200 "2"`, `1 POST /1 "abcd" → 200 "1"`},
		},
		{
			"the server speaks first",
			func(c, s *speaker) []string {
				return []string{s.hello(), c.hello(), c.get(1, "/1"), s.answer(1, "1")}
			},
			[]string{`1 GET /1 "" → 200 "1"`},
		},
		{
			"the server speaks first, in the middle of the preface",
			func(c, s *speaker) []string {
				hello := c.hello()
				return []string{hello[:9], s.hello(), "C:" + hello[9:], c.get(1, "/1"), s.answer(1, "1")}
			},
			[]string{`1 GET /1 "" → 200 "1"`},
		},
		{
			"the server speaks first, and is acknowledged before the client's own settings",
			func(c, s *speaker) []string {
				return []string{s.hello(), "C:" + http2.ClientPreface, c.ack(), c.settings(), s.ack(), c.get(1, "/1"), s.answer(1, "1")}
			},
			[]string{`1 GET /1 "" → 200 "1"`},
		},
		{
			"padding, priority, continuation, unknown frames",
			func(c, s *speaker) []string {
				return []string{
					c.hello(), s.hello(), c.parts(1, false, 5, request("POST", "/1", "a: b")...), c.raw(0x77, 0xff, 0, long), c.padded(1, false, "ab"),
					c.raw(http2.FrameWindowUpdate, 0, 1, "\x00\x00\x00\x01"), c.raw(http2.FramePriority, 0, 3, "\x00\x00\x00\x00\x01"),
					c.data(1, false, ""), c.padded(1, true, ""), s.parts(1, false, 3, ":status: 200"), s.raw(http2.FramePing, 0, 0, "12345678"), s.padded(1, true, "1"),
				}
			},
			[]string{`1 POST /1 "ab" → 200 "1"`},
		},
		{
			"trailers",
			func(c, s *speaker) []string {
				return []string{
					c.hello(), s.hello(), c.post(1, "/p.S/M", "te: trailers"), c.data(1, false, "ab"), c.headers(1, true, "sum: 1"),
					s.headers(1, false, ":status: 200"), s.data(1, false, "ok"), s.headers(1, true, "grpc-status: 0"),
				}
			},
			[]string{`1 POST /p.S/M "ab" sum=1 → 200 "ok" grpc-status=0`},
		},
		{
			"interim answers, HEAD, 204 and trailers only",
			func(c, s *speaker) []string {
				return []string{
					c.hello(), s.hello(), c.post(1, "/1", "expect: 100-continue", "content-length: 2"), s.headers(1, false, ":status: 100"),
					c.data(1, true, "ab"), s.headers(1, false, ":status: 103", "link: x"), s.answer(1, "1"),
					c.headers(3, true, request("HEAD", "/2")...), s.headers(3, true, ":status: 200", "content-length: 99"),
					c.get(5, "/3"), s.headers(5, true, ":status: 204"), c.get(7, "/4"), s.headers(7, true, ":status: 200", "grpc-status: 12"),
				}
			},
			[]string{`1 POST /1 "ab" → 200 "1"`, `2 HEAD /2 "" → 200 ""`, `3 GET /3 "" → 204 ""`, `4 GET /4 "" → 200 ""`},
		},
		{
			"an answer before the request's end",
			func(c, s *speaker) []string {
				return []string{c.hello(), s.hello(), c.post(1, "/1"), s.answer(1, "1"), c.data(1, true, "ab")}
			},
			[]string{`1 POST /1 "ab" → 200 "1"`},
		},
		{
			"an answer instead of the request's end",
			func(c, s *speaker) []string {
				return []string{c.hello(), s.hello(), c.post(1, "/1"), s.answer(1, "1"), s.reset(1), c.data(1, true, "ab")}
			},
			[]string{`1 POST /1 "" → 200 "1" TRUNCATED_REQUEST`},
		},
		{
			"bodies beyond the cap are counted",
			func(c, s *speaker) []string {
				return []string{c.hello(), s.hello(), c.post(1, "/"), c.data(1, true, long), s.answer(1, long)}
			},
			[]string{`1 POST / "` + long[:100] + `" of 150 → 200 "` + long[:100] + `" of 150 TRUNCATED_REQUEST,TRUNCATED_RESPONSE`},
		},
		{
			"no answer in time, and a late one",
			func(c, s *speaker) []string {
				return []string{c.hello(), s.hello(), c.get(1, "/1"), "C:wait", s.answer(1, "1"), c.get(3, "/2"), s.answer(3, "2")}
			},
			[]string{`1 GET /1 "" NO_RESPONSE`, `2 GET /2 "" → 200 "2"`},
		},
		{
			"the client resets",
			func(c, s *speaker) []string {
				return []string{
					c.hello(), s.hello(), c.get(1, "/1"), c.reset(1), s.answer(1, "late"), c.post(3, "/2", "content-length: 9"), c.data(3, false, "ab"), c.reset(3),
					c.get(5, "/3"), s.headers(5, false, ":status: 200"), s.data(5, false, "a"), c.reset(5), c.get(7, "/4"), s.answer(7, "4"),
				}
			},
			[]string{
				`1 GET /1 "" CLIENT_ABORTED`, `2 POST /2 "ab" of 9 TRUNCATED_REQUEST,CLIENT_ABORTED`,
				`3 GET /3 "" → 200 "a" TRUNCATED_RESPONSE,CLIENT_ABORTED`, `4 GET /4 "" → 200 "4"`,
			},
		},
		{
			"the server resets",
			func(c, s *speaker) []string {
				return []string{
					c.hello(), s.hello(), c.get(1, "/1"), s.reset(1), c.post(3, "/2"), c.data(3, false, "ab"), s.reset(3),
					c.get(5, "/3"), s.headers(5, false, ":status: 200", "content-length: 7"), s.data(5, false, "a"), s.reset(5), c.get(7, "/4"), s.answer(7, "4"),
				}
			},
			[]string{
				`1 GET /1 "" NO_RESPONSE`, `2 POST /2 "ab" NO_RESPONSE,TRUNCATED_REQUEST`,
				`3 GET /3 "" → 200 "a" of 7 TRUNCATED_RESPONSE`, `4 GET /4 "" → 200 "4"`,
			},
		},
		{
			"the server goes away",
			func(c, s *speaker) []string {
				return []string{c.hello(), s.hello(), c.get(1, "/1"), c.get(3, "/2"), s.goAway(1<<31 - 1), s.goAway(1), s.goAway(1), s.goAway(3), s.answer(1, "1"), "S:fin", "C:fin"}
			},
			[]string{`2 GET /2 "" NO_RESPONSE`, `1 GET /1 "" → 200 "1"`},
		},
		{
			"the connection breaks off",
			func(c, s *speaker) []string {
				return []string{c.hello(), s.hello(), c.get(1, "/1"), c.post(3, "/2"), c.get(5, "/3"), s.headers(5, false, ":status: 200"), "C:rst"}
			},
			[]string{
				`1 GET /1 "" CLIENT_ABORTED`, `2 POST /2 "" TRUNCATED_REQUEST,CLIENT_ABORTED`,
				`3 GET /3 "" → 200 "" TRUNCATED_RESPONSE,CLIENT_ABORTED`,
			},
		},
		{
			"the server closes, the client goes on",
			func(c, s *speaker) []string {
				return []string{c.hello(), s.hello(), c.get(1, "/1"), c.post(3, "/2"), "S:fin", c.data(3, true, "ab"), c.get(5, "/3")}
			},
			[]string{`1 GET /1 "" NO_RESPONSE`, `2 POST /2 "ab" NO_RESPONSE`, `3 GET /3 "" NO_RESPONSE`},
		},
		{
			"pushed answers are no exchanges, but count for compression",
			func(c, s *speaker) []string {
				promise := s.line(s.frames.WritePushPromise(http2.PushPromiseParam{
					StreamID: 1, PromiseID: 2, EndHeaders: true, PadLength: 3, BlockFragment: s.encode(request("GET", "/pushed", "a: 1")...),
				}))
				return []string{
					c.hello(), s.hello(), c.get(1, "/1"), promise, s.answer(1, "1"), s.headers(2, false, ":status: 200", "a: 1"), s.data(2, true, "pushed"),
					c.get(3, "/2"), s.headers(3, true, ":status: 404", "a: 1"),
				}
			},
			[]string{`1 GET /1 "" → 200 "1"`, `2 GET /2 "" → 404 ""`},
		},
		{
			"tunnels",
			func(c, s *speaker) []string {
				return []string{
					c.hello(), s.hello(), c.headers(1, false, ":method: CONNECT", ":authority: db:1"), s.headers(1, false, ":status: 200"), c.data(1, false, "secret"), s.data(1, false, "secret"),
					c.headers(3, false, request("CONNECT", "/chat", ":protocol: websocket")...), s.headers(3, false, ":status: 200"), c.data(3, true, "x"),
					c.headers(5, false, ":method: CONNECT", ":authority: db:2"), s.headers(5, false, ":status: 403"), s.data(5, true, "no"),
				}
			},
			[]string{`1 CONNECT db:1 "" → 200 "" CONNECT`, `2 CONNECT /chat "" → 200 "" UPGRADED,CONNECT`, `3 CONNECT db:2 "" → 403 "no" CONNECT`},
		},
		{
			"a marked request",
			func(c, s *speaker) []string {
				return []string{c.hello(), s.hello(), c.get(1, "/1", "reprise-replay: live"), c.get(3, "/2"), s.answer(1, "1"), s.answer(3, "2")}
			},
			[]string{`2 GET /2 "" → 200 "2"`},
		},
		{
			"malformed requests, each alone", // RFC 9113 8.1.1, 8.2 and 8.3
			func(c, s *speaker) []string {
				return []string{
					c.hello(), s.hello(), c.get(1, "/1", "transfer-encoding: chunked"), c.get(3, "/2", "connection: close"), c.get(5, "/3", "Upper: x"),
					c.get(7, "/4", "a: b\r\nc: d"), c.get(9, "/5 HTTP/1.1"), c.get(11, "/6", "content-length: 1"), c.get(13, "/7", ":path: /8"),
					c.headers(15, true, request("A B", "/8")...), c.get(17, "/9", "te: gzip"), c.get(19, "/10", ":what: x"),
					c.post(21, "/11", "content-length: 3"), c.data(21, true, "ab"), c.post(23, "/12"), c.headers(23, true, "content-length: 0"),
					c.headers(25, true, ":method: GET", ":path: /13", ":authority: a"), c.get(27, "/14", "content-length: +1"),
					c.headers(29, true, ":method: GET", ":scheme: http", ":authority: a"), c.headers(31, true, "a: b"), c.get(33, "/15"), s.answer(33, "15"),
				}
			},
			[]string{
				`17 GET /15 "" → 200 "15"`,
				`1 GET /1 "" NO_RESPONSE,AMBIGUOUS_FRAMING`, `2 GET /2 "" NO_RESPONSE,AMBIGUOUS_FRAMING`, `3 GET /3 "" NO_RESPONSE,AMBIGUOUS_FRAMING`,
			},
		},
		{
			"hosts", // RFC 9113 8.3.1
			func(c, s *speaker) []string {
				return []string{
					c.hello(), s.hello(), c.get(1, "/1", "host: Shop.example:80"), s.answer(1, "1"), c.get(3, "/2", "host: other"), s.answer(3, "2"),
					c.get(5, "/3", "host: shop.example", "host: shop.example"), s.answer(5, "1"), c.post(7, "/4"), c.headers(7, true, "cookie: a=b"), s.answer(7, "2"),
				}
			},
			[]string{
				`1 GET /1 "" → 200 "1"`, `2 GET /2 "" → 200 "2" AMBIGUOUS_FRAMING`, `3 GET /3 "" → 200 "1" AMBIGUOUS_FRAMING`,
				`4 POST /4 "" cookie=a=b → 200 "2" AMBIGUOUS_FRAMING`,
			},
		},
		{
			"trailers, for which there is no room any more",
			func(c, s *speaker) []string {
				return []string{
					c.hello(), s.hello(), c.get(1, "/1"), s.headers(1, false, ":status: 200"), s.data(1, false, "a"), "B:full", s.headers(1, true, "grpc-status: 0"), "B:free",
					c.post(3, "/2"), "B:full", c.headers(3, true, "sum: 1"), "B:free", c.get(5, "/3"), s.answer(5, "1"),
				}
			},
			[]string{`1 GET /1 "" → 200 "a" TRUNCATED_RESPONSE`, `3 GET /3 "" → 200 "1"`},
		},
		{
			"an upgrade",
			func(c, s *speaker) []string {
				return []string{
					"C:GET /0 HTTP/1.1\r\n\r\n", ok1,
					"C:POST /1 HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAAAA\r\nContent-Length: 2\r\n\r\nab",
					"S:HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + s.hello()[2:], c.hello(), c.ack(), s.answer(1, "1"), c.get(3, "/2"), s.answer(3, "2"),
				}
			},
			[]string{`1 GET /0 "" → 200 "1"`, `2 POST /1 "ab" → 200 "1"`, `3 GET /2 "" → 200 "2"`},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			lines := row.talk(speakers())
			var counts Counts
			for _, step := range []int{0, 1, 3, 10, 100} {
				conversation := newTalk(step)
				got := conversation.say(lines...).end()
				if row.name == "malformed requests, each alone" {
					require.Len(t, got, 15)
					for _, line := range got[1:] {
						require.Contains(t, line, "AMBIGUOUS_FRAMING")
					}
					require.Equal(t, int64(2), conversation.Counts.Lost[LostMalformed])
					got = got[:4]
					conversation.Counts.Seen -= 11
				}
				require.Equal(t, row.want, got, "slices of %d bytes", step)
				requireClosed(t, conversation, len(row.want))
				require.Zero(t, conversation.Counts.Opaque)
				require.Zero(t, conversation.Counts.ResponsesUnread)
				if step == 0 {
					counts = conversation.Counts
				}
				require.Equal(t, counts, conversation.Counts, "slices of %d bytes", step)
			}
		})
	}
}

// requireClosed checks that the books are closed.
func requireClosed(t *testing.T, conversation *talk, kept int) {
	t.Helper()
	require.Zero(t, conversation.budget.used.Load(), "the budget is given back")
	require.Zero(t, conversation.waiting)
	lost := int64(0)
	for _, n := range conversation.Counts.Lost {
		lost += n
	}
	require.Equal(t, conversation.Counts.Seen, int64(kept)+lost, "every request seen is handed over or lost")
}

func TestTellsH2AsItWas(t *testing.T) {
	c, s := speakers()
	conversation := newTalk(0)
	body := "\x00\x00\x00\x00\x02hi"
	conversation.say(c.hello(), s.hello(),
		c.post(1, "/p.S/M", "te: trailers", "content-type: application/grpc", "cookie: a=1", "cookie: b=2", "x-bin: \xff"), c.data(1, true, body),
		s.headers(1, false, ":status: 200", "content-type: application/grpc"), s.data(1, false, body), s.headers(1, true, "grpc-status: 0", "grpc-message:"),
	).end()
	x := conversation.got[0]
	field := func(name, value string) traffic.Field { return traffic.Field{Name: []byte(name), Value: []byte(value)} }
	require.Equal(t, traffic.Request{
		Method: []byte("POST"), Scheme: []byte("http"), Authority: []byte("shop.example"), Target: []byte("/p.S/M"), Protocol: []byte("HTTP/2.0"),
		Headers: []traffic.Field{
			field("te", "trailers"), field("content-type", "application/grpc"), field("cookie", "a=1"), field("cookie", "b=2"), field("x-bin", "\xff"),
		},
		Body: []byte(body), BodySize: int64(len(body)),
	}, x.Request)
	require.Equal(t, &traffic.Response{
		Status: 200, Protocol: []byte("HTTP/2.0"), Headers: []traffic.Field{field("content-type", "application/grpc")},
		Body: []byte(body), BodySize: int64(len(body)), Trailers: []traffic.Field{field("grpc-status", "0"), field("grpc-message", "")},
		TTFB: 2 * time.Millisecond, Duration: 4 * time.Millisecond,
	}, x.Response)
	require.Equal(t, time.Unix(1000, 3e6).UTC(), x.CaptureTime)
	require.Equal(t, "c1", string(x.Connection.ID))
}

func TestFollowsTheTableSize(t *testing.T) {
	t.Run("from the acknowledgement on", func(t *testing.T) {
		c, s := speakers()
		big := strings.Repeat("v", 3000)
		lines := []string{c.hello(), s.hello(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 20000}), c.ack(), s.ack()}
		c.encoder.SetMaxDynamicTableSizeLimit(20000)
		c.encoder.SetMaxDynamicTableSize(20000)
		for i := range 5 { // more than 4 KiB are needed for the last
			lines = append(lines, c.get(uint32(2*i+1), "/", "a: "+big+fmt.Sprint(i%2), "b: "+big+fmt.Sprint(i%2)))
		}
		conversation := newTalk(0).say(lines...)
		require.Len(t, conversation.end(), 5)
		require.Zero(t, conversation.Counts.Opaque)
		for i, x := range conversation.got {
			require.Equal(t, big+fmt.Sprint(i%2), string(x.Request.Headers[1].Value))
		}
		requireClosed(t, conversation, 5)
	})
	t.Run("not before it", func(t *testing.T) {
		c, s := speakers()
		c.encoder.SetMaxDynamicTableSizeLimit(20000)
		c.encoder.SetMaxDynamicTableSize(20000)
		conversation := newTalk(0).say(c.hello(), s.hello(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 20000}), c.get(1, "/"))
		require.True(t, conversation.d.Opaque())
		require.Empty(t, conversation.end())
		require.Equal(t, int64(1), conversation.Counts.Opaque[HTTP2])
		requireClosed(t, conversation, 0)
	})
	t.Run("two changes in one block", func(t *testing.T) {
		c, s := speakers()
		lines := []string{c.hello(), s.hello(), c.get(1, "/1", "a: b")}
		c.encoder.SetMaxDynamicTableSize(100)
		c.encoder.SetMaxDynamicTableSize(4096)
		lines = append(lines, c.get(3, "/2", "a: b"))
		conversation := newTalk(0).say(lines...)
		require.Len(t, conversation.end(), 2)
		require.Zero(t, conversation.Counts.Opaque)
	})
}

func TestGivesUpWhatItCannotFollow(t *testing.T) {
	for _, row := range []struct {
		name   string
		talk   func(c, s *speaker) []string
		fault  Fault // 0: only the answers are not read any more
		loss   Loss  // Losses: none
		seen   int64
		opened []string
	}{
		{"a header block of which the beginning is missing", func(c, s *speaker) []string {
			c.encode("a: b")
			return []string{c.hello(), s.hello(), c.get(1, "/", "a: b")}
		}, HTTP2, LostMalformed, 1, nil},
		{"an answer's header block that cannot be decoded", func(c, s *speaker) []string {
			s.encode("a: b")
			return []string{c.hello(), s.hello(), c.get(1, "/1"), s.headers(1, true, ":status: 200", "a: b"), c.get(3, "/2")}
		}, 0, Losses, 2, []string{`1 GET /1 "" NO_RESPONSE`, `2 GET /2 "" NO_RESPONSE`}},
		{"a value beyond the limit", func(c, s *speaker) []string {
			return []string{c.hello(), s.hello(), c.parts(1, true, 16000, "a: "+strings.Repeat("\x01", MaxHeader+1))}
		}, TooLarge, LostLargeHeader, 1, nil},
		{"continuation without end", func(c, s *speaker) []string {
			lines := []string{c.hello(), s.hello(), c.raw(http2.FrameHeaders, 0, 1, "")}
			for range 20 {
				lines = append(lines, c.raw(http2.FrameContinuation, 0, 1, strings.Repeat("\x82", 5000)))
			}
			return lines
		}, TooLarge, LostLargeHeader, 1, nil},
		{"another frame inside a header block", func(c, s *speaker) []string {
			return []string{c.hello(), s.hello(), c.raw(http2.FrameHeaders, 0, 1, "\x82"), c.raw(http2.FramePing, 0, 0, "12345678")}
		}, HTTP2, LostMalformed, 1, nil},
		{"a promise by the client", func(c, s *speaker) []string {
			return []string{c.hello(), s.hello(), c.raw(http2.FramePushPromise, http2.FlagPushPromiseEndHeaders, 1, "\x00\x00\x00\x02\x82")}
		}, HTTP2, Losses, 0, nil},
		{"a stream that only servers open", func(c, s *speaker) []string { return []string{c.hello(), s.hello(), c.get(2, "/")} }, HTTP2, Losses, 0, nil},
		{"padding beyond the frame", func(c, s *speaker) []string {
			return []string{c.hello(), s.hello(), c.raw(http2.FrameData, http2.FlagDataPadded, 1, "\x05abc")}
		}, HTTP2, Losses, 0, nil},
		{"a flood of settings", func(c, s *speaker) []string {
			return []string{c.hello(), s.hello(), strings.Repeat(c.settings(), 1)[:2] + strings.Repeat(c.settings()[2:], 20)}
		}, HTTP2, Losses, 0, nil},
		{"not HTTP/2 after all", func(c, s *speaker) []string { return []string{"S:\x00\x00\x00\x04\x00\x00\x00\x00\x00", "C:hello"} }, NotHTTP, Losses, 0, nil},
		{"another protocol, whose server speaks first", func(c, s *speaker) []string { return []string{"S:\x00\x00\x00\x01\x00\x00\x00\x00\x00"} }, NotHTTP, Losses, 0, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			lines := row.talk(speakers())
			for _, step := range []int{0, 1, 9} {
				conversation := newTalk(step).say(lines...)
				require.Equal(t, row.fault != 0, conversation.d.Opaque())
				if row.fault != 0 {
					require.Nil(t, conversation.d.h2, "nothing is held any more")
					require.Equal(t, int64(1), conversation.Counts.Opaque[row.fault])
				} else {
					require.Equal(t, int64(1), conversation.Counts.ResponsesUnread)
				}
				require.Equal(t, row.opened, conversation.end())
				require.Equal(t, row.seen, conversation.Counts.Seen)
				if row.loss < Losses {
					require.Equal(t, int64(1), conversation.Counts.Lost[row.loss])
				}
				requireClosed(t, conversation, len(row.opened))
			}
		})
	}
}

func TestALargeHeaderCostsOneStream(t *testing.T) {
	c, s := speakers()
	var many []string
	for i := range MaxFields + 1 {
		many = append(many, fmt.Sprintf("a: %d", i%10))
	}
	bomb := []string{"a: " + strings.Repeat("b", 4000)}
	for range 10000 { // a byte each
		bomb = append(bomb, bomb[0])
	}
	conversation := newTalk(0).say(c.hello(), s.hello(), c.get(1, "/1", many...), c.get(3, "/2"), s.answer(3, "2"), c.parts(5, true, 16000, request("GET", "/3", bomb...)...),
		c.get(7, "/4", bomb[0]), s.headers(7, false, append([]string{":status: 200"}, bomb...)...), c.get(9, "/5", bomb[0]), s.answer(9, "5"))
	require.Equal(t, []string{`2 GET /2 "" → 200 "2"`, `4 GET /4 "" NO_RESPONSE`, `5 GET /5 "" → 200 "5"`}, conversation.end())
	require.Equal(t, int64(2), conversation.Counts.Lost[LostLargeHeader])
	require.Equal(t, bomb[0][3:], string(conversation.got[2].Request.Headers[0].Value), "compression has kept up")
	require.Less(t, cap(conversation.fields.block), 2*MaxHeader)
	requireClosed(t, conversation, 3)
}

func TestBoundsTheStreamsThatAreOpen(t *testing.T) {
	c, s := speakers()
	conversation := newTalk(0).say(c.hello(), s.hello())
	for i := range maxStreams + 10 {
		conversation.say(c.get(uint32(2*i+1), "/"))
	}
	require.Len(t, conversation.d.h2.streams, maxStreams)
	require.Equal(t, int64(10), conversation.Counts.Lost[LostStreams])
	conversation.say("C:wait") // their exchanges are handed over; the streams may be answered yet
	require.Len(t, conversation.got, maxStreams)
	last := uint32(2*maxStreams + 21)
	conversation.say(c.get(last, "/last"), s.answer(1, "late"), s.answer(last, "1"))
	require.Len(t, conversation.end(), maxStreams+1)
	requireClosed(t, conversation, maxStreams+1)
}

func TestShedsStreamsThatTheBudgetRefuses(t *testing.T) {
	c, s := speakers()
	conversation := newTalk(0)
	conversation.budget.limit = 10 // not even the connection itself
	conversation.say(c.hello(), s.hello(), c.get(1, "/1"), s.answer(1, "1"), c.parts(3, true, 20, request("GET", "/2")...))
	conversation.budget.limit = 1 << 20
	conversation.say(c.get(5, "/3"), s.answer(5, "3"), c.post(7, "/4"))
	conversation.budget.limit = conversation.budget.used.Load()
	conversation.say(c.data(7, true, strings.Repeat("x", 90)))
	conversation.budget.limit = 1 << 20
	require.Equal(t, []string{`3 GET /3 "" → 200 "3"`}, conversation.end())
	require.Equal(t, int64(3), conversation.Counts.Lost[LostMemory])
	requireClosed(t, conversation, 1)

	long := newTalk(1000)
	long.budget.limit = 5000
	long.say(c.hello(), c.raw(http2.FrameHeaders, 0, 1, strings.Repeat("\x82", 10000)))
	require.True(t, long.d.Opaque())
	require.Empty(t, long.end())
	require.Equal(t, int64(1), long.Counts.Opaque[NoMemory])
	require.Equal(t, int64(1), long.Counts.Lost[LostMemory])
	requireClosed(t, long, 0)
}

func TestAGapEndsAnH2Dialog(t *testing.T) {
	for _, n := range []int64{-1, 0, 100} {
		c, s := speakers()
		conversation := newTalk(0).say(c.hello(), s.hello(), c.get(1, "/1"), s.headers(1, false, ":status: 200"), s.data(1, false, "a"), c.post(3, "/2"), c.get(5, "/3"))
		conversation.h2Gap(&conversation.d, fromServer, n, conversation.now)
		require.True(t, conversation.d.Opaque())
		conversation.say(c.get(7, "/4"), s.answer(5, "3"))
		require.Equal(t, []string{`1 GET /1 "" → 200 "a" TRUNCATED_RESPONSE,GAP`, `2 POST /2 "" NO_RESPONSE,TRUNCATED_REQUEST,GAP`, `3 GET /3 "" NO_RESPONSE,GAP`},
			conversation.end())
		require.Equal(t, int64(1), conversation.Counts.Opaque[HTTP2])
		requireClosed(t, conversation, 3)
	}
}

func TestAGapBehindAFaultChangesNothing(t *testing.T) {
	c, s := speakers()
	conversation := newTalk(0).say(c.hello(), s.hello(), c.get(1, "/1"), c.raw(http2.FrameData, http2.FlagDataPadded, 1, "\x05abc"))
	conversation.h2Gap(&conversation.d, fromClient, 1, conversation.now)
	require.Equal(t, []string{`1 GET /1 "" → 200 "1"`}, conversation.say(s.answer(1, "1")).end())
	require.Equal(t, int64(1), conversation.Counts.Opaque[HTTP2])
	requireClosed(t, conversation, 1)
}

func TestAGapInABodyCostsItsStream(t *testing.T) {
	c, s := speakers()
	conversation := newTalk(0).say(c.hello(), s.hello(), c.get(1, "/1"), c.get(3, "/2"), s.headers(1, false, ":status: 200"))
	body := s.padded(1, true, "0123456789")
	conversation.say(body[:2+frameHead+1+3])
	conversation.h2Gap(&conversation.d, fromServer, 7, conversation.now) // the rest of it
	conversation.say("S:"+body[2+frameHead+1+10:], s.answer(3, "2"))
	body = c.post(5, "/3", "content-length: 4") + c.data(5, true, "abcd")[2:]
	conversation.say(body[:len(body)-4])
	conversation.h2Gap(&conversation.d, fromClient, 2, conversation.now)
	conversation.say("C:"+body[len(body)-2:], s.answer(5, "3"), c.get(7, "/4"), s.answer(7, "4"))
	require.Equal(t, []string{
		`1 GET /1 "" → 200 "012" TRUNCATED_RESPONSE,GAP`, `2 GET /2 "" → 200 "2"`, `3 POST /3 "" of 4 NO_RESPONSE,TRUNCATED_REQUEST,GAP`, `4 GET /4 "" → 200 "4"`,
	}, conversation.end())
	require.Zero(t, conversation.Counts.Opaque)
	requireClosed(t, conversation, 4)
}

func TestAPanicCostsOneH2Dialog(t *testing.T) {
	c, s := speakers()
	conversation := newTalk(0).say(c.hello(), s.hello(), c.get(1, "/1"), c.get(3, "/2"))
	conversation.budget.panic = true
	conversation.say(c.get(5, "/3"))
	conversation.budget.panic = false
	require.True(t, conversation.d.Opaque())
	require.Empty(t, conversation.say(s.answer(1, "1")).end())
	requireClosed(t, conversation, 0)
}

func TestKnowsWhetherAnH2DialogIsIdle(t *testing.T) {
	c, s := speakers()
	conversation := newTalk(0).say(c.hello(), s.hello())
	require.True(t, conversation.d.Idle())
	conversation.say(c.get(1, "/1"))
	require.False(t, conversation.d.Idle())
	answer := s.answer(1, "1")
	conversation.say(answer[:len(answer)-1])
	require.False(t, conversation.d.Idle())
	conversation.say("S:" + answer[len(answer)-1:])
	require.True(t, conversation.d.Idle())
	require.False(t, conversation.d.Opaque())
	require.False(t, conversation.say("C:\x00").d.Idle())
}

func TestAnIdleH2DialogIsSmall(t *testing.T) {
	const dialogs = 500
	measure := func(exchanges int) (bytes, booked int) {
		r := newTalk(0)
		kept := make([]Dialog, dialogs)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range kept {
			c, s := speakers()
			conversation := &talk{Recorder: r.Recorder, now: r.now, budget: r.budget}
			conversation.d.Start(nil, nil, nil)
			conversation.say(c.hello(), s.hello(), c.ack(), s.ack())
			for j := range exchanges {
				conversation.say(c.get(uint32(2*j+1), fmt.Sprintf("/items/%d", j), "user-agent: test/1", "accept: */*"), s.answer(uint32(2*j+1), "1"))
			}
			kept[i] = conversation.d
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(kept)
		return int(after.HeapAlloc-before.HeapAlloc) / dialogs, int(r.budget.used.Load()) / dialogs
	}
	size, booked := measure(0)
	t.Logf("without exchanges: %d bytes, %d booked", size, booked)
	require.Less(t, size, 8<<10)
	size, booked = measure(100)
	t.Logf("with full tables: %d bytes, %d booked", size, booked)
	require.Less(t, size, 8<<10+2*tableCost*defaultTable)
	require.Greater(t, 2*booked, size)
}
