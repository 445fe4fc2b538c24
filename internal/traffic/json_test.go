package traffic

import (
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestJSONHasTheFieldsOfTheContract(t *testing.T) {
	got := AppendJSON([]byte("kept "), shopExchange(), JSONOptions{Bodies: true, HasKafka: true, Partition: 3, Offset: 44})
	want := `kept {"id":"9f3c110000000000000000000000000000000000000018a2","time":"2026-11-22T13:42:10.118000001Z",` +
		`"source":"proxy","source_name":"gateway-1","session":"s-5c1f","client":"10.0.0.9:51234","server":"10.0.0.1:80",` +
		`"flags":["TRUNCATED_RESPONSE","CLOCK_AHEAD"],` +
		`"request":{"method":"POST","scheme":"http","authority":"shop.example.com","target":"/cart?item=42",` +
		`"protocol":"HTTP/1.1","headers":[["Host","shop.example.com"],["Authorization","Bearer pseudonym"],` +
		`["X-Twice","1"],["x-twice","2"]],"body":"{\"item\":42}","body_size":11,"trailers":[["X-Sum","abc"]]},` +
		`"response":{"status":201,"headers":[["Content-Type","application/json"]],"body":"{\"ok\":true",` +
		`"body_size":11,"trailers":[],"ttfb_ns":3000000,"duration_ns":4000000},` +
		`"kafka":{"partition":3,"offset":44}}`
	require.Equal(t, want, string(got))
}

func TestJSONLeavesOutWhatThereIsNot(t *testing.T) {
	got := AppendJSON(nil, &Exchange{Source: Source{Kind: Import}}, JSONOptions{})
	require.Equal(t, `{"id":"`+strings.Repeat("0", 48)+`","time":null,"source":"import","session":"","client":"",`+
		`"server":"","flags":[],"request":{"method":"","scheme":"","authority":"","target":"","protocol":"",`+
		`"headers":[],"body_size":0,"trailers":[]}}`, string(got))
}

func TestJSONHidesBodiesUnlessAskedFor(t *testing.T) {
	got := string(AppendJSON(nil, shopExchange(), JSONOptions{}))
	require.NotContains(t, got, `"body":`)
	require.NotContains(t, got, "item\\\":42")
	require.Contains(t, got, `"body_size":11`)
}

func TestJSONShowsBytesThatAreNoText(t *testing.T) {
	gzip := []byte{0x1f, 0x8b, 0x08, 0x00}
	for name, row := range map[string]struct {
		x     Exchange
		want  string
		flags string
	}{
		"target in Latin-1": {
			Exchange{Request: Request{Target: []byte("/caf\xe9")}}, `"target":"/café"`, `["NON_UTF8"]`,
		},
		"only the value that is not UTF-8 is changed": {
			Exchange{Request: Request{Method: []byte("é"), Target: []byte("/\xe9")}}, `"method":"é"`, `["NON_UTF8"]`,
		},
		"C1 controls, which terminals obey": {
			Exchange{Request: Request{Target: []byte("/\x9b2J\x7f")}}, `"target":"/\u009b2J\u007f"`, `["NON_UTF8"]`,
		},
		"C1 controls in UTF-8": {
			Exchange{Request: Request{Target: []byte("/\u009b2J")}}, `"target":"/\u009b2J"`, `[]`,
		},
		"control characters, quotes, backslashes": {
			Exchange{Request: Request{Target: []byte("\x00\t\n\r\x1b\"\\/<>&")}}, `"target":"\u0000\t\n\r\u001b\"\\/<>&"`, `[]`,
		},
		"binary body, which is no reason for the flag": {
			Exchange{Request: Request{Body: gzip}}, `"body_b64":"` + base64.StdEncoding.EncodeToString(gzip) + `"`, `[]`,
		},
		"response trailer": {
			Exchange{Response: &Response{Trailers: []Field{{Name: []byte("x"), Value: []byte("\xff")}}}},
			`"trailers":[["x","ÿ"]]`, `["NON_UTF8"]`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := string(AppendJSON(nil, &row.x, JSONOptions{Bodies: true}))
			require.True(t, json.Valid([]byte(got)), got)
			require.Contains(t, got, row.want)
			require.Contains(t, got, `"flags":`+row.flags)
		})
	}
}

func TestJSONTimesAreUTCAndSortAsText(t *testing.T) {
	zone := time.FixedZone("", 8*3600)
	got := AppendJSON(nil, &Exchange{CaptureTime: time.Date(2026, 11, 22, 8, 0, 0, 0, zone)}, JSONOptions{})
	require.Contains(t, string(got), `"time":"2026-11-22T00:00:00.000000000Z"`)
}

// FuzzJSON reads back with encoding/json what AppendJSON wrote.
func FuzzJSON(f *testing.F) {
	for seed := range uint64(16) {
		f.Add(seed, []byte("/items/42?ref=\xff\u2028\x9b"))
	}
	f.Fuzz(func(t *testing.T, seed uint64, text []byte) {
		x := random{rand.New(rand.NewPCG(seed, 5)), text}.exchange()
		b := AppendJSON(nil, x, JSONOptions{Bodies: true})
		require.NotContains(t, string(b), "\n")
		require.True(t, utf8.Valid(b))
		var got struct {
			ID      string
			Flags   []string
			Request struct {
				Target   string
				Headers  [][2]string
				Body     *string
				BodyB64  *[]byte `json:"body_b64"`
				BodySize int64   `json:"body_size"`
			}
			Response *struct{ Status int }
		}
		require.NoError(t, json.Unmarshal(b, &got))
		require.Equal(t, x.ID.String(), got.ID)
		require.Len(t, got.Request.Headers, len(x.Request.Headers))
		require.Equal(t, x.Request.BodySize, got.Request.BodySize)
		require.Equal(t, x.Response == nil, got.Response == nil)
		require.Equal(t, string(x.Request.Target), bytesOfJSON(got.Request.Target, utf8.Valid(x.Request.Target)))
		if utf8.Valid(x.Request.Body) {
			require.Equal(t, string(x.Request.Body), *got.Request.Body)
		} else {
			require.Equal(t, x.Request.Body, *got.Request.BodyB64)
		}
	})
}

func bytesOfJSON(s string, isUTF8 bool) string {
	if isUTF8 {
		return s
	}
	var b []byte
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

func BenchmarkAppendJSON(b *testing.B) {
	x := shopExchange()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendJSON(buf[:0], x, JSONOptions{Bodies: true, HasKafka: true})
	}
}
