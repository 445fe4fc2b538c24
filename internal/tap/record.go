package tap

import (
	"bytes"
	"time"

	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// encoder turns a batch of exchanges into Kafka records. All of a batch share one buffer, one slice of headers and one of
// records: they are acknowledged at about the same time, and one allocation serves sixty. What the exchanges were captured in
// is not held by their records.
type encoder struct {
	buf     []byte
	headers []topic.Header
	records []topic.Record
}

func newEncoder(batch []*traffic.Exchange) *encoder {
	size := 0
	for _, x := range batch {
		size += traffic.SizeHint(x) + traffic.MetaSize + len(x.Request.Method) + len(x.Request.Target)
	}
	return &encoder{ // too little of one only costs another
		buf: make([]byte, 0, size), headers: make([]topic.Header, 0, len(batch)*traffic.MetaHeaders),
		records: make([]topic.Record, 0, len(batch)),
	}
}

// record encodes x. The Kafka timestamp is never before the capture time, so that an offset looked up by time skips
// nothing.
func (e *encoder) record(x *traffic.Exchange, stamp time.Time) *topic.Record {
	from, header := len(e.buf), len(e.headers)
	e.buf = traffic.AppendExchange(e.buf, x)
	value := e.buf[from:len(e.buf):len(e.buf)]
	meta := traffic.MetaOf(x, pathOf(x.Request.Target))
	e.headers, e.buf = traffic.AppendMetaIn(e.headers, e.buf, &meta)
	e.records = append(e.records, topic.Record{
		Key:     keyOf(x),
		Value:   value,
		Headers: e.headers[header:len(e.headers):len(e.headers)],
		Time:    ceilMilli(stamp),
	})
	return &e.records[len(e.records)-1]
}

// keyOf spreads exchanges over partitions so that those of a session, or else of a connection, keep together.
func keyOf(x *traffic.Exchange) []byte {
	switch {
	case len(x.Session) > 0:
		return x.Session
	case len(x.Connection.ID) > 0:
		return x.Connection.ID
	}
	return nil
}

// ceilMilli rounds up to Kafka's resolution.
func ceilMilli(t time.Time) time.Time {
	if down := t.Truncate(time.Millisecond); down.Before(t) {
		return down.Add(time.Millisecond)
	}
	return t
}

// pathOf is the path of a request target in any of its forms, without query.
func pathOf(target []byte) []byte {
	path, _, _ := bytes.Cut(target, []byte("?"))
	if scheme := bytes.Index(path, []byte("://")); scheme > 0 && path[0] != '/' {
		slash := bytes.IndexByte(path[scheme+3:], '/')
		if slash < 0 {
			return []byte("/")
		}
		path = path[scheme+3+slash:]
	}
	return path
}
