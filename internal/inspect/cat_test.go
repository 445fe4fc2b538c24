package inspect

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

func TestCatSortsPartitionsByCaptureTime(t *testing.T) {
	r := newRig(t, 3)
	for i := range 30 {
		r.put(int32(i%3), exchange(i+1, time.Duration(i)*time.Second, fmt.Sprintf("/%d", i), 200))
	}
	got, err := r.cat(all())
	require.NoError(t, err)
	require.Equal(t, targets(30), got)
	require.Empty(t, r.notes)
}

func TestCatSortsInWhatWasStoredLate(t *testing.T) {
	r := newRig(t, 2)
	r.put(0, exchange(1, 0, "/a", 200), exchange(2, time.Hour, "/b", 200))
	r.put(1, exchange(3, time.Hour, "/c", 200), exchange(4, time.Minute, "/stored an hour late", 200))
	got, err := r.cat(all())
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"/a", "/b", "/c", "/stored an hour late"}, got)
}

func TestCatSaysHowManyCameOutOfOrder(t *testing.T) {
	r := newRig(t, 1)
	xs := []*traffic.Exchange{exchange(1, time.Hour, "/late", 200), exchange(2, 0, "/early", 200)}
	var got []string
	c := &catalogue{reader: r.reader, choice: newChoice(all()), merge: newMerge(1), show: func(e Entry) error {
		got = append(got, string(e.Exchange.Request.Target))
		return nil
	}}
	for _, x := range xs { // what exceeds the bound of memory leaves before the other is there
		require.NoError(t, c.take(&topic.Record{Value: traffic.AppendExchange(nil, x)}))
		require.NoError(t, c.drain())
	}
	require.Equal(t, []string{"/late", "/early"}, got)
	require.EqualValues(t, 2, c.merge.Reordered())
}

func TestCatKeepsToTheWindow(t *testing.T) {
	r := newRig(t, 2)
	for i := range 10 {
		r.put(int32(i%2), exchange(i+1, time.Duration(i)*time.Second, fmt.Sprintf("/%d", i), 200))
	}
	q := all()
	q.From, q.To = noon.Add(2*time.Second), noon.Add(5*time.Second)
	got, err := r.cat(q)
	require.NoError(t, err)
	require.Equal(t, []string{"/2", "/3", "/4"}, got)

	q = all()
	q.Partition = 1
	got, err = r.cat(q)
	require.NoError(t, err)
	require.Equal(t, []string{"/1", "/3", "/5", "/7", "/9"}, got)

	q.Partition = 7
	_, err = r.cat(q)
	require.Equal(t, fault.Usage, fault.Code(err))
	require.ErrorContains(t, err, "no partition 7")

	q = all()
	q.Limit = 3
	got, err = r.cat(q)
	require.NoError(t, err)
	require.Equal(t, []string{"/0", "/1", "/2"}, got)
}

// Imported exchanges are stamped with the time of the import: the window goes by capture time all the same.
func TestCatFindsImportsByCaptureTime(t *testing.T) {
	r := newRig(t, 1)
	x := exchange(1, 0, "/old", 200)
	m := traffic.MetaOf(x, x.Request.Target)
	r.produce(0, &kgo.Record{
		Value: traffic.AppendExchange(nil, x), Headers: traffic.AppendMeta([]kgo.RecordHeader(nil), &m), Timestamp: noon.AddDate(1, 0, 0),
	})
	q := all()
	q.From, q.To = noon.Add(-time.Second), noon.Add(time.Second)
	got, err := r.cat(q)
	require.NoError(t, err)
	require.Equal(t, []string{"/old"}, got)
}

func compile(t *testing.T, sources ...string) (filters []*filter.Filter) {
	t.Helper()
	for _, s := range sources {
		f, err := filter.Compile(s)
		require.NoError(t, err)
		filters = append(filters, f)
	}
	return filters
}

func TestCatFiltersByHeadersAndByValue(t *testing.T) {
	r := newRig(t, 1)
	post := exchange(2, 2*time.Second, "/cart", 201)
	post.Request.Method, post.Request.Body, post.Request.BodySize = []byte("POST"), []byte(`{"item":42}`), 11
	r.put(0, exchange(1, time.Second, "/items/1", 200), post, exchange(3, 3*time.Second, "/items/3", 404))
	// A record of another writer has no headers: its value tells.
	r.produce(0, &kgo.Record{Value: traffic.AppendExchange(nil, exchange(4, 4*time.Second, "/items/4", 404))})
	for _, row := range []struct {
		filters []string
		want    []string
	}{
		{[]string{"GET /items/*"}, []string{"/items/1", "/items/3", "/items/4"}},
		{[]string{`status == 404`}, []string{"/items/3", "/items/4"}},
		{[]string{`body contains "item"`}, []string{"/cart"}},
		{[]string{"GET /items/*", `host == "shop.example.com"`, `status < 400`}, []string{"/items/1"}},
		{[]string{`host == "other"`}, []string{}},
	} {
		q := all()
		q.Filters = compile(t, row.filters...)
		got, err := r.cat(q)
		require.NoError(t, err, row.filters)
		require.Equal(t, row.want, got, row.filters)
	}
	require.Equal(t, []string{"none of 4 exchanges matched"}, r.notes)
}

func TestCatDecidesByHeadersWithoutDecoding(t *testing.T) {
	r := newRig(t, 1)
	m := traffic.MetaOf(exchange(1, 0, "/", 200), []byte("/"))
	r.produce(0, &kgo.Record{Value: []byte("\xff no exchange"), Headers: traffic.AppendMeta([]kgo.RecordHeader(nil), &m)})
	q := all()
	q.Filters = compile(t, "POST /**")
	got, err := r.cat(q)
	require.NoError(t, err, "what is not wanted is not decoded")
	require.Empty(t, got)
}

func TestCatSkipsAndTellsRecordsThatCannotBeRead(t *testing.T) {
	r := newRig(t, 1)
	r.put(0, exchange(1, 0, "/0", 200))
	r.produce(0, &kgo.Record{Value: []byte("\xff\xff this is no exchange")})
	r.produce(0, &kgo.Record{Value: nil})
	m := traffic.MetaOf(exchange(2, 0, "/", 200), []byte("/"))
	r.produce(0, &kgo.Record{Value: []byte("\xff"), Headers: traffic.AppendMeta([]kgo.RecordHeader(nil), &m)})
	r.put(0, exchange(3, time.Second, "/1", 200))
	got, err := r.cat(all())
	require.Equal(t, []string{"/0", "/1"}, got)
	require.Equal(t, fault.Incomplete, fault.Code(err))
	require.ErrorContains(t, err, "3 records of reprise.exchanges could not be read")
	require.ErrorContains(t, err, "partition 0 offset 1, partition 0 offset 2, partition 0 offset 3")
	require.Len(t, r.notes, 3)
	require.Contains(t, r.notes[0], "skipped partition 0 offset 1: corrupt record")
}

func TestCatTellsOfADamagedTopicInAFewLines(t *testing.T) {
	r := newRig(t, 1)
	for range 2 * toldDamage {
		r.produce(0, &kgo.Record{Value: []byte("x")})
	}
	_, err := r.cat(all())
	require.ErrorContains(t, err, "and 10 more")
	require.Len(t, r.notes, toldDamage+1) // and that nothing matched
}

func TestCatOfAnEmptyTopicSaysSo(t *testing.T) {
	r := newRig(t, 2)
	got, err := r.cat(all())
	require.NoError(t, err)
	require.Empty(t, got)
	require.Equal(t, []string{"topic reprise.exchanges is empty"}, r.notes)

	r.put(0, exchange(1, 0, "/", 200))
	q := all()
	q.From = noon.Add(time.Hour)
	_, err = r.cat(q)
	require.NoError(t, err)
	require.Equal(t, "nothing of topic reprise.exchanges lies in that window", r.notes[1])
}

func TestReadingSaysWhatIsWrongWithTheTopicOrTheBroker(t *testing.T) {
	r := newRig(t, 1)
	r.reader.topic = "nope.exchanges"
	_, err := r.cat(all())
	require.ErrorContains(t, err, "nope.exchanges")
	require.Equal(t, fault.Failure, fault.Code(err))

	reader, err := NewReader(topic.Config{Brokers: []string{"127.0.0.1:1"}}, exchanges, func(string) {})
	require.NoError(t, err)
	defer reader.Close()
	err = reader.Cat(r.context(), all(), nil)
	require.ErrorContains(t, err, "127.0.0.1:1")
	require.Equal(t, fault.Failure, fault.Code(err))
}

func TestCatEndsWithItsContextAndWithItsReader(t *testing.T) {
	r := newRig(t, 1)
	r.put(0, exchange(1, 0, "/", 200))
	gone := errors.New("gone")
	err := r.reader.Cat(r.context(), all(), func(Entry) error { return gone })
	require.Equal(t, gone, err)
	ctx, cancel := context.WithCancelCause(r.context())
	cancel(gone)
	require.Error(t, r.reader.Cat(ctx, all(), func(Entry) error { return nil }))
}

func TestTailShowsTheLastAndThenWhatComes(t *testing.T) {
	r := newRig(t, 2)
	for i := range 10 {
		r.put(int32(i%2), exchange(i+1, time.Duration(i)*time.Second, fmt.Sprintf("/%d", i), 200))
	}
	ctx, cancel := context.WithCancelCause(r.context())
	done := errors.New("seen enough")
	var got []string
	flushes := 0
	err := r.reader.Tail(ctx, all(), 3, func(e Entry) error {
		got = append(got, string(e.Exchange.Request.Target))
		return nil
	}, func() error {
		switch flushes++; {
		case flushes == 1:
			require.Equal(t, []string{"/7", "/8", "/9"}, got)
			r.put(1, exchange(11, 11*time.Second, "/new", 200))
		case len(got) == 4 && len(r.notes) == 0:
			r.produce(0, &kgo.Record{Value: []byte("x")})
			r.put(0, exchange(12, 12*time.Second, "/newer", 200))
		case len(got) == 5:
			cancel(done)
		}
		return nil
	})
	require.ErrorIs(t, err, done)
	require.Equal(t, []string{"/7", "/8", "/9", "/new", "/newer"}, got)
	require.Len(t, r.notes, 1)
	require.True(t, strings.HasPrefix(r.notes[0], "skipped partition 0 offset 5"), r.notes[0])
}
