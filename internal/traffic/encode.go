package traffic

import (
	"encoding/binary"
	"math/bits"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// AppendExchange appends x as a protobuf reprise.v1.Exchange, byte for byte what proto.Marshal gives, without building
// the generated structs: a third of the time on the tap's hot path.
func AppendExchange(b []byte, x *Exchange) []byte {
	if x.ID != (ID{}) {
		b = appendBytes(b, 1, x.ID[:])
	}
	b = appendFixed64(b, 2, unixNano(x.CaptureTime))
	b = appendVarint(b, 3, uint64(x.TimeSource))
	b = appendBytes(b, 4, x.RulesDigest)
	b = appendMessage(b, 5, func(b []byte) []byte {
		b = appendVarint(b, 1, uint64(x.Source.Kind))
		return appendBytes(b, 2, x.Source.Name)
	})
	b = appendMessage(b, 6, func(b []byte) []byte {
		b = appendBytes(b, 1, x.Connection.ID)
		b = appendVarint(b, 2, x.Connection.Sequence)
		b = appendBytes(b, 3, x.Connection.Client)
		return appendBytes(b, 4, x.Connection.Server)
	})
	b = appendBytes(b, 7, x.Session)
	b = appendFixed64(b, 8, x.SampleHash)
	for i := range x.Redactions {
		b = appendMessage(b, 9, func(b []byte) []byte { return appendRedaction(b, &x.Redactions[i]) })
	}
	b = appendFlags(b, 10, x.Flags)
	b = appendMessage(b, 11, func(b []byte) []byte { return appendRequest(b, &x.Request) })
	if x.Response != nil {
		b = appendMessage(b, 12, func(b []byte) []byte { return appendResponse(b, x.Response) })
	}
	return b
}

// SizeHint is about how many bytes AppendExchange appends, rather more than less.
func SizeHint(x *Exchange) int {
	const fixed, each = 192, 8 // numbers, digest, tags and lengths; tags and lengths of a field
	n := fixed + len(x.Source.Name) + len(x.Session) +
		len(x.Connection.ID) + len(x.Connection.Client) + len(x.Connection.Server)
	for i := range x.Redactions {
		r := &x.Redactions[i]
		n += 2*each + len(r.Rule) + len(r.KeyID) + len(r.Location)
	}
	fields := func(fields []Field) {
		for i := range fields {
			n += each + len(fields[i].Name) + len(fields[i].Value)
		}
	}
	q := &x.Request
	n += len(q.Method) + len(q.Scheme) + len(q.Authority) + len(q.Target) + len(q.Protocol) + len(q.Body)
	fields(q.Headers)
	fields(q.Trailers)
	if r := x.Response; r != nil {
		n += len(r.Body) + len(r.Protocol)
		fields(r.Headers)
		fields(r.Trailers)
	}
	return n
}

func appendRedaction(b []byte, r *Redaction) []byte {
	b = appendString(b, 1, r.Rule)
	b = appendVarint(b, 2, uint64(r.Version))
	b = appendString(b, 3, r.KeyID)
	return appendString(b, 4, r.Location)
}

func appendRequest(b []byte, r *Request) []byte {
	b = appendBytes(b, 1, r.Method)
	b = appendBytes(b, 2, r.Scheme)
	b = appendBytes(b, 3, r.Authority)
	b = appendBytes(b, 4, r.Target)
	b = appendBytes(b, 5, r.Protocol)
	b = appendFields(b, 6, r.Headers)
	b = appendBytes(b, 7, r.Body)
	b = appendVarint(b, 8, uint64(r.BodySize))
	return appendFields(b, 9, r.Trailers)
}

func appendResponse(b []byte, r *Response) []byte {
	b = appendVarint(b, 1, uint64(r.Status))
	b = appendFields(b, 2, r.Headers)
	b = appendBytes(b, 3, r.Body)
	b = appendVarint(b, 4, uint64(r.BodySize))
	b = appendFields(b, 5, r.Trailers)
	b = appendVarint(b, 6, uint64(r.TTFB))
	b = appendVarint(b, 7, uint64(r.Duration))
	return appendBytes(b, 8, r.Protocol)
}

func appendFields(b []byte, num byte, fields []Field) []byte {
	for i := range fields {
		f := &fields[i]
		b = appendLength(appendTag(b, num, protowire.BytesType), sizeBytes(f.Name)+sizeBytes(f.Value))
		b = appendBytes(b, 1, f.Name)
		b = appendBytes(b, 2, f.Value)
	}
	return b
}

// sizeBytes is the encoded size of a bytes field with a number below 16.
func sizeBytes(v []byte) int {
	switch {
	case len(v) == 0:
		return 0
	case len(v) < oneByte:
		return 2 + len(v)
	}
	return 1 + protowire.SizeBytes(len(v))
}

// Most lengths take one byte of a varint, and most tags too: these go without its loop, of which an exchange has a hundred.
const oneByte = 1 << 7

// appendTag is protowire's for fields with a number below 32.
func appendTag(b []byte, num byte, t protowire.Type) []byte {
	if num < 16 {
		return append(b, num<<3|byte(t))
	}
	return append(b, num<<3|byte(t)|oneByte, num>>4)
}

func appendLength(b []byte, n int) []byte {
	if n < oneByte {
		return append(b, byte(n))
	}
	return protowire.AppendVarint(b, uint64(n))
}

// appendFlags appends the set bits as a packed repeated enum.
func appendFlags(b []byte, num byte, f Flags) []byte {
	if f == 0 {
		return b
	}
	b = append(appendTag(b, num, protowire.BytesType), byte(bits.OnesCount64(uint64(f)))) // every number is below 128: a byte each
	for ; f != 0; f &= f - 1 {
		b = append(b, byte(bits.TrailingZeros64(uint64(f))))
	}
	return b
}

// appendMessage appends an embedded message whose length is known only afterwards: most are below 128 bytes, so one
// byte is kept for the length and the content moved when that was not enough.
func appendMessage(b []byte, num byte, content func([]byte) []byte) []byte {
	b = append(appendTag(b, num, protowire.BytesType), 0)
	at := len(b) - 1
	b = content(b)
	size := len(b) - at - 1
	if size < oneByte {
		b[at] = byte(size)
		return b
	}
	if extra := protowire.SizeVarint(uint64(size)) - 1; extra > 0 {
		var grow [binary.MaxVarintLen64]byte
		b = append(b, grow[:extra]...)
		copy(b[at+1+extra:], b[at+1:at+1+size])
	}
	binary.PutUvarint(b[at:], uint64(size))
	return b
}

func appendBytes(b []byte, num byte, v []byte) []byte {
	switch {
	case len(v) == 0:
		return b
	case len(v) < oneByte:
		return append(append(appendTag(b, num, protowire.BytesType), byte(len(v))), v...)
	}
	return protowire.AppendBytes(appendTag(b, num, protowire.BytesType), v)
}

// appendString replaces what is not UTF-8: a proto3 string that is not cannot be read by others.
func appendString(b []byte, num byte, v string) []byte {
	if v == "" {
		return b
	}
	if !utf8.ValidString(v) {
		v = strings.ToValidUTF8(v, "\uFFFD")
	}
	return append(appendLength(appendTag(b, num, protowire.BytesType), len(v)), v...)
}

func appendVarint(b []byte, num byte, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(appendTag(b, num, protowire.VarintType), v)
}

func appendFixed64(b []byte, num byte, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendFixed64(appendTag(b, num, protowire.Fixed64Type), v)
}
