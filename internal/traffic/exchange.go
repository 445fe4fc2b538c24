// Package traffic holds what flows through Reprise: exchanges, and the outcomes of replaying them, with their protobuf
// and JSON codecs. It does no I/O and imports no other internal package.
package traffic

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// Exchange is one recorded request with its response, if one was seen. After Decoder.Decode its byte slices alias the
// decoded buffer; whoever changes a value replaces the slice and never writes into it.
type Exchange struct {
	ID          ID
	CaptureTime time.Time // first request byte, UTC
	TimeSource  TimeSource
	RulesDigest []byte // of the redaction rules it went through; empty: none
	Source      Source
	Connection  Connection
	Session     []byte // pseudonymised; empty: none known
	SampleHash  uint64
	Redactions  []Redaction
	Flags       Flags
	Request     Request
	Response    *Response // nil: none seen
}

// Request is what the client sent.
type Request struct {
	Method    []byte
	Scheme    []byte
	Authority []byte // host[:port] as sent
	Target    []byte // as sent: origin form, absolute form, "*" or authority form
	Protocol  []byte // "HTTP/1.1"
	Headers   []Field
	Body      []byte // transfer coding removed, content coding kept; cut at the tap's --body-max
	BodySize  int64  // whole size in bytes, also where Body is a part or was removed
	Trailers  []Field
}

// Response is what production answered.
type Response struct {
	Status   int
	Protocol []byte
	Headers  []Field
	Body     []byte
	BodySize int64
	Trailers []Field
	TTFB     time.Duration // first request byte to first response byte
	Duration time.Duration // first request byte to last response byte
}

// Field is a header or trailer field as it stood on the wire.
type Field struct{ Name, Value []byte }

// Connection tells which client connection an exchange came on.
type Connection struct {
	ID       []byte // unique within a tap
	Sequence uint64 // from 1; 0: unknown
	Client   []byte // "ip:port"
	Server   []byte // "ip:port"
}

// Source tells where a tap captured.
type Source struct {
	Kind SourceKind
	Name []byte
}

// Redaction names one value that was replaced before the exchange was stored.
type Redaction struct {
	Rule     string
	Version  uint32
	KeyID    string
	Location string // such as "request.header:Authorization#0" or "request.json:/user/phone"
}

// ID identifies an exchange: 16 bytes of the tap, 8 of its sequence number.
type ID [24]byte

// MakeID joins a tap's id and a sequence number.
func MakeID(tap [16]byte, seq uint64) ID {
	var id ID
	copy(id[:], tap[:])
	binary.BigEndian.PutUint64(id[16:], seq)
	return id
}

// ParseID reads what String wrote.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 2*len(id) {
		return id, fmt.Errorf("exchange id %q: want %d hexadecimal digits", s, 2*len(id))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return id, fmt.Errorf("exchange id %q: %w", s, err)
	}
	return id, nil
}

// String returns 48 hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Short returns an abbreviation for tables: the tap's first digits and the sequence number.
func (id ID) Short() string { return fmt.Sprintf("%x…:%x", id[:2], id.Seq()) }

// Tap returns the tap's part.
func (id ID) Tap() (tap [16]byte) { copy(tap[:], id[:16]); return tap }

// Seq returns the sequence number, from 1.
func (id ID) Seq() uint64 { return binary.BigEndian.Uint64(id[16:]) }

// fixedSize is what an Exchange costs beside its bytes: the structs and slice headers.
const fixedSize = 512

// Size returns roughly the bytes of memory that x holds, for budgets.
func (x *Exchange) Size() int {
	n := fixedSize + len(x.Session) + len(x.Request.Body) + len(x.Request.Target) +
		fieldsSize(x.Request.Headers) + fieldsSize(x.Request.Trailers)
	if r := x.Response; r != nil {
		n += len(r.Body) + fieldsSize(r.Headers) + fieldsSize(r.Trailers)
	}
	return n
}

func fieldsSize(fields []Field) int {
	n := 0
	for _, f := range fields {
		n += len(f.Name) + len(f.Value) + 48
	}
	return n
}

// Get returns the value of the first field with that name, compared without case, and whether there is one.
func Get(fields []Field, name string) ([]byte, bool) {
	for i := range fields {
		if EqualName(fields[i].Name, name) {
			return fields[i].Value, true
		}
	}
	return nil, false
}

// EqualName compares a field name with one given in any case, ASCII only.
func EqualName(name []byte, want string) bool {
	if len(name) != len(want) {
		return false
	}
	for i := range name {
		if lower(name[i]) != lower(want[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
