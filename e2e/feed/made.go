package feed

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// Made describes exchanges that nobody sent: GETs from many sessions, with answers, arriving as a Poisson process.
type Made struct {
	Count      int
	Rate       float64   // a second
	Start      time.Time // capture time of the beginning
	Seed       uint64
	Sessions   int    // 0: 1000
	Authority  string // ""; "shop.example"
	Partitions int32  // of the topic, if it is created; 0: 12
	Digest     []byte // of the rules they would have gone through; nil: none
	// Duration is how long production took for each answer; 0: 1 ms.
	Duration time.Duration
}

// Recorded is one made-up exchange as it was stored.
type Recorded struct {
	ID      traffic.ID
	Capture time.Time
	Session int
}

// Write stores the exchanges and returns them in the order of their capture times. Records of a partition are stored in
// the order in which their answers ended, as a tap does it.
func (m Made) Write(ctx context.Context, brokers string, names topic.Names) ([]Recorded, error) {
	cfg := topic.Config{Brokers: []string{brokers}, ClientID: "reprise-e2e"}
	if err := m.create(ctx, cfg, names); err != nil {
		return nil, err
	}
	if m.Sessions == 0 {
		m.Sessions = 1000
	}
	random := rand.New(rand.NewPCG(m.Seed, 7))
	var tap [16]byte
	binary.BigEndian.PutUint64(tap[:], m.Seed+1)
	at := m.Start
	all := make([]Recorded, m.Count)
	const batch = 1000
	records := make([]*topic.Record, 0, batch)
	for i := range all {
		at = at.Add(time.Duration(random.ExpFloat64() / m.Rate * float64(time.Second)))
		session := random.IntN(m.Sessions)
		x := m.exchange(traffic.MakeID(tap, uint64(i+1)), at, session)
		all[i] = Recorded{ID: x.ID, Capture: at, Session: session}
		path, _, _ := bytes.Cut(x.Request.Target, []byte("?"))
		meta := traffic.MetaOf(x, path)
		records = append(records, &topic.Record{
			Key: x.Session, Value: traffic.AppendExchange(nil, x),
			Headers: traffic.AppendMeta(make([]topic.Header, 0, 8), &meta), Time: at.Add(time.Millisecond),
		})
		if len(records) == batch || i == len(all)-1 {
			if _, err := topic.Produce(ctx, cfg, names.Exchanges, records...); err != nil {
				return nil, err
			}
			records = records[:0]
		}
	}
	return all, nil
}

func (m Made) create(ctx context.Context, cfg topic.Config, names topic.Names) error {
	admin, err := topic.NewAdmin(cfg)
	if err != nil {
		return err
	}
	defer admin.Close()
	return admin.Ensure(ctx, []topic.Spec{
		topic.ExchangesSpec(names, m.Partitions), topic.ControlSpec(names), topic.ResultsSpec(names, m.Partitions),
	})
}

// exchange is a GET with a browser's headers and a small JSON answer, about 1 KiB in all.
func (m Made) exchange(id traffic.ID, at time.Time, session int) *traffic.Exchange {
	authority := m.Authority
	if authority == "" {
		authority = "shop.example"
	}
	duration := m.Duration
	if duration == 0 {
		duration = time.Millisecond
	}
	field := func(name, value string) traffic.Field {
		return traffic.Field{Name: []byte(name), Value: []byte(value)}
	}
	body := appendItem(nil, id.Seq())
	return &traffic.Exchange{
		ID: id, CaptureTime: at, TimeSource: traffic.OwnClock, RulesDigest: m.Digest,
		Source:     traffic.Source{Kind: traffic.Proxy, Name: []byte("made")},
		Connection: traffic.Connection{ID: fmt.Appendf(nil, "c%d", session), Client: []byte("192.0.2.7:40000"), Server: []byte("198.51.100.2:80")},
		Session:    fmt.Appendf(nil, "s%d", session),
		Request: traffic.Request{
			Method: []byte("GET"), Scheme: []byte("http"), Authority: []byte(authority), Protocol: []byte("HTTP/1.1"),
			Target: fmt.Appendf(nil, "/items/%d?ref=home", id.Seq()),
			Headers: []traffic.Field{
				field("Host", authority),
				field("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
				field("Accept", "application/json,text/html;q=0.9,*/*;q=0.8"),
				field("Accept-Language", "en-GB,en;q=0.7,zh-CN;q=0.3"),
				field("Accept-Encoding", "gzip, deflate"),
				field("Connection", "keep-alive"),
				field("Referer", "http://"+authority+"/items?page=3"),
			},
		},
		Response: &traffic.Response{
			Status: 200, Protocol: []byte("HTTP/1.1"), TTFB: duration / 2, Duration: duration,
			Headers: []traffic.Field{
				field("Content-Type", "application/json"),
				field("Content-Length", strconv.Itoa(len(body))),
				field("Date", at.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")),
			},
			Body: body, BodySize: int64(len(body)),
		},
	}
}

func appendItem(b []byte, number uint64) []byte {
	b = strconv.AppendUint(append(b, `{"id":`...), number, 10)
	return append(b, `,"name":"ochre teapot by Dana","price":12.5,"stock":7,"tags":["teapot","ochre"]}`...)
}

// AppendAnswer appends the whole response that was recorded for a request target of what is made up, but for its Date.
func AppendAnswer(b, target []byte) []byte {
	const prefix = "/items/"
	var number uint64
	if bytes.HasPrefix(target, []byte(prefix)) {
		for _, c := range target[len(prefix):] {
			if c < '0' || c > '9' {
				break
			}
			number = 10*number + uint64(c-'0')
		}
	}
	var body [128]byte
	item := appendItem(body[:0], number)
	b = append(b, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(item)), 10)
	b = append(b, "\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n"...)
	return append(b, item...)
}
