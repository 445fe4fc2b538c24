package traffic

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

// shopExchange is an ordinary one, with everything set.
func shopExchange() *Exchange {
	return &Exchange{
		ID:          MakeID([16]byte{0x9f, 0x3c, 0x11}, 0x18a2),
		CaptureTime: time.Date(2026, 11, 22, 13, 42, 10, 118_000_001, time.UTC),
		TimeSource:  OwnClock,
		RulesDigest: []byte("digest"),
		Source:      Source{Kind: Proxy, Name: []byte("gateway-1")},
		Connection:  Connection{ID: []byte("c7"), Sequence: 3, Client: []byte("10.0.0.9:51234"), Server: []byte("10.0.0.1:80")},
		Session:     []byte("s-5c1f"),
		SampleHash:  0xfedcba9876543210,
		Redactions:  []Redaction{{Rule: "authorization", Version: 1, KeyID: "k1", Location: "request.header:Authorization#0"}},
		Flags:       TruncatedResponse | ClockAhead,
		Request: Request{
			Method: []byte("POST"), Scheme: []byte("http"), Authority: []byte("shop.example.com"),
			Target: []byte("/cart?item=42"), Protocol: []byte("HTTP/1.1"),
			Headers: []Field{
				{Name: []byte("Host"), Value: []byte("shop.example.com")},
				{Name: []byte("Authorization"), Value: []byte("Bearer pseudonym")},
				{Name: []byte("X-Twice"), Value: []byte("1")},
				{Name: []byte("x-twice"), Value: []byte("2")},
			},
			Body: []byte(`{"item":42}`), BodySize: 11,
			Trailers: []Field{{Name: []byte("X-Sum"), Value: []byte("abc")}},
		},
		Response: &Response{
			Status: 201, Protocol: []byte("HTTP/1.1"),
			Headers: []Field{{Name: []byte("Content-Type"), Value: []byte("application/json")}},
			Body:    []byte(`{"ok":true`), BodySize: 11, TTFB: 3 * time.Millisecond, Duration: 4 * time.Millisecond,
		},
	}
}

func TestDecodeGivesBackWhatWasEncoded(t *testing.T) {
	want := shopExchange()
	var d Decoder
	var got Exchange
	require.NoError(t, d.Decode(AppendExchange(nil, want), &got))
	want.Response.Trailers = got.Response.Trailers // empty, not nil
	require.Equal(t, want, &got)
}

func TestDecodeIntoAUsedExchangeLeavesNothingOfTheOld(t *testing.T) {
	var d Decoder
	var x Exchange
	require.NoError(t, d.Decode(AppendExchange(nil, shopExchange()), &x))
	small := AppendExchange(nil, &Exchange{ID: ID{7}, Response: &Response{Status: 204}})
	require.NoError(t, d.Decode(small, &x))
	require.Equal(t, small, AppendExchange(nil, &x))
	none := AppendExchange(nil, &Exchange{ID: ID{8}})
	require.NoError(t, d.Decode(none, &x))
	require.Nil(t, x.Response)
	require.Equal(t, none, AppendExchange(nil, &x))
}

func TestDecodeRefusesCorruptRecords(t *testing.T) {
	whole := AppendExchange(nil, shopExchange())
	for name, b := range map[string][]byte{
		"empty":              nil,
		"no id":              AppendExchange(nil, &Exchange{Session: []byte("s")}),
		"id of 3 bytes":      protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), []byte("abc")),
		"length beyond end":  append(AppendExchange(nil, &Exchange{ID: ID{1}}), 0x3a, 0x7f, 'x'),
		"text":               []byte("GET / HTTP/1.1\r\n\r\n"),
		"field number 0":     {0x00, 0x01},
		"group without end":  {0x0b, 0x08, 0x01},
		"varint without end": {0x18, 0xff, 0xff},
	} {
		t.Run(name, func(t *testing.T) {
			var d Decoder
			require.ErrorIs(t, d.Decode(b, new(Exchange)), ErrCorrupt)
		})
	}
	// Cut anywhere, it is refused or what was whole of it is read; never a panic.
	for i := range whole {
		var d Decoder
		if err := d.Decode(whole[:i], new(Exchange)); err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
		}
	}
}

func TestDecodeSkipsUnknownFields(t *testing.T) {
	b := AppendExchange(nil, &Exchange{ID: ID{1}})
	b = protowire.AppendVarint(protowire.AppendTag(b, 99, protowire.VarintType), 5)
	b = protowire.AppendBytes(protowire.AppendTag(b, 100, protowire.BytesType), []byte("new"))
	b = protowire.AppendFixed32(protowire.AppendTag(b, 101, protowire.Fixed32Type), 5)
	var d Decoder
	require.NoError(t, d.Decode(b, new(Exchange)))
}

func TestDecodeReadsUnpackedFlags(t *testing.T) {
	b := AppendExchange(nil, &Exchange{ID: ID{1}})
	for _, n := range []uint64{1, 7, 200 /* newer than this reader */} {
		b = protowire.AppendVarint(protowire.AppendTag(b, 10, protowire.VarintType), n)
	}
	var d Decoder
	var x Exchange
	require.NoError(t, d.Decode(b, &x))
	require.Equal(t, RequestOnly|Gap, x.Flags)
}

func TestDecoderKeepsOneCopyOfRuleNames(t *testing.T) {
	var d Decoder
	b := AppendExchange(nil, shopExchange())
	var x Exchange
	require.NoError(t, d.Decode(b, &x))
	allocs := testing.AllocsPerRun(100, func() {
		if err := d.Decode(b, &x); err != nil {
			t.Fatal(err)
		}
	})
	require.Zero(t, allocs)
}

func TestDecoderRemembersABoundedNumberOfNames(t *testing.T) {
	var d Decoder
	var x Exchange
	for i := range maxInterned + 100 {
		x.Redactions = []Redaction{{Location: strings.Repeat("x", i)}}
		x.ID = ID{1}
		require.NoError(t, d.Decode(AppendExchange(nil, &x), new(Exchange)))
	}
	require.LessOrEqual(t, len(d.names), maxInterned)
}

func FuzzDecode(f *testing.F) {
	whole := AppendExchange(nil, shopExchange())
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	r := random{rand.New(rand.NewPCG(1, 2)), []byte("text")}
	for range 16 {
		f.Add(AppendExchange(nil, r.exchange()))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var d Decoder
		var x, again Exchange
		if err := d.Decode(b, &x); err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		once := AppendExchange(nil, &x)
		require.NoError(t, d.Decode(once, &again))
		require.Equal(t, once, AppendExchange(nil, &again))
	})
}

func BenchmarkDecode(b *testing.B) {
	buf := AppendExchange(nil, shopExchange())
	var d Decoder
	var x Exchange
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Decode(buf, &x); err != nil {
			b.Fatal(err)
		}
	}
}
