package topic

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/reprise-io/reprise/internal/fault"
)

// fill writes records numbered from..to-1, key by number so that all partitions get some, a second of time apart.
func fill(t *testing.T, cfg Config, topic string, from, to uint64) {
	t.Helper()
	var rs []*Record
	for id := from; id < to; id++ {
		r := numbered(id, 20)
		r.Key, r.Time = []byte(strconv.FormatUint(id, 10)), epoch.Add(time.Duration(id)*time.Second)
		rs = append(rs, r)
	}
	_, err := Produce(t.Context(), cfg, topic, rs...)
	require.NoError(t, err)
}

var epoch = time.Date(2026, 11, 22, 13, 42, 10, 0, time.UTC)

func number(r *Record) uint64 { return binary.BigEndian.Uint64(r.Value) }

func starts(partitions int32, offset int64) map[int32]int64 {
	m := make(map[int32]int64)
	for p := range partitions {
		m[p] = offset
	}
	return m
}

func TestAssignReaderReadsExactlyItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		n.cluster(t, kfake.SeedTopics(4, "x"))
		fill(t, n.config(), "x", 0, 1000)
		adm, err := NewAdmin(n.config())
		require.NoError(t, err)
		defer adm.Close()
		spans, err := adm.Window(t.Context(), "x", epoch.Add(400*time.Second+time.Millisecond/2))
		require.NoError(t, err)
		fill(t, n.config(), "x", 1000, 1200) // after the window was fixed

		from, to := map[int32]int64{}, map[int32]int64{}
		for p, r := range spans {
			from[p], to[p] = r.Start, r.End
		}
		r, err := NewAssignReader(AssignConfig{Config: n.config(), Topic: "x", From: from, To: to, Fetch: FetchBounds{MaxRecords: 50}})
		require.NoError(t, err)
		defer r.Close()
		seen := make(map[uint64]int)
		for {
			batch, err := r.Poll(t.Context())
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			require.NotZero(t, batch.Len())
			require.LessOrEqual(t, batch.Len(), 50)
			batch.Each(func(r *Record) {
				seen[number(r)]++
				require.Equal(t, strconv.FormatUint(number(r), 10), string(r.Key))
				require.True(t, r.Time.Equal(epoch.Add(time.Duration(number(r))*time.Second)))
			})
		}
		require.Len(t, seen, 600, "400 to 999: the millisecond of the first is not cut off")
		for id := uint64(400); id < 1000; id++ {
			require.Equal(t, 1, seen[id], "record %d", id)
		}
		_, err = r.Poll(t.Context())
		require.Equal(t, io.EOF, err, "and stays at its end")
		require.Equal(t, to[0], r.Next(0))
	})
}

func TestAssignReaderOfNothingEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		n.cluster(t, kfake.SeedTopics(2, "x"))
		r, err := NewAssignReader(AssignConfig{Config: n.config(), Topic: "x", From: starts(2, 0), To: starts(2, 0)})
		require.NoError(t, err)
		defer r.Close()
		start := time.Now()
		_, err = r.Poll(t.Context())
		require.Equal(t, io.EOF, err)
		require.Zero(t, time.Since(start))
	})
}

func TestAssignReaderFollowsOverAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		n.cluster(t, kfake.SeedTopics(1, "x"))
		r, err := NewAssignReader(AssignConfig{Config: n.config(), Topic: "x", From: starts(1, 0)})
		require.NoError(t, err)
		defer r.Close()
		fill(t, n.config(), "x", 0, 10)
		for seen := 0; seen < 10; { // a producer may send its first one alone
			batch, err := r.Poll(t.Context())
			require.NoError(t, err)
			seen += batch.Len()
		}

		n.down()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = r.Poll(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded, "an outage is a wait, once it has begun")
		n.up()
		fill(t, n.config(), "x", 10, 20)
		start := time.Now()
		batch, err := r.Poll(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint64(10), number(&batch.Partitions[0].Records[0]))
		require.Less(t, time.Since(start), 2*time.Second)
	})
}

func TestAssignReaderReachesAnEndThatCompactionEmptied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		cluster := n.cluster(t, kfake.SeedTopics(1, "x"))
		fill(t, n.config(), "x", 0, 3)
		// The offsets 3 to 9 are an empty batch, as compaction leaves it: the client says nothing of such.
		cluster.ControlKey(1, func(kreq kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			req := kreq.(*kmsg.FetchRequest)
			if req.MaxBytes != 1 || len(req.Topics) != 1 {
				return nil, nil, false
			}
			resp := req.ResponseKind().(*kmsg.FetchResponse)
			rt := kmsg.NewFetchResponseTopic()
			rt.Topic, rt.TopicID = req.Topics[0].Topic, req.Topics[0].TopicID
			rp := kmsg.NewFetchResponseTopicPartition()
			if req.Topics[0].Partitions[0].FetchOffset < 10 {
				rp.RecordBatches = batchHead(3, 6, 0)
			}
			rt.Partitions = append(rt.Partitions, rp)
			resp.Topics = append(resp.Topics, rt)
			return resp, nil, true
		})
		r, err := NewAssignReader(AssignConfig{Config: n.config(), Topic: "x", From: starts(1, 0), To: starts(1, 10)})
		require.NoError(t, err)
		defer r.Close()
		batch, err := r.Poll(t.Context())
		require.NoError(t, err)
		require.Equal(t, 3, batch.Len())
		start := time.Now()
		_, err = r.Poll(t.Context())
		require.Equal(t, io.EOF, err)
		require.LessOrEqual(t, time.Since(start), 2*time.Second)
	})
}

// batchHead is the head of a record batch.
func batchHead(first int64, lastDelta, count uint32) []byte {
	b := make([]byte, 61)
	binary.BigEndian.PutUint64(b, uint64(first))
	b[16] = 2
	binary.BigEndian.PutUint32(b[23:], lastDelta)
	binary.BigEndian.PutUint32(b[57:], count)
	return b
}

func TestAfterEmptyBatch(t *testing.T) {
	require.EqualValues(t, 7, afterEmptyBatch(nil, 7), "nothing there")
	require.EqualValues(t, 7, afterEmptyBatch(batchHead(5, 9, 3), 7), "records: the client's business")
	require.EqualValues(t, 12, afterEmptyBatch(batchHead(12, 3, 1), 7), "a hole before the next batch")
	require.EqualValues(t, 15, afterEmptyBatch(batchHead(5, 9, 0), 7), "an empty batch")
	require.EqualValues(t, 7, afterEmptyBatch(batchHead(2, 3, 0), 7), "never back")
	require.EqualValues(t, 7, afterEmptyBatch(batchHead(5, 9, 0)[:60], 7), "cut off")
}

func TestReaderPausesAndResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		n.cluster(t, kfake.SeedTopics(2, "x"))
		fill(t, n.config(), "x", 0, 200)
		r, err := NewAssignReader(AssignConfig{Config: n.config(), Topic: "x", From: starts(2, 0)})
		require.NoError(t, err)
		defer r.Close()
		r.Pause(1)
		poll := func() (parts map[int32]int) {
			parts = make(map[int32]int)
			for {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				batch, err := r.Poll(ctx)
				cancel()
				if err != nil {
					return parts
				}
				batch.Each(func(r *Record) { parts[r.Partition]++ })
			}
		}
		first := poll()
		require.Zero(t, first[1])
		require.NotZero(t, first[0])
		r.Resume(1)
		require.Equal(t, 200, first[0]+poll()[1], "nothing is lost by a pause")
	})
}

func TestDataLossIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		cluster := n.cluster(t)
		require.NoError(t, cluster.CreateTopic("x", 1, map[string]string{"retention.ms": "1000"}))
		_, err := Produce(t.Context(), n.config(), "x", numbered(0, 8), numbered(1, 8))
		require.NoError(t, err)
		time.Sleep(time.Minute)
		cluster.ApplyRetention()

		check := func(err error) {
			t.Helper()
			var f *fault.Error
			require.ErrorAs(t, err, &f)
			require.Regexp(t, "^(records|offsets 0 to 1|offsets from 99 on) of x, partition 0, are gone before they were read$", f.What)
			require.Equal(t, fault.Incomplete, f.Code)
		}
		assigned, err := NewAssignReader(AssignConfig{Config: n.config(), Topic: "x", From: starts(1, 0)})
		require.NoError(t, err)
		defer assigned.Close()
		_, err = assigned.Poll(t.Context())
		check(err)
		_, err = assigned.Poll(t.Context())
		check(err)

		member, err := NewGroupReader(GroupConfig{Config: n.config(), Topic: "x", Group: "g", Start: starts(1, 0)})
		require.NoError(t, err)
		defer member.Close()
		_, err = member.Poll(t.Context())
		check(err)

		// The topic is made anew while a member has committed beyond its end.
		ahead, err := NewGroupReader(GroupConfig{Config: n.config(), Topic: "x", Group: "ahead", Start: starts(1, 99)})
		require.NoError(t, err)
		defer ahead.Close()
		_, err = ahead.Poll(t.Context())
		check(err)
	})
}

func TestDeletedTopicIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testNet
		cluster := n.cluster(t, kfake.SeedTopics(1, "x"))
		fill(t, n.config(), "x", 0, 3)
		r, err := NewAssignReader(AssignConfig{Config: n.config(), Topic: "x", From: starts(1, 0)})
		require.NoError(t, err)
		defer r.Close()
		_, err = r.Poll(t.Context())
		require.NoError(t, err)
		require.NoError(t, cluster.DeleteTopic("x"))
		start := time.Now()
		_, err = r.Poll(t.Context())
		require.ErrorContains(t, err, "are gone before they were read")
		require.Less(t, time.Since(start), 2*time.Minute)
	})
}

func BenchmarkAssignReader(b *testing.B) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, "x"))
	require.NoError(b, err)
	defer cluster.Close()
	cfg := Config{Brokers: cluster.ListenAddrs()}
	const many = 100_000
	rs := make([]*Record, many)
	for i := range rs {
		rs[i] = numbered(uint64(i), 1000)
		rs[i].Headers = []Header{{Key: "method", Value: []byte("GET")}}
	}
	for i := 0; i < many; i += 10_000 {
		_, err = Produce(b.Context(), cfg, "x", rs[i:i+10_000]...)
		require.NoError(b, err)
	}
	adm, err := NewAdmin(cfg)
	require.NoError(b, err)
	defer adm.Close()
	spans, err := adm.Window(b.Context(), "x", time.Time{})
	require.NoError(b, err)
	from, to := map[int32]int64{}, map[int32]int64{}
	for p, r := range spans {
		from[p], to[p] = r.Start, r.End
	}
	b.ReportAllocs()
	read := 0
	for b.Loop() { // one op is the whole topic
		r, err := NewAssignReader(AssignConfig{Config: cfg, Topic: "x", From: from, To: to})
		require.NoError(b, err)
		for {
			batch, err := r.Poll(b.Context())
			if err != nil {
				require.Equal(b, io.EOF, err)
				break
			}
			read += batch.Len()
		}
		r.Close()
	}
	b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "records/s")
}
