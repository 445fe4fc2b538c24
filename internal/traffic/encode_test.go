package traffic

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// The generated structs and proto.Marshal are the reference: what AppendExchange writes must be what they would.

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	require.NoError(t, err)
	return b
}

func exchangeMessage(x *Exchange) *reprisev1.Exchange {
	m := &reprisev1.Exchange{
		CaptureTimeUnixNano: unixNano(x.CaptureTime),
		TimeSource:          reprisev1.TimeSource(x.TimeSource),
		RulesDigest:         x.RulesDigest,
		Source:              &reprisev1.Source{Kind: reprisev1.SourceKind(x.Source.Kind), Name: x.Source.Name},
		Connection: &reprisev1.Connection{
			Id: x.Connection.ID, Sequence: x.Connection.Sequence, Client: x.Connection.Client, Server: x.Connection.Server,
		},
		Session:    x.Session,
		SampleHash: x.SampleHash,
		Flags:      flagMessages(x.Flags),
		Request: &reprisev1.Request{
			Method: x.Request.Method, Scheme: x.Request.Scheme, Authority: x.Request.Authority, Target: x.Request.Target,
			Protocol: x.Request.Protocol, Headers: fieldMessages(x.Request.Headers), Body: x.Request.Body,
			BodySize: uint64(x.Request.BodySize), Trailers: fieldMessages(x.Request.Trailers),
		},
		Response: responseMessage(x.Response),
	}
	if x.ID != (ID{}) {
		m.Id = x.ID[:]
	}
	for _, r := range x.Redactions {
		m.Redactions = append(m.Redactions, &reprisev1.Redaction{
			Rule: valid(r.Rule), Version: r.Version, KeyId: valid(r.KeyID), Location: valid(r.Location),
		})
	}
	return m
}

func responseMessage(r *Response) *reprisev1.Response {
	if r == nil {
		return nil
	}
	return &reprisev1.Response{
		Status: uint32(r.Status), Headers: fieldMessages(r.Headers), Body: r.Body, BodySize: uint64(r.BodySize),
		Trailers: fieldMessages(r.Trailers), TtfbNano: uint64(r.TTFB), DurationNano: uint64(r.Duration), Protocol: r.Protocol,
	}
}

func fieldMessages(fields []Field) []*reprisev1.Field {
	var ms []*reprisev1.Field
	for _, f := range fields {
		ms = append(ms, &reprisev1.Field{Name: f.Name, Value: f.Value})
	}
	return ms
}

func flagMessages(f Flags) []reprisev1.Flag {
	var ms []reprisev1.Flag
	for n := range 64 {
		if f&(1<<n) != 0 {
			ms = append(ms, reprisev1.Flag(n))
		}
	}
	return ms
}

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func TestAppendExchangeEqualsProtoMarshal(t *testing.T) {
	capture := time.Date(2026, 11, 22, 13, 42, 10, 118_000_001, time.UTC)
	for name, x := range map[string]*Exchange{
		"zero value":             {},
		"only an id":             {ID: ID{1}},
		"a request":              {ID: ID{1}, CaptureTime: capture, Request: Request{Method: []byte("GET"), Target: []byte("/")}},
		"an empty response":      {ID: ID{1}, Response: &Response{}},
		"before 1970":            {ID: ID{1}, CaptureTime: time.Date(1969, 12, 31, 23, 59, 59, 0, time.UTC)},
		"every known flag":       {ID: ID{1}, Flags: NonUTF8<<1 - 2},
		"the highest flag":       {ID: ID{1}, Flags: 1 << 63},
		"field with no name":     {ID: ID{1}, Request: Request{Headers: []Field{{}, {Value: []byte("v")}, {Name: []byte("n")}}}},
		"bytes that are no text": {ID: ID{1}, Request: Request{Target: []byte("/\xff\x00\xc3")}},
		// The length of an embedded message takes a byte more from 128 and from 16,384 on.
		"request of 127 bytes":    {ID: ID{1}, Request: Request{Body: make([]byte, 125)}},
		"request of 128 bytes":    {ID: ID{1}, Request: Request{Body: make([]byte, 126)}},
		"request of 16,383 bytes": {ID: ID{1}, Request: Request{Body: make([]byte, 16_380)}},
		"request of 16,384 bytes": {ID: ID{1}, Request: Request{Body: make([]byte, 16_381)}},
		"response of 256 KiB":     {ID: ID{1}, Response: &Response{Status: 200, Body: make([]byte, 256<<10)}},
		"location not UTF-8":      {ID: ID{1}, Redactions: []Redaction{{Rule: "r", Location: "request.json:/\xff"}}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, marshal(t, exchangeMessage(x)), AppendExchange(nil, x))
			require.Equal(t, "kept", string(AppendExchange([]byte("kept"), x)[:4]), "what was there stays")
		})
	}
}

func FuzzAppendExchangeEqualsProtoMarshal(f *testing.F) {
	for seed := range uint64(64) {
		f.Add(seed, []byte("/items/42?ref=home\xff"))
	}
	f.Fuzz(func(t *testing.T, seed uint64, text []byte) {
		r := random{rand.New(rand.NewPCG(seed, 1)), text}
		x := r.exchange()
		b := AppendExchange(nil, x)
		require.Equal(t, marshal(t, exchangeMessage(x)), b)

		var d Decoder
		var back Exchange
		require.NoError(t, d.Decode(b, &back))
		require.Equal(t, b, AppendExchange(nil, &back))
	})
}

// TestEveryExchangeFieldIsCovered fails when a field is added to the protobuf and forgotten in the codec.
func TestEveryExchangeFieldIsCovered(t *testing.T) {
	var m reprisev1.Exchange
	fillMessage(m.ProtoReflect(), new(uint64))
	m.Id = []byte(strings.Repeat("i", len(ID{})))
	want := marshal(t, &m)
	var d Decoder
	var x Exchange
	require.NoError(t, d.Decode(want, &x))
	require.Equal(t, want, AppendExchange(nil, &x))
}

func TestEveryOutcomeFieldIsCovered(t *testing.T) {
	var m reprisev1.Outcome
	fillMessage(m.ProtoReflect(), new(uint64))
	m.ExchangeId = []byte(strings.Repeat("i", len(ID{})))
	want := marshal(t, &m)
	var o Outcome
	require.NoError(t, DecodeOutcome(want, &o))
	require.Equal(t, want, AppendOutcome(nil, &o))
}

// fillMessage gives every field a value of its own, two of each in lists. Enums get numbers that no list of names has
// yet: newer writers must survive older readers.
func fillMessage(m protoreflect.Message, n *uint64) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if !fd.IsList() {
			m.Set(fd, fillValue(fd, m.NewField(fd), n))
			continue
		}
		list := m.Mutable(fd).List()
		for range 2 {
			list.Append(fillValue(fd, list.NewElement(), n))
		}
	}
}

func fillValue(fd protoreflect.FieldDescriptor, empty protoreflect.Value, n *uint64) protoreflect.Value {
	*n++
	switch fd.Kind() {
	case protoreflect.MessageKind:
		fillMessage(empty.Message(), n)
		return empty
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(16 + *n%40))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(strings.Repeat("s", int(*n)))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(strings.Repeat("b", int(*n))))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(*n))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(-int32(*n))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(-int64(*n))
	default:
		return protoreflect.ValueOfUint64(1<<40 + *n)
	}
}

// random makes values out of a seed, with text that the fuzzer chose.
type random struct {
	*rand.Rand
	text []byte
}

func (r random) bytes() []byte {
	switch r.IntN(6) {
	case 0:
		return nil
	case 1:
		return r.text
	case 2:
		return make([]byte, r.IntN(20_000))
	default:
		b := make([]byte, r.IntN(40))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
}

func (r random) fields() []Field {
	var fields []Field
	for range r.IntN(4) {
		fields = append(fields, Field{Name: r.bytes(), Value: r.bytes()})
	}
	return fields
}

func (r random) time() time.Time {
	if r.IntN(4) == 0 {
		return time.Time{}
	}
	return time.Unix(0, r.Int64()).UTC()
}

func (r random) response() *Response {
	if r.IntN(3) == 0 {
		return nil
	}
	return &Response{
		Status: int(r.Uint32()), Protocol: r.bytes(), Headers: r.fields(), Body: r.bytes(), BodySize: r.Int64(),
		Trailers: r.fields(), TTFB: time.Duration(r.Uint64()), Duration: time.Duration(r.Uint64() >> r.IntN(64)),
	}
}

func (r random) exchange() *Exchange {
	x := &Exchange{
		ID: ID{byte(1 + r.IntN(255))}, CaptureTime: r.time(), TimeSource: TimeSource(r.IntN(6)), RulesDigest: r.bytes(),
		Source: Source{Kind: SourceKind(r.IntN(8)), Name: r.bytes()},
		Connection: Connection{
			ID: r.bytes(), Sequence: r.Uint64() >> r.IntN(64), Client: r.bytes(), Server: r.bytes(),
		},
		Session: r.bytes(), SampleHash: r.Uint64(), Flags: Flags(r.Uint64()) &^ 1,
		Request: Request{
			Method: r.bytes(), Scheme: r.bytes(), Authority: r.bytes(), Target: r.bytes(), Protocol: r.bytes(),
			Headers: r.fields(), Body: r.bytes(), BodySize: r.Int64() >> r.IntN(63), Trailers: r.fields(),
		},
		Response: r.response(),
	}
	for range r.IntN(3) {
		x.Redactions = append(x.Redactions, Redaction{
			Rule: string(r.bytes()), Version: r.Uint32(), KeyID: string(r.bytes()), Location: string(r.bytes()),
		})
	}
	return x
}

func TestSizeHintIsRatherTooMuch(t *testing.T) {
	for _, x := range []*Exchange{{}, shopExchange()} {
		size := len(AppendExchange(nil, x))
		require.GreaterOrEqual(t, SizeHint(x), size)
		require.LessOrEqual(t, SizeHint(x), 256+size+size/2)
	}
}

func TestStringsAreWrittenAsUTF8(t *testing.T) {
	var m reprisev1.Outcome
	require.NoError(t, proto.Unmarshal(AppendOutcome(nil, &Outcome{Run: "a\xffb", Detail: "\xc3"}), &m))
	require.Equal(t, "a\uFFFDb", m.GetRun())
	require.True(t, utf8.ValidString(m.GetDetail()))
}

func BenchmarkAppendExchange(b *testing.B) {
	x := shopExchange()
	buf := AppendExchange(nil, x)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendExchange(buf[:0], x)
	}
}
