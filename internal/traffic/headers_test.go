package traffic

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// recordHeader stands for the header type of a Kafka client.
type recordHeader struct {
	Key   string
	Value []byte
}

func TestMetaComesBackFromHeaders(t *testing.T) {
	x := shopExchange()
	x.Request.Headers = append(x.Request.Headers, Field{Name: []byte("Traceparent"), Value: []byte("00-ab-cd-01")})
	m := MetaOf(x, []byte("/cart"))
	headers := AppendMeta([]recordHeader{{Key: "kept"}}, &m)

	text := map[string]string{}
	for _, h := range headers {
		text[h.Key] = string(h.Value)
	}
	require.Equal(t, map[string]string{
		"kept":         "",
		"reprise-id":   "9f3c1100000000000000000000000000" + "00000000000018a2",
		"capture-time": "1795354930118000001",
		"method":       "POST",
		"path":         "/cart",
		"status":       "201",
		"sample":       "fedcba9876543210",
		"flags":        "TRUNCATED_RESPONSE,CLOCK_AHEAD",
		"traceparent":  "00-ab-cd-01",
	}, text)

	var got Meta
	require.NoError(t, ParseMeta(headers, &got))
	require.Equal(t, m, got)
}

func TestMetaLeavesOutWhatThereIsNot(t *testing.T) {
	m := MetaOf(&Exchange{ID: ID{1}, CaptureTime: time.Unix(1, 0)}, nil)
	var keys []string
	for _, h := range AppendMeta([]recordHeader(nil), &m) {
		keys = append(keys, h.Key)
	}
	require.Equal(t, []string{"reprise-id", "capture-time", "method", "path", "sample"}, keys)
}

func TestParseMetaSaysWhatIsWrongAndKeepsTheRest(t *testing.T) {
	id := ID{1}.String()
	for name, headers := range map[string][]recordHeader{
		"no id":             {{"capture-time", []byte("1")}, {"method", []byte("GET")}},
		"no capture time":   {{"reprise-id", []byte(id)}, {"method", []byte("GET")}},
		"short id":          {{"reprise-id", []byte("9f")}, {"capture-time", []byte("1")}, {"method", []byte("GET")}},
		"id not hex":        {{"reprise-id", []byte("z" + id[1:])}, {"capture-time", []byte("1")}, {"method", []byte("GET")}},
		"empty time":        {{"reprise-id", []byte(id)}, {"capture-time", nil}, {"method", []byte("GET")}},
		"time out of range": {{"reprise-id", []byte(id)}, {"capture-time", []byte("9223372036854775808")}, {"method", []byte("GET")}},
		"status not digits": {{"reprise-id", []byte(id)}, {"capture-time", []byte("1")}, {"status", []byte("2oo")}, {"method", []byte("GET")}},
		"sample not hex":    {{"reprise-id", []byte(id)}, {"capture-time", []byte("1")}, {"sample", []byte("?")}, {"method", []byte("GET")}},
	} {
		t.Run(name, func(t *testing.T) {
			m := Meta{Status: 999}
			require.ErrorIs(t, ParseMeta(headers, &m), ErrCorrupt)
			require.Equal(t, "GET", string(m.Method))
			require.Zero(t, m.Status)
		})
	}
}

func TestParseMetaReadsTheLargestTime(t *testing.T) {
	var m Meta
	require.NoError(t, ParseMeta([]recordHeader{
		{"reprise-id", []byte(ID{1}.String())}, {"capture-time", []byte("9223372036854775807")}, {"other", nil},
	}, &m))
	require.Equal(t, int64(1<<63-1), m.CaptureTime.UnixNano())
}

func FuzzParseMeta(f *testing.F) {
	f.Add([]byte(ID{1}.String()), []byte("1"), []byte("200"), []byte("GAP,NEW"), []byte("00"))
	f.Fuzz(func(t *testing.T, id, at, status, flags, sample []byte) {
		var m, again Meta
		if ParseMeta([]recordHeader{
			{HeaderID, id}, {HeaderCaptureTime, at}, {HeaderStatus, status}, {HeaderFlags, flags}, {HeaderSample, sample},
		}, &m) != nil {
			return
		}
		require.NoError(t, ParseMeta(AppendMeta([]recordHeader(nil), &m), &again))
		m.Method, m.Path = again.Method, again.Path
		require.Equal(t, m, again)
	})
}

func TestMetaOfManyRecordsInOneBuffer(t *testing.T) {
	var headers []recordHeader
	buf := []byte("record")
	ends := make([]int, 21) // of record i at i+1
	for i := range 20 {
		m := Meta{ID: MakeID([16]byte{1}, uint64(i)), CaptureTime: time.Unix(1, 0).UTC(), Method: []byte("GET"), Path: fmt.Appendf(nil, "/%d", i), Flags: Gap}
		headers, buf = AppendMetaIn(headers, buf, &m)
		m.Path[1] = '!' // what it was made from may change
		ends[i+1] = len(headers)
	}
	for i := range 20 {
		var m Meta
		require.NoError(t, ParseMeta(headers[ends[i]:ends[i+1]], &m))
		require.Equal(t, uint64(i), m.ID.Seq())
		require.Equal(t, fmt.Sprint("/", i), string(m.Path))
		require.Equal(t, Gap, m.Flags)
	}
	require.Equal(t, "record", string(buf[:6]))
}
