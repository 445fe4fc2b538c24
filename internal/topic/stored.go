package topic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// ErrStored is wrapped by ParseRecord's errors.
var ErrStored = errors.New("not a stored record")

// The form of a record outside Kafka: a version and marks of what is there, the time in nanoseconds since 1970 as a varint,
// then key, value and headers, each with its length as a uvarint before it.
const (
	storedVersion = 1 << 4
	storedTime    = 1
	storedKey     = 2
)

// AppendRecord appends what a Writer sends of r: Key, Value, Headers and Time.
func AppendRecord(b []byte, r *Record) []byte {
	mark := byte(storedVersion)
	if !r.Time.IsZero() {
		mark |= storedTime
	}
	if r.Key != nil {
		mark |= storedKey
	}
	b = append(b, mark)
	if mark&storedTime != 0 {
		b = binary.AppendVarint(b, r.Time.UnixNano())
	}
	if mark&storedKey != 0 {
		b = appendBytes(b, r.Key)
	}
	b = appendBytes(b, r.Value)
	b = binary.AppendUvarint(b, uint64(len(r.Headers)))
	for i := range r.Headers {
		b = appendBytes(b, r.Headers[i].Key)
		b = appendBytes(b, r.Headers[i].Value)
	}
	return b
}

func appendBytes[T ~[]byte | ~string](b []byte, v T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

// ParseRecord reads what AppendRecord has written. The record aliases b.
func ParseRecord(b []byte) (Record, error) {
	if len(b) == 0 || b[0]&^(storedTime|storedKey) != storedVersion {
		return Record{}, fmt.Errorf("%w: of another version", ErrStored)
	}
	var r Record
	mark, p := b[0], parts{rest: b[1:]}
	if mark&storedTime != 0 {
		ns, n := binary.Varint(p.rest)
		p.skip(n)
		r.Time = time.Unix(0, ns).UTC()
	}
	if mark&storedKey != 0 {
		r.Key = p.bytes()
	}
	r.Value = p.bytes()
	count, n := binary.Uvarint(p.rest)
	p.skip(n)
	if count > uint64(len(p.rest))/2 {
		p.bad = true
	}
	if !p.bad && count > 0 {
		r.Headers = make([]Header, count)
		for i := range r.Headers {
			r.Headers[i].Key = string(p.bytes())
			r.Headers[i].Value = p.bytes()
		}
	}
	if p.bad || len(p.rest) > 0 {
		return Record{}, fmt.Errorf("%w: cut off, or something is behind it", ErrStored)
	}
	return r, nil
}

// parts takes a stored record apart.
type parts struct {
	rest []byte
	bad  bool
}

func (p *parts) skip(n int) {
	if n <= 0 || p.bad {
		p.bad = true
		return
	}
	p.rest = p.rest[n:]
}

func (p *parts) bytes() []byte {
	size, n := binary.Uvarint(p.rest)
	p.skip(n)
	if p.bad || size > uint64(len(p.rest)) {
		p.bad = true
		return nil
	}
	v := p.rest[:size:size]
	p.rest = p.rest[size:]
	return v
}
