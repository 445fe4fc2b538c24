package inspect

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
)

// fill stores a minute of a shop's traffic: 100 items, 20 posts, some errors, in every partition.
func (r *rig) fill(partitions int) {
	seq := 0
	next := func(x *traffic.Exchange) {
		r.put(int32(seq%partitions), x)
	}
	for i := range 100 {
		seq++
		x := exchange(seq, time.Duration(i)*500*time.Millisecond, fmt.Sprintf("/items/%d?ref=home", i), 200)
		x.Response.Duration = time.Duration(i+1) * time.Millisecond
		if i%50 == 0 {
			x.Response.Status = 404
		}
		next(x)
	}
	for i := range 20 {
		seq++
		x := exchange(seq, 50*time.Second+time.Duration(i)*10*time.Millisecond, "/cart", 201)
		x.Request.Method = []byte("POST")
		switch i {
		case 3:
			x.Response.Status = 503
		case 4:
			x.Response, x.Flags = nil, traffic.NoResponse
		case 5:
			x.Flags = traffic.TruncatedRequest | traffic.TruncatedResponse
		case 6:
			x.Flags = traffic.ClientAborted
		}
		next(x)
	}
}

func TestStatsCountByTimeRouteStatusAndFlag(t *testing.T) {
	r := newRig(t, 2)
	r.fill(2)
	s, err := r.reader.Stats(r.context(), all())
	require.NoError(t, err)
	require.EqualValues(t, 120, s.Exchanges)
	require.Equal(t, noon, *s.First)
	require.Equal(t, noon.Add(50*time.Second+190*time.Millisecond), *s.Last)
	require.Equal(t, map[string]int64{"NO_RESPONSE": 1, "TRUNCATED_REQUEST": 1, "TRUNCATED_RESPONSE": 1, "CLIENT_ABORTED": 1}, s.Flags)
	require.EqualValues(t, 20, s.Rate.Peak)
	require.Equal(t, noon.Add(50*time.Second), *s.Rate.PeakStart)
	require.Equal(t, 1, s.Taps)
	require.Zero(t, *s.Missing)

	s.Bytes = nil
	var table strings.Builder
	require.NoError(t, WriteStats(&table, s))
	require.Equal(t, `
reprise.exchanges   2 partitions   120 exchanges   2026-11-22 12:00:00 – 12:00:50 UTC
 rate     ▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃█    peak 20/s at 12:00:50
 route             count   share    p50    p99    4xx    5xx
 GET  /items/{id}    100  83.3 %  50 ms  99 ms  2.0 %  0.0 %
 POST /cart           20  16.7 %   4 ms   4 ms  0.0 %  5.3 %
 flags    truncated 2   no response 1   gap 0   client aborted 1      taps 1   missing by sequence 0
`[1:], table.String())

	var out strings.Builder
	require.NoError(t, WriteJSON(&out, NDJSON, s))
	require.Equal(t, 1, strings.Count(out.String(), "\n"))
	var back Stats
	require.NoError(t, json.Unmarshal([]byte(out.String()), &back))
	require.Equal(t, s.Routes, back.Routes)
}

func TestStatsCountGRPCByMethodAndStatus(t *testing.T) {
	r := newRig(t, 1)
	r.put(0, exchange(1, 0, "/items/1", 200))
	for i, status := range []string{"0", "0", "5", ""} {
		x := exchange(i+2, time.Second, fmt.Sprintf("/shop%d.Cart/Add123456789", i%2), 200)
		x.Request.Method = []byte("POST")
		x.Request.Headers = []traffic.Field{{Name: []byte("content-type"), Value: []byte("application/grpc+proto")}}
		x.Response.Trailers = []traffic.Field{{Name: []byte("grpc-status"), Value: []byte(status)}}
		r.put(0, x)
	}
	s, err := r.reader.Stats(r.context(), all())
	require.NoError(t, err)
	require.Nil(t, s.Routes[2].GRPCErrors)
	s.Bytes = nil
	var table strings.Builder
	require.NoError(t, WriteStats(&table, s))
	require.Contains(t, table.String(), `
 route                          count   share   p50   p99    4xx    5xx    grpc
 POST /shop0.Cart/Add123456789      2  40.0 %  4 ms  4 ms  0.0 %  0.0 %  50.0 %
 POST /shop1.Cart/Add123456789      2  40.0 %  4 ms  4 ms  0.0 %  0.0 %   0.0 %
 GET  /items/{id}                   1  20.0 %  4 ms  4 ms  0.0 %  0.0 %       –
`)
	var out strings.Builder
	require.NoError(t, WriteJSON(&out, NDJSON, s))
	require.Contains(t, out.String(), `"grpc_errors":1`)
}

func TestStatsKeepToWindowAndFilter(t *testing.T) {
	r := newRig(t, 2)
	r.fill(2)
	q := all()
	q.From, q.To = noon.Add(10*time.Second), noon.Add(20*time.Second)
	s, err := r.reader.Stats(r.context(), q)
	require.NoError(t, err)
	require.EqualValues(t, 20, s.Exchanges)
	require.Zero(t, *s.Missing, "what lies outside the window is not missing")

	q = all()
	q.Filters = compile(t, "POST /cart")
	s, err = r.reader.Stats(r.context(), q)
	require.NoError(t, err)
	require.EqualValues(t, 20, s.Exchanges)
	require.Nil(t, s.Missing, "a filter hides numbers")
}

func TestStatsFindWhatIsMissingBySequence(t *testing.T) {
	r := newRig(t, 2)
	r.reader.now = func() time.Time { return noon.Add(time.Hour) }
	for i, seq := range []int{2, 3, 5, 6, 9} { // 1, 4, 7 and 8 never came
		r.put(int32(i%2), exchange(seq, time.Duration(i)*time.Second, "/", 200))
	}
	imported := exchange(500, 0, "/", 200) // has the index in its file for a number
	imported.ID = traffic.MakeID([16]byte{7}, 500)
	imported.Source.Kind = traffic.Import
	r.put(0, imported)
	s, err := r.reader.Stats(r.context(), all())
	require.NoError(t, err)
	require.EqualValues(t, 4, *s.Missing)
	require.Equal(t, 1, s.Taps)
	require.Equal(t, 1, s.Imports)
}

func TestStatsDoNotCountAsMissingWhatMayBeOnItsWay(t *testing.T) {
	r := newRig(t, 2)
	r.put(0, exchange(1, 0, "/", 200), exchange(3, 50*time.Second, "/", 200))
	r.put(1, exchange(5, 61*time.Second, "/", 200))
	r.reader.now = func() time.Time { return noon.Add(100 * time.Second) } // the last one is 39 s old
	s, err := r.reader.Stats(r.context(), all())
	require.NoError(t, err)
	require.EqualValues(t, 2, *s.Missing, "2 and 4: 5 was stored after them")
	r.reader.now = func() time.Time { return noon.Add(80 * time.Second) } // and now 3 is young too
	s, err = r.reader.Stats(r.context(), all())
	require.NoError(t, err)
	require.EqualValues(t, 1, *s.Missing)
}

func TestStatsOfATopicWithDamage(t *testing.T) {
	r := newRig(t, 1)
	r.put(0, exchange(1, 0, "/", 200))
	r.produce(0, &kgo.Record{Value: []byte("x")})
	s, err := r.reader.Stats(r.context(), all())
	require.Equal(t, fault.Incomplete, fault.Code(err))
	require.EqualValues(t, 1, s.Exchanges)
	require.EqualValues(t, 1, s.Unreadable)
	require.Contains(t, flagLine(s), "unreadable 1")
}

func TestStatsOfAnEmptyTopic(t *testing.T) {
	r := newRig(t, 3)
	s, err := r.reader.Stats(r.context(), all())
	require.NoError(t, err)
	require.Equal(t, []string{"topic reprise.exchanges is empty"}, r.notes)
	s.Bytes = nil
	var b strings.Builder
	require.NoError(t, WriteStats(&b, s))
	require.Equal(t, "reprise.exchanges   3 partitions   0 exchanges\n"+
		" flags    truncated 0   no response 0   gap 0      taps 0   missing by sequence 0\n", b.String())
}

func TestStatsBoundTheRoutesTheyKeep(t *testing.T) {
	c := &counter{routes: make(map[string]*route)}
	for i := range 3 * mostRoutes {
		x := exchange(i+1, 0, "/", 200)
		x.Request.Method = fmt.Appendf(nil, "M%d", i)
		c.route(x).add(x)
	}
	require.Len(t, c.routes, mostRoutes+1)
	require.EqualValues(t, 2*mostRoutes, c.routes[otherRoutes].Count)
}

func TestStatsJoinRoutesThatTurnOutToBeOne(t *testing.T) {
	c := &counter{routes: make(map[string]*route)}
	for i := range 500 { // names, until there are too many of them
		x := exchange(i+1, 0, "/shops/"+strings.Repeat("x", i%30)+string(rune('a'+i/30))+"-name", 200)
		c.route(x).add(x)
	}
	all := c.regrouped()
	require.Len(t, all, 1)
	require.EqualValues(t, 500, all["GET /shops/{id}"].Count)
	require.EqualValues(t, 500, all["GET /shops/{id}"].latency.TotalCount())
}

func TestStatsTableHidesRareRoutes(t *testing.T) {
	s := &Stats{Topic: "t", Exchanges: 300, First: &noon, Last: &noon, Rate: Rate{Columns: []int64{1}, PeakStart: &noon}}
	for i := range 30 {
		s.Routes = append(s.Routes, RouteStats{Route: fmt.Sprintf("GET /%c", 'a'+i), Count: 10})
	}
	var b strings.Builder
	require.NoError(t, WriteStats(&b, s))
	require.Contains(t, b.String(), "… and 10 more routes")
	require.Equal(t, 20, strings.Count(b.String(), " GET  /"))
}
