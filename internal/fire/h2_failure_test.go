package fire_test

import (
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/reprise-io/reprise/internal/fire"
)

func TestWhatTheTargetDoesOverHTTP2HasAReason(t *testing.T) {
	big := strings.Repeat("x", 20<<10)
	for _, row := range []struct {
		name   string
		serve  func(p *h2Peer, id uint32)
		reason string // empty: answered
		check  func(t *testing.T, a fire.Answer)
	}{
		{"reset", func(p *h2Peer, id uint32) { _ = p.WriteRSTStream(id, http2.ErrCodeInternal) }, fire.Reset, nil},
		{"reset inside the body", func(p *h2Peer, id uint32) {
			p.head(id, false, ":status", "200")
			_ = p.WriteData(id, false, []byte("abc"))
			_ = p.WriteRSTStream(id, http2.ErrCodeCancel)
		}, fire.Reset, nil},
		{"closed", func(p *h2Peer, _ uint32) { p.Close() }, fire.Closed, nil},
		{"closed inside the body", func(p *h2Peer, id uint32) {
			p.head(id, false, ":status", "200")
			p.Close()
		}, fire.Closed, nil},
		{"closed inside a frame", func(p *h2Peer, id uint32) {
			_ = p.WriteRawFrame(http2.FrameHeaders, 0, id, nil)
			_, _ = p.Conn.Write([]byte{0, 0})
			p.Close()
		}, fire.Closed, nil},
		{"GOAWAY that names the stream, then closed", func(p *h2Peer, id uint32) {
			_ = p.WriteGoAway(id, http2.ErrCodeEnhanceYourCalm, nil)
			p.Close()
		}, fire.Closed, func(t *testing.T, a fire.Answer) { require.ErrorContains(t, a.Err, "ENHANCE_YOUR_CALM") }},
		{"GOAWAY, and the answer all the same", func(p *h2Peer, id uint32) {
			_ = p.WriteGoAway(id, http2.ErrCodeNo, nil)
			p.answer(id)
		}, "", nil},
		{"reset without fault behind the answer", func(p *h2Peer, id uint32) {
			p.answer(id)
			_ = p.WriteRSTStream(id, http2.ErrCodeNo)
		}, "", nil},
		{"1xx before it", func(p *h2Peer, id uint32) {
			p.head(id, false, ":status", "103", "link", "x")
			p.answer(id)
		}, "", nil},
		{"trailers", func(p *h2Peer, id uint32) {
			p.head(id, false, ":status", "200")
			p.head(id, true, "grpc-status", "7")
		}, "", func(t *testing.T, a fire.Answer) { require.Equal(t, "grpc-status=7", fields(a.Response.Trailers)) }},
		{"a body over what is kept", func(p *h2Peer, id uint32) {
			p.head(id, false, ":status", "200")
			for range 3 {
				_ = p.WriteData(id, false, []byte(big[:16<<10]))
			}
			_ = p.WriteData(id, true, nil)
		}, "", func(t *testing.T, a fire.Answer) {
			require.True(t, a.Truncated)
			require.Len(t, a.Response.Body, 1000)
			require.EqualValues(t, 48<<10, a.Response.BodySize)
		}},
		{"no status", func(p *h2Peer, id uint32) { p.head(id, true, "a", "b") }, fire.BadAnswer, nil},
		{"a status of letters", func(p *h2Peer, id uint32) { p.head(id, true, ":status", "ok") }, fire.BadAnswer, nil},
		{"101", func(p *h2Peer, id uint32) { p.head(id, false, ":status", "101") }, fire.BadAnswer, nil},
		{"an end after 1xx", func(p *h2Peer, id uint32) { p.head(id, true, ":status", "103") }, fire.BadAnswer, nil},
		{"two heads", func(p *h2Peer, id uint32) {
			p.head(id, false, ":status", "200")
			p.head(id, false, ":status", "200")
		}, fire.BadAnswer, nil},
		{"an upper-case name", func(p *h2Peer, id uint32) { p.head(id, true, ":status", "200", "X-A", "1") }, fire.BadAnswer, nil},
		{"a head too large", func(p *h2Peer, id uint32) {
			var all []string
			for range 100 {
				all = append(all, "x", "0123456789012345678901234567890123456789012345678901234567890123456789"+big[:700])
			}
			p.head(id, true, append([]string{":status", "200"}, all[:20]...)...) // still allowed
		}, "", nil},
		{"a head far too large", func(p *h2Peer, id uint32) {
			p.head(id, false, ":status", "200")
			for range 5 {
				_ = p.WriteRawFrame(http2.FrameHeaders, 0, id, nil)
				for range 20 {
					_ = p.WriteContinuation(id, false, []byte("\x00\x01a\x7f\x81\x7e"+big[:16<<10-10]))
				}
			}
		}, fire.BadAnswer, nil},
		{"DATA before the head", func(p *h2Peer, id uint32) { _ = p.WriteData(id, true, []byte("x")) }, fire.BadAnswer, nil},
		{"a stream nobody opened", func(p *h2Peer, id uint32) { _ = p.WriteData(id+2, true, []byte("x")) }, fire.BadAnswer, nil},
		{"a push", func(p *h2Peer, id uint32) {
			_ = p.WritePushPromise(http2.PushPromiseParam{StreamID: id, PromiseID: 2, BlockFragment: []byte{0x82}, EndHeaders: true})
		}, fire.BadAnswer, nil},
		{"a frame too large", func(p *h2Peer, id uint32) { _ = p.WriteRawFrame(http2.FrameData, 0, id, []byte(big)) }, fire.BadAnswer, nil},
		{"no HPACK", func(p *h2Peer, id uint32) {
			_ = p.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, id, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
		}, fire.BadAnswer, nil},
		{"a window over its end", func(p *h2Peer, _ uint32) { _ = p.WriteWindowUpdate(0, 1<<31-1) }, fire.BadAnswer, nil},
		{"a stream's window over its end", func(p *h2Peer, id uint32) { _ = p.WriteWindowUpdate(id, 1<<31-1) }, fire.BadAnswer, nil},
		{"bad settings", func(p *h2Peer, _ uint32) {
			_ = p.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1})
		}, fire.BadAnswer, nil},
		{"frames of kinds to come", func(p *h2Peer, id uint32) {
			_ = p.WriteRawFrame(0xbe, 0, id, []byte("x"))
			_ = p.WritePing(false, [8]byte{1})
			p.answer(id)
		}, "", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			target := h2Listen(t, func(p *h2Peer, _ int) {
				p.AllowIllegalWrites = true
				r, err := p.request()
				if err != nil {
					return
				}
				row.serve(p, r.id)
				_, _ = io.Copy(io.Discard, p.Conn)
			})
			s := sender(t, target, func(cfg *fire.SenderConfig) {
				overH2(cfg)
				cfg.BodyMax = 1000
			})
			a := fireOne(t, s, post())
			require.Equal(t, row.reason, a.Reason, "%v", a.Err)
			require.Equal(t, row.reason == "", a.Response != nil)
			require.Equal(t, 1, a.Attempts)
			if row.check != nil {
				row.check(t, a)
			}
			require.NoError(t, s.Close())
			require.Zero(t, s.Stats().Open)
		})
	}
}

func TestATargetWithoutHTTP2IsSaidToBe(t *testing.T) {
	for name, answer := range map[string]string{"an answer": "HTTP/1.1 400 Bad Request\r\n\r\n", "nothing": ""} {
		target := listen(t, func(c net.Conn, _ int) {
			_, _ = io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
			_, _ = io.WriteString(c, answer)
		})
		a := fireOne(t, sender(t, target, overH2), get())
		require.Equal(t, fire.BadAnswer, a.Reason, name)
		require.ErrorContains(t, a.Err, "does not speak HTTP/2")
	}
	silent := fireOne(t, sender(t, listen(t, mute), func(cfg *fire.SenderConfig) {
		overH2(cfg)
		cfg.Timeout = 100 * time.Millisecond
	}), get())
	require.Equal(t, fire.ConnectTimeout, silent.Reason)
}

func TestWhatTheTargetHasNotLookedAtIsSentAgain(t *testing.T) {
	for name, refuse := range map[string]func(p *h2Peer, id uint32){
		"REFUSED_STREAM": func(p *h2Peer, id uint32) { _ = p.WriteRSTStream(id, http2.ErrCodeRefusedStream) },
		"GOAWAY before it": func(p *h2Peer, _ uint32) {
			_ = p.WriteGoAway(0, http2.ErrCodeNo, nil)
			p.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			target := h2Listen(t, func(p *h2Peer, _ int) {
				for {
					r, err := p.request()
					if err != nil {
						return
					}
					if asked.Add(1) == 1 {
						refuse(p, r.id)
					} else {
						p.answer(r.id)
					}
				}
			})
			s := sender(t, target, overH2)
			a := fireOne(t, s, post()) // a write
			require.Empty(t, a.Reason, "%v", a.Err)
			require.Equal(t, 1, a.Attempts, "that is no retry of the policy")
			require.Equal(t, 1, a.Resent)
		})
	}
}

func TestAWriteOverHTTP2IsNotSentAgainOnceItMayHaveArrived(t *testing.T) {
	var asked atomic.Int64
	target := h2Listen(t, func(p *h2Peer, _ int) {
		for i := range 2 {
			r, err := p.request()
			if err != nil {
				return
			}
			asked.Add(1)
			if i == 0 {
				p.answer(r.id)
			}
		}
		p.Close()
	})
	s := sender(t, target, func(cfg *fire.SenderConfig) {
		overH2(cfg)
		cfg.Retries = 2
	})
	require.Empty(t, fireOne(t, s, post()).Reason)
	a := fireOne(t, s, post())
	require.Equal(t, fire.Closed, a.Reason)
	require.Equal(t, 1, a.Attempts)
	require.EqualValues(t, 2, asked.Load())
}

// A peer that asks for replies and reads none must not make us keep them, nor wait for it.
func TestAFloodOfPingsEndsTheConnection(t *testing.T) {
	target := h2Listen(t, func(p *h2Peer, _ int) {
		if _, err := p.request(); err != nil {
			return
		}
		for p.WritePing(false, [8]byte{}) == nil { // and never reads
		}
	})
	s := sender(t, target, func(cfg *fire.SenderConfig) {
		overH2(cfg)
		cfg.Timeout = time.Minute
	})
	a := fireOne(t, s, get())
	require.Equal(t, fire.BadAnswer, a.Reason, "%v", a.Err)
	require.ErrorContains(t, a.Err, "does not read")
	require.NoError(t, s.Close())
}

func TestTimeoutsAndCancelsEndStreams(t *testing.T) {
	serve := func(arrived chan<- string) func(*h2Peer, int) {
		return func(p *h2Peer, _ int) {
			for {
				r, err := p.request()
				if err != nil {
					return
				}
				arrived <- r.fields[3]
				if r.fields[3] == ":path=/" {
					p.answer(r.id)
				}
			}
		}
	}
	slow := exchange("GET /slow\nHost: s", "")
	s := sender(t, h2Listen(t, serve(make(chan string, 1<<16))), func(cfg *fire.SenderConfig) {
		overH2(cfg)
		cfg.Timeout = 300 * time.Millisecond
	})
	require.Eventually(t, func() bool { return fireOne(t, s, get()).Reason == "" }, time.Minute, time.Millisecond)
	require.Equal(t, fire.Timeout, fireOne(t, s, slow).Reason)
	require.NoError(t, s.Close())

	arrived := make(chan string, 10)
	patient := sender(t, h2Listen(t, serve(arrived)), overH2)
	require.Empty(t, fireOne(t, patient, get()).Reason)
	require.Equal(t, ":path=/", <-arrived)
	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan fire.Answer)
	go func() {
		shot, _ := patient.Prepare(slow, fire.Mark{})
		answer <- patient.Fire(ctx, shot)
	}()
	require.Equal(t, ":path=/slow", <-arrived)
	cancel()
	require.Equal(t, fire.Canceled, (<-answer).Reason)
	shot, _ := patient.Prepare(get(), fire.Mark{})
	require.Equal(t, fire.Canceled, patient.Fire(ctx, shot).Reason)
	require.Empty(t, patient.Fire(t.Context(), shot).Reason)
	require.Equal(t, ":path=/", <-arrived)
	require.Empty(t, arrived, "nothing is sent under an ended context")
	require.EqualValues(t, 1, patient.Stats().Dialed, "the others of the connection went on")
}

// Whatever the target writes, a shot ends, and so does the sender.
func FuzzHTTP2Answer(f *testing.F) {
	frames := func(write func(p *h2Peer)) []byte {
		var out strings.Builder
		p := &h2Peer{Framer: http2.NewFramer(&out, nil)}
		write(p)
		return []byte(out.String())
	}
	f.Add(frames(func(p *h2Peer) { p.answer(1) }))
	f.Add(frames(func(p *h2Peer) { _ = p.WriteGoAway(1, http2.ErrCodeNo, nil) }))
	f.Add(frames(func(p *h2Peer) { _ = p.WriteRSTStream(1, http2.ErrCodeCancel) }))
	f.Add(frames(func(p *h2Peer) {
		_ = p.WriteWindowUpdate(0, 5)
		_ = p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
		p.head(1, false, ":status", "200")
		p.head(1, true, "grpc-status", "0")
	}))
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		target := h2Listen(t, func(p *h2Peer, _ int) {
			if _, err := p.request(); err == nil {
				_, _ = p.Conn.Write(answer)
				_ = p.Conn.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, p.Conn)
			}
		})
		s := sender(t, target, overH2)
		if a := fireOne(t, s, post()); a.Reason == "" {
			require.NotNil(t, a.Response)
			require.NotZero(t, a.Response.Status)
		}
		require.NoError(t, s.Close())
	})
}
