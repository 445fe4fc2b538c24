package traffic

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"time"
)

// Names of the Kafka record headers, which tell what a record is without decoding it. Values are text, redacted by the
// same rules as the record.
const (
	HeaderID          = "reprise-id"   // 48 hexadecimal digits
	HeaderCaptureTime = "capture-time" // ns since 1970 UTC, decimal
	HeaderMethod      = "method"
	HeaderPath        = "path"        // without query
	HeaderStatus      = "status"      // decimal; absent without response
	HeaderSample      = "sample"      // 16 hexadecimal digits
	HeaderFlags       = "flags"       // names with commas between; absent without flags
	HeaderTraceparent = "traceparent" // absent when the request had none
)

// Meta is what the Kafka headers of a record say. Byte slices alias what it was made from.
type Meta struct {
	ID          ID
	CaptureTime time.Time // UTC
	Method      []byte
	Path        []byte
	Status      int // 0: no response
	Sample      uint64
	Flags       Flags
	Traceparent []byte // empty: none
}

// MetaOf returns the meta of a redacted exchange. Path is its target's path, redacted and without query.
func MetaOf(x *Exchange, path []byte) Meta {
	m := Meta{
		ID: x.ID, CaptureTime: x.CaptureTime, Method: x.Request.Method, Path: path, Sample: x.SampleHash, Flags: x.Flags,
	}
	if x.Response != nil {
		m.Status = x.Response.Status
	}
	m.Traceparent, _ = Get(x.Request.Headers, HeaderTraceparent)
	return m
}

// KafkaHeader is one header of a Kafka record. Types of that shape elsewhere can be used in its place.
type KafkaHeader = struct {
	Key   string
	Value []byte
}

// MetaHeaders is the number of headers of an exchange without flags and traceparent, MetaSize the bytes of their values beside
// method and path.
const (
	MetaHeaders = 6
	MetaSize    = 2*len(ID{}) + 19 + 3 + 16
)

// AppendMeta appends the headers that say m. Their values share one new buffer.
func AppendMeta[H ~struct {
	Key   string
	Value []byte
}](to []H, m *Meta) []H {
	to, _ = AppendMetaIn(to, make([]byte, 0, MetaSize+len(m.Method)+len(m.Path)+24*len(m.Flags.Names())+len(m.Traceparent)), m)
	return to
}

// AppendMetaIn is AppendMeta with the values appended to buf: nothing of what m was made from is held.
func AppendMetaIn[H ~struct {
	Key   string
	Value []byte
}](to []H, buf []byte, m *Meta) ([]H, []byte) {
	from := len(buf)
	add := func(key string) {
		to = append(to, H(KafkaHeader{Key: key, Value: buf[from:len(buf):len(buf)]}))
		from = len(buf)
	}
	buf = hex.AppendEncode(buf, m.ID[:])
	add(HeaderID)
	buf = strconv.AppendUint(buf, unixNano(m.CaptureTime), 10)
	add(HeaderCaptureTime)
	buf = append(buf, m.Method...)
	add(HeaderMethod)
	buf = append(buf, m.Path...)
	add(HeaderPath)
	if m.Status != 0 {
		buf = strconv.AppendInt(buf, int64(m.Status), 10)
		add(HeaderStatus)
	}
	for shift := 60; shift >= 0; shift -= 4 {
		buf = append(buf, "0123456789abcdef"[m.Sample>>shift&15])
	}
	add(HeaderSample)
	if m.Flags != 0 {
		buf = append(buf, m.Flags.String()...)
		add(HeaderFlags)
	}
	if len(m.Traceparent) > 0 {
		buf = append(buf, m.Traceparent...)
		add(HeaderTraceparent)
	}
	return to, buf
}

// ParseMeta reads the headers of a record into m, replacing what it held; headers with other names are skipped. An
// error wraps ErrCorrupt and means that id or capture time is missing, or a value malformed: m then has the rest, and
// only the record itself can tell more.
func ParseMeta[H ~struct {
	Key   string
	Value []byte
}](headers []H, m *Meta) error {
	*m = Meta{}
	var bad error
	var hasID, hasTime bool
	for i := range headers {
		h := KafkaHeader(headers[i])
		var err error
		switch h.Key {
		case HeaderID:
			hasID = true
			err = parseIDBytes(h.Value, &m.ID)
		case HeaderCaptureTime:
			hasTime = true
			var ns uint64
			ns, err = parseDigits(h.Value, 1<<63-1)
			m.CaptureTime = fromUnixNano(ns)
		case HeaderMethod:
			m.Method = h.Value
		case HeaderPath:
			m.Path = h.Value
		case HeaderStatus:
			var status uint64
			status, err = parseDigits(h.Value, 1<<31-1)
			m.Status = int(status)
		case HeaderSample:
			m.Sample, err = strconv.ParseUint(string(h.Value), 16, 64)
		case HeaderFlags:
			m.Flags = ParseFlags(string(h.Value))
		case HeaderTraceparent:
			m.Traceparent = h.Value
		}
		if err != nil && bad == nil {
			bad = fmt.Errorf("%w: kafka header %s: %w", ErrCorrupt, h.Key, err)
		}
	}
	switch {
	case bad != nil:
		return bad
	case !hasID:
		return fmt.Errorf("%w: no kafka header %s", ErrCorrupt, HeaderID)
	case !hasTime:
		return fmt.Errorf("%w: no kafka header %s", ErrCorrupt, HeaderCaptureTime)
	}
	return nil
}

func parseIDBytes(text []byte, id *ID) error {
	if len(text) != 2*len(id) {
		return fmt.Errorf("%q: want %d hexadecimal digits", text, 2*len(id))
	}
	if _, err := hex.Decode(id[:], text); err != nil {
		*id = ID{}
		return err
	}
	return nil
}

// parseDigits reads a decimal number up to limit, without allocating.
func parseDigits(text []byte, limit uint64) (uint64, error) {
	var n uint64
	for _, c := range text {
		d := uint64(c - '0')
		if c < '0' || c > '9' || n > (limit-d)/10 {
			return 0, fmt.Errorf("%q is not a number up to %d", text, limit)
		}
		n = 10*n + d
	}
	if len(text) == 0 {
		return 0, fmt.Errorf("%q is not a number up to %d", text, limit)
	}
	return n, nil
}
