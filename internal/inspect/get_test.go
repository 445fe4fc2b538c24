package inspect

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
)

func (r *rig) get(name string) (string, error) {
	n, err := ParseName(name)
	if err != nil {
		return "", err
	}
	got := ""
	err = r.reader.Get(r.context(), n, func(e Entry) error {
		got = string(e.Exchange.Request.Target)
		return nil
	})
	return got, err
}

func TestGetFindsByAnyNameOfAnExchange(t *testing.T) {
	r := newRig(t, 2)
	other := exchange(0x18a2, 0, "/other", 200)
	other.ID = traffic.MakeID([16]byte{0x11, 0x22}, 0x18a2)
	bare := exchange(0xbeef, 0, "/bare", 200)
	r.put(0, exchange(0x18a2, 0, "/a", 200), exchange(0x18a3, 0, "/b", 200))
	r.put(1, other, exchange(0x18a3, 0, "/b", 200) /* imported twice */)
	r.produce(1, &kgo.Record{Value: traffic.AppendExchange(nil, bare)}) // without Kafka headers
	r.produce(1, &kgo.Record{Value: []byte("x")})

	id := exchange(0x18a2, 0, "", 0).ID
	for name, want := range map[string]string{
		id.String():              "/a",
		"9F3C" + id.String()[4:]: "/a",
		id.Short():               "/a", // 9f3c…:18a2
		"9f3c...:18a2":           "/a",
		"9f3c:000018a2":          "/a",
		"9f3c…:18a3":             "/b",
		"18a3":                   "/b",
		"1122:18a2":              "/other",
		bare.ID.String():         "/bare",
		"beef":                   "/bare",
		id.String()[2:]:          "/a",
	} {
		got, err := r.get(name)
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)
	}

	_, err := r.get("18a2")
	require.Equal(t, fault.Usage, fault.Code(err))
	require.ErrorContains(t, err, "more than one exchange has the id 18a2")
	require.ErrorContains(t, err, id.String())

	_, err = r.get("18a4")
	require.Equal(t, fault.Failure, fault.Code(err))
	require.ErrorContains(t, err, "no exchange 18a4 in reprise.exchanges: 6 records are there now")

	for _, bad := range []string{"", "x", "18a", "zzzz", "9f3c…", ":", "9f3c:xyz", id.String() + "0"} {
		_, err := r.get(bad)
		require.Equal(t, fault.Usage, fault.Code(err), bad)
	}
}

func TestGetOfARecordThatCannotBeReadIsIncomplete(t *testing.T) {
	r := newRig(t, 1)
	x := exchange(5, 0, "/", 200)
	m := traffic.MetaOf(x, nil)
	r.produce(0, &kgo.Record{Value: []byte("\xff"), Headers: traffic.AppendMeta([]kgo.RecordHeader(nil), &m)})
	_, err := r.get(x.ID.String())
	require.Equal(t, fault.Incomplete, fault.Code(err))
	require.ErrorContains(t, err, "partition 0 offset 0")
}

func TestGetInAnEmptyTopic(t *testing.T) {
	_, err := newRig(t, 1).get("18a2")
	require.ErrorContains(t, err, "the topic is empty")
}
