package traffic

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSplitsGRPCMessages(t *testing.T) {
	body := []byte("\x00\x00\x00\x00\x02ab\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01c")
	for _, row := range []struct {
		name  string
		body  []byte
		limit int
		want  []GRPCMessage
		rest  string
	}{
		{"all", body, 10, []GRPCMessage{{Data: []byte("ab")}, {Compressed: true, Data: []byte{}}, {Data: []byte("c")}}, ""},
		{"up to the limit", body, 1, []GRPCMessage{{Data: []byte("ab")}}, string(body[7:])},
		{"none", nil, 10, nil, ""},
		{"a part of a prefix", body[:3], 10, nil, "\x00\x00\x00"},
		{"a part of a message", body[:6], 10, nil, string(body[:6])},
		{"a length beyond everything", []byte("\x00\xff\xff\xff\xff!"), 10, nil, "\x00\xff\xff\xff\xff!"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, rest := GRPCMessages(row.body, row.limit)
			require.Equal(t, row.want, got)
			require.Equal(t, row.rest, string(rest))
		})
	}
}

func TestKnowsGRPCByItsMediaType(t *testing.T) {
	for kind, want := range map[string]bool{
		"application/grpc": true, "Application/GRPC+proto": true, "application/grpc;x=y": true, "application/grpc-web": false,
		"application/grpcx": false, "application/json": false, "": false,
	} {
		require.Equal(t, want, IsGRPC([]Field{{Name: []byte("Content-Type"), Value: []byte(kind)}}), kind)
	}
}

func TestTellsGRPCMethodAndStatus(t *testing.T) {
	kind := []Field{{Name: []byte("content-type"), Value: []byte("application/grpc")}}
	status := func(code string) []Field { return []Field{{Name: []byte("grpc-status"), Value: []byte(code)}} }
	x := Exchange{Request: Request{Target: []byte("/shop.Cart/Add?x"), Headers: kind}}
	method, ok := x.GRPCMethod()
	require.True(t, ok)
	require.Equal(t, "/shop.Cart/Add", string(method))
	_, ok = x.GRPCStatus()
	require.False(t, ok)
	for _, row := range []struct {
		res  Response
		want int
		ok   bool
	}{
		{Response{Trailers: status("7")}, 7, true},
		{Response{Headers: status("12")}, 12, true},
		{Response{Headers: status("12"), Trailers: status("0")}, 0, true},
		{Response{Trailers: status("-1")}, 0, false},
		{Response{Trailers: status("x")}, 0, false},
		{Response{}, 0, false},
	} {
		x.Response = &row.res
		code, ok := x.GRPCStatus()
		require.Equal(t, row.ok, ok)
		require.Equal(t, row.want, code)
	}
	x.Request.Headers = nil
	_, ok = x.GRPCMethod()
	require.False(t, ok)
}

func FuzzGRPCMessages(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x02ab\x01\x00\x00\x00\x00"), 10)
	f.Fuzz(func(t *testing.T, body []byte, limit int) {
		messages, rest := GRPCMessages(body, limit%math.MaxInt16)
		n := len(rest)
		for _, m := range messages {
			n += grpcPrefix + len(m.Data)
		}
		require.Equal(t, len(body), n, "nothing is lost")
	})
}
