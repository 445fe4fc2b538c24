package wire

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/reprise-io/reprise/internal/traffic"
)

// h2Seeds are what both sides say, without the hello.
func h2Seeds() (seeds [][2]string) {
	add := func(talk func(c, s *speaker) []string) {
		var both [2]string
		for _, line := range talk(speakers()) {
			both[strings.Index("CS", line[:1])] += line[2:]
		}
		seeds = append(seeds, both)
	}
	add(func(c, s *speaker) []string { return []string{c.ack(), s.ack(), c.get(1, "/1"), s.answer(1, "1")} })
	add(func(c, s *speaker) []string {
		return []string{
			c.post(1, "/1", "content-length: 4"), c.get(3, "/2", "a: b"), c.padded(1, true, "abcd"), s.answer(3, "2"), s.headers(1, false, ":status: 103"),
			s.headers(1, false, ":status: 200"), s.data(1, false, "ab"), s.headers(1, true, "grpc-status: 0"), c.get(5, "/2", "a: b"), c.reset(5), s.goAway(3),
		}
	})
	add(func(c, s *speaker) []string {
		return []string{
			c.parts(1, false, 7, request("POST", "/1", "reprise-replay: x")...), c.data(1, false, "ab"), c.headers(1, true, "sum: 1"), s.parts(1, true, 5, ":status: 500"),
			c.headers(3, false, ":method: CONNECT", ":authority: a:1"), s.headers(3, false, ":status: 200"), c.get(5, "/"), s.reset(5), s.reset(3),
		}
	})
	add(func(c, s *speaker) []string {
		c.encoder.SetMaxDynamicTableSizeLimit(9000)
		c.encoder.SetMaxDynamicTableSize(9000)
		return []string{
			s.settings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 9000}), c.ack(), c.get(1, "/1", "a: "+strings.Repeat("x", 4000), "b: "+strings.Repeat("y", 4000)),
			c.get(3, "/1", "a: "+strings.Repeat("x", 4000)), s.raw(http2.FramePushPromise, 4, 1, "\x00\x00\x00\x02\x82\x84"), s.headers(2, true, ":status: 200"),
		}
	})
	return seeds
}

// FuzzH2: whatever both sides say in whatever slices, the same exchanges come out, everything seen is accounted for, what is
// held is bounded and every byte of the budget comes back.
func FuzzH2(f *testing.F) {
	for _, seed := range h2Seeds() {
		f.Add([]byte(seed[0]), []byte(seed[1]), uint8(200), uint8(9), int64(1<<20), true)
		f.Add([]byte(seed[0]), []byte(seed[1]), uint8(20), uint8(2), int64(3000), true)
	}
	upgrade := "GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAAAA\r\n\r\n"
	f.Add([]byte(upgrade), []byte("HTTP/1.1 101 S\r\nUpgrade: h2c\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"), uint8(255), uint8(9), int64(1<<20), false)
	f.Fuzz(func(t *testing.T, requests, responses []byte, cut, step uint8, limit int64, hello bool) {
		if hello {
			c, s := speakers()
			requests = append([]byte(c.hello()[2:]), requests...)
			responses = append([]byte(s.hello()[2:]), responses...)
		}
		at, half := len(requests)*int(cut)/255, len(responses)/2
		play := func(step int, limit int64) []string {
			conversation := newTalk(step)
			conversation.budget.limit = limit
			conversation.say("C:"+string(requests[:at]), "S:"+string(responses[:half]), "C:"+string(requests[at:]), "S:"+string(responses[half:]))
			if c := conversation.d.h2; c != nil {
				require.LessOrEqual(t, len(c.streams), maxStreams)
				for i := range c.sides {
					require.LessOrEqual(t, cap(c.sides[i].buf), 2*MaxHeader)
					require.LessOrEqual(t, len(c.sides[i].sizes), maxUnacknowledged)
				}
			}
			require.LessOrEqual(t, cap(conversation.fields.block), 2*MaxHeader)
			got := conversation.end()
			requireClosed(t, conversation, len(got))
			require.Zero(t, conversation.Counts.Lost[LostPanic])
			require.Zero(t, conversation.Counts.Opaque[0])
			for _, x := range conversation.got {
				if x.Flags.Unreplayable() == 0 {
					require.NotContains(t, string(x.Request.Target), " ")
					require.False(t, hasControl(x.Request.Target))
				}
			}
			return got
		}
		play(int(step)+1, limit&0xffff)
		whole := play(0, 1<<30)
		require.Equal(t, whole, play(int(step)+1, 1<<30))
		require.Equal(t, whole, play(1, 1<<30))
	})
}

// FuzzHeaderBlocks: what is decoded is what the library says a block holds, and the next block too, be it kept or not.
func FuzzHeaderBlocks(f *testing.F) {
	s := newSpeaker("C:")
	f.Add(s.encode(request("GET", "/", "a: b", "cookie: c")...), s.encode("a: b"), false)
	f.Add([]byte("\x3f\xe1\x1f\x20\x82"), []byte("\x82"), true)
	f.Add(append(s.encode("big: "+strings.Repeat("x", 3000)), strings.Repeat("\xbe", 30)...), []byte("\xbe"), true)
	if dir, ok := findCases(f, "hpack"); ok {
		files, _ := filepath.Glob(filepath.Join(dir, "*.json"))
		for i, file := range files {
			blocks := readStory(f, file).Cases
			f.Add(unhex(f, blocks[0].Wire), unhex(f, blocks[1].Wire), i%2 == 0)
		}
	}
	f.Fuzz(func(t *testing.T, first, second []byte, response bool) {
		var r fieldReader
		var h Head
		theirs := hpack.NewDecoder(defaultTable, nil)
		theirs.SetMaxStringLength(MaxHeader)
		side := h2Side{allowed: defaultTable}
		for _, block := range [][]byte{first, second} {
			if len(block) > MaxHeader {
				return
			}
			side.block = block
			tooLarge, fault := side.decode(&r, &h, response)
			fields, err := theirs.DecodeFull(block)
			if fault != 0 {
				require.Error(t, err)
				return
			}
			if err != nil { // sizes beyond the first, which we take one by one
				require.NotEmpty(t, block)
				require.Equal(t, byte(0x20), block[0]&0xe0)
				return
			}
			if tooLarge {
				continue
			}
			require.LessOrEqual(t, len(h.Block), MaxHeader)
			var want []traffic.Field
			for _, f := range fields {
				ok := tokenLength([]byte(f.Name)) == len(f.Name) && f.Name != ""
				if !response {
					ok = isLowerToken(f.Name) && !hasControl([]byte(f.Value))
				}
				if ok {
					want = append(want, traffic.Field{Name: []byte(f.Name), Value: []byte(f.Value)})
				}
			}
			got := h.AppendFields(nil, h.Block)
			require.Len(t, got, len(want))
			for i := range want {
				require.Equal(t, string(want[i].Name), string(got[i].Name))
				require.Equal(t, string(want[i].Value), string(got[i].Value))
			}
		}
	})
}
