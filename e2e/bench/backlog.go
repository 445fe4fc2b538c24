package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/e2e/proc"
	"github.com/reprise-io/reprise/e2e/sink"
	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// backlogBar is what a replayer may have resident: 128 MiB and its --look-ahead.
const backlogBar = (128 + 64) << 20

// backlog measures the memory of a replayer that has much before it, while it keeps time and while it goes as fast as it can.
func (b *bench) backlog(ctx context.Context) error {
	t := table{
		title: "Memory of a replayer by what is before it",
		head:  []string{"records", "speed", "fired", "RSS MiB, most", "asked: ≤ 192", "RSS MiB, median", "first request after, s"},
		notes: []string{
			fmt.Sprintf("128 MiB and a look-ahead of 64 MiB were asked. RSS is looked at every 100 ms for %s of a run; its most is the", b.behindFor),
			"kernel's own figure (VmHWM). Records are small (some 300 bytes with their headers), captured at 1,000/s.",
		},
	}
	for _, count := range []int{b.behind / 100, b.behind} {
		prefix := fmt.Sprintf("backlog-%d", count)
		progress("backlog: writing %d exchanges", count)
		began := time.Now()
		if err := b.pile(ctx, topic.NamesOf(prefix), count); err != nil {
			return err
		}
		progress("  %.0f/s", float64(count)/time.Since(began).Seconds())
		for _, speed := range []string{"1", "max"} {
			row, err := b.behindRow(ctx, prefix, count, speed)
			if err != nil {
				return fmt.Errorf("%d records, speed %s: %w", count, speed, err)
			}
			progress("backlog: %v", row)
			t.rows = append(t.rows, row)
		}
	}
	b.tables = append(b.tables, t)
	return nil
}

func (b *bench) behindRow(ctx context.Context, prefix string, count int, speed string) (row []string, err error) {
	s, err := sink.New(sink.Options{Count: true})
	if err != nil {
		return nil, err
	}
	serving, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(serving) }()
	defer func() {
		cancel()
		err = errors.Join(err, <-done)
	}()
	began := time.Now()
	p, err := proc.Start(b.replaying(prefix, s.Addr(), "with-"+speed, speed))
	if err != nil {
		return nil, err
	}
	defer p.Kill()
	var sizes []float64
	var firstAfter time.Duration
	var most int64
	for ctx.Err() == nil {
		if now := time.Since(began); firstAfter > 0 && now > firstAfter+b.behindFor || now > b.behindFor+time.Minute {
			break
		}
		_, rss, err := p.UsageNow()
		if err != nil { // a short one ends
			break
		}
		most = max(most, peakRSS(p.PID()))
		sizes = append(sizes, float64(rss>>20))
		if firstAfter == 0 && s.Requests() > 0 {
			firstAfter = time.Since(began)
		}
		pause(ctx, 100*time.Millisecond)
	}
	code, err := p.Stop(30 * time.Second)
	if err != nil {
		return nil, err
	}
	if code != 0 && code != 130 || s.Requests() == 0 {
		return nil, fmt.Errorf("exit code %d, %d requests\n%s", code, s.Requests(), p.Stderr())
	}
	return []string{
		fmt.Sprint(count), speed, fmt.Sprint(s.Requests()), fmt.Sprint(most >> 20), held(most <= backlogBar), fmt.Sprintf("%.0f", median(sizes)),
		fmt.Sprintf("%.1f", firstAfter.Seconds()),
	}, nil
}

// pile stores many small exchanges, one a millisecond, as fast as Kafka takes them.
func (b *bench) pile(ctx context.Context, names topic.Names, count int) error {
	rules, err := redact.New(redact.Options{Key: []byte(benchKey)})
	if err != nil {
		return err
	}
	var stored, lost atomic.Int64
	w, err := topic.NewWriter(topic.WriterConfig{
		Config: topic.Config{Brokers: []string{b.broker.Addr()}, ClientID: "reprise-bench"}, Topic: names.Exchanges,
		Ensure:    []topic.Spec{topic.ExchangesSpec(names, partition), topic.ControlSpec(names), topic.ResultsSpec(names, partition)},
		RingBytes: 64 << 20, BufferBytes: 32 << 20, FlushTimeout: time.Minute,
		OnDone: func(_ *topic.Record, result topic.Result) {
			if result.State == topic.Acknowledged {
				stored.Add(1)
			} else {
				lost.Add(1)
			}
		},
	})
	if err != nil {
		return err
	}
	writing, end := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- w.Run(writing) }()
	err = putAll(ctx, w, rules.Digest(), count, &lost)
	end()
	err = errors.Join(err, <-done)
	if n := stored.Load(); err == nil && n != int64(count) {
		err = fmt.Errorf("%d of %d records were stored, %d lost", n, count, lost.Load())
	}
	if err != nil {
		return err
	}
	if n, err := feed.Count(ctx, b.broker.Addr(), names.Exchanges); err != nil || n < int64(count) {
		return fmt.Errorf("%s has %d of %d records: %w", names.Exchanges, n, count, err)
	}
	return nil
}

// putAll never puts more than the ring takes: it drops its oldest.
func putAll(ctx context.Context, w *topic.Writer, digest []byte, count int, lost *atomic.Int64) error {
	const batch = 1000
	x := traffic.Exchange{
		TimeSource: traffic.OwnClock, RulesDigest: digest, Source: traffic.Source{Kind: traffic.Proxy, Name: []byte("made")},
		Request: traffic.Request{
			Method: []byte("GET"), Scheme: []byte("http"), Authority: []byte("shop.example"), Protocol: []byte("HTTP/1.1"),
			Headers: []traffic.Field{{Name: []byte("Host"), Value: []byte("shop.example")}},
		},
		Response: &traffic.Response{Status: 204, Protocol: []byte("HTTP/1.1"), TTFB: time.Millisecond, Duration: time.Millisecond},
	}
	sessions := make([][]byte, 1000)
	for i := range sessions {
		sessions[i] = fmt.Appendf(nil, "s%d", i)
	}
	var tap [16]byte
	binary.BigEndian.PutUint64(tap[:], uint64(count))
	from := time.Now().Add(-time.Duration(count) * time.Millisecond)
	for i := 0; i < count; i += batch {
		records := make([]*topic.Record, 0, batch)
		for k := i; k < min(count, i+batch); k++ {
			x.ID, x.CaptureTime = traffic.MakeID(tap, uint64(k+1)), from.Add(time.Duration(k)*time.Millisecond)
			x.Session = sessions[uint64(k)*2654435761%uint64(len(sessions))]
			x.Connection.ID = x.Session
			x.Request.Target = fmt.Appendf(x.Request.Target[:0], "/items/%d", k%1000)
			meta := traffic.MetaOf(&x, x.Request.Target)
			records = append(records, &topic.Record{
				Key: x.Session, Value: traffic.AppendExchange(make([]byte, 0, 256), &x),
				Headers: traffic.AppendMeta(make([]topic.Header, 0, 8), &meta), Time: x.CaptureTime.Add(time.Millisecond),
			})
		}
		for {
			if free, _ := w.Room(); free > 4<<20 {
				break
			}
			if pause(ctx, time.Millisecond); ctx.Err() != nil {
				return ctx.Err()
			}
		}
		if lost.Load() > 0 {
			return errors.New("a record was not taken by Kafka")
		}
		w.PutAll(records)
	}
	return nil
}
