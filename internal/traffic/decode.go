package traffic

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrCorrupt is wrapped by every decoding error: the bytes are not the protobuf message they should be.
var ErrCorrupt = errors.New("corrupt record")

// maxInterned bounds the table of redaction rule and location names that a Decoder remembers.
const maxInterned = 4096

// Decoder reads exchanges without copying. The zero value is ready; it is not safe for concurrent use.
type Decoder struct {
	Foreign bool // what others wrote: an id counts for nothing and may be missing

	names map[string]string
}

// Decode reads a protobuf reprise.v1.Exchange into x, replacing what x held and reusing its slices. Byte slices in x
// alias b: they are valid as long as b is left unchanged. Unknown fields are skipped.
func (d *Decoder) Decode(b []byte, x *Exchange) error {
	headers, trailers, redactions := x.Request.Headers[:0], x.Request.Trailers[:0], x.Redactions[:0]
	resp := x.Response
	*x = Exchange{Redactions: redactions, Request: Request{Headers: headers, Trailers: trailers}}
	err := fields(b, func(num protowire.Number, v uint64, p []byte) error {
		switch num {
		case 1:
			if d.Foreign {
				return nil
			}
			if len(p) != len(x.ID) {
				return fmt.Errorf("id has %d bytes, want %d", len(p), len(x.ID))
			}
			x.ID = ID(p)
		case 2:
			x.CaptureTime = fromUnixNano(v)
		case 3:
			x.TimeSource = TimeSource(v)
		case 4:
			x.RulesDigest = p
		case 5:
			return decodeSource(p, &x.Source)
		case 6:
			return decodeConnection(p, &x.Connection)
		case 7:
			x.Session = p
		case 8:
			x.SampleHash = v
		case 9:
			r, err := d.redaction(p)
			x.Redactions = append(x.Redactions, r)
			return err
		case 10:
			return decodeFlags(v, p, &x.Flags)
		case 11:
			return decodeRequest(p, &x.Request)
		case 12:
			if resp == nil {
				resp = new(Response)
			}
			*resp = Response{Headers: resp.Headers[:0], Trailers: resp.Trailers[:0]}
			x.Response = resp
			return decodeResponse(p, resp)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w: exchange: %w", ErrCorrupt, err)
	}
	if x.ID == (ID{}) && !d.Foreign {
		return fmt.Errorf("%w: exchange: no id", ErrCorrupt)
	}
	return nil
}

func (d *Decoder) redaction(b []byte) (r Redaction, err error) {
	err = fields(b, func(num protowire.Number, v uint64, p []byte) error {
		switch num {
		case 1:
			r.Rule = d.intern(p)
		case 2:
			r.Version = uint32(v)
		case 3:
			r.KeyID = d.intern(p)
		case 4:
			r.Location = d.intern(p)
		}
		return nil
	})
	return r, err
}

// intern returns p as a string, one copy for all equal ones: rules and places repeat from record to record.
func (d *Decoder) intern(p []byte) string {
	if s, ok := d.names[string(p)]; ok {
		return s
	}
	s := string(p)
	if d.names == nil {
		d.names = make(map[string]string)
	}
	if len(d.names) < maxInterned {
		d.names[s] = s
	}
	return s
}

func decodeSource(b []byte, s *Source) error {
	return fields(b, func(num protowire.Number, v uint64, p []byte) error {
		switch num {
		case 1:
			s.Kind = SourceKind(v)
		case 2:
			s.Name = p
		}
		return nil
	})
}

func decodeConnection(b []byte, c *Connection) error {
	return fields(b, func(num protowire.Number, v uint64, p []byte) error {
		switch num {
		case 1:
			c.ID = p
		case 2:
			c.Sequence = v
		case 3:
			c.Client = p
		case 4:
			c.Server = p
		}
		return nil
	})
}

func decodeFlags(v uint64, packed []byte, f *Flags) error {
	if packed == nil {
		*f |= flag(v)
		return nil
	}
	for len(packed) > 0 {
		n, size := protowire.ConsumeVarint(packed)
		if size < 0 {
			return protowire.ParseError(size)
		}
		*f |= flag(n)
		packed = packed[size:]
	}
	return nil
}

func flag(n uint64) Flags {
	if n == 0 || n > 63 {
		return 0
	}
	return 1 << n
}

func decodeRequest(b []byte, r *Request) error {
	return fields(b, func(num protowire.Number, v uint64, p []byte) error {
		switch num {
		case 1:
			r.Method = p
		case 2:
			r.Scheme = p
		case 3:
			r.Authority = p
		case 4:
			r.Target = p
		case 5:
			r.Protocol = p
		case 6:
			return decodeField(p, &r.Headers)
		case 7:
			r.Body = p
		case 8:
			r.BodySize = int64(v)
		case 9:
			return decodeField(p, &r.Trailers)
		}
		return nil
	})
}

func decodeResponse(b []byte, r *Response) error {
	return fields(b, func(num protowire.Number, v uint64, p []byte) error {
		switch num {
		case 1:
			r.Status = int(uint32(v))
		case 2:
			return decodeField(p, &r.Headers)
		case 3:
			r.Body = p
		case 4:
			r.BodySize = int64(v)
		case 5:
			return decodeField(p, &r.Trailers)
		case 6:
			r.TTFB = time.Duration(v)
		case 7:
			r.Duration = time.Duration(v)
		case 8:
			r.Protocol = p
		}
		return nil
	})
}

func decodeField(b []byte, to *[]Field) error {
	if f, ok := plainField(b); ok {
		*to = append(*to, f)
		return nil
	}
	var f Field
	err := fields(b, func(num protowire.Number, _ uint64, p []byte) error {
		switch num {
		case 1:
			f.Name = p
		case 2:
			f.Value = p
		}
		return nil
	})
	*to = append(*to, f)
	return err
}

// plainField reads a field in the form that all encoders give to short ones: its name, then its value, each with a length of one byte. There
// are twenty in an exchange.
func plainField(b []byte) (f Field, ok bool) {
	if len(b) < 4 || b[0] != 1<<3|byte(protowire.BytesType) || b[1] >= 0x80 {
		return f, false
	}
	at := 2 + int(b[1])
	if len(b) < at+2 || b[at] != 2<<3|byte(protowire.BytesType) || b[at+1] >= 0x80 || len(b) != at+2+int(b[at+1]) {
		return f, false
	}
	return Field{Name: b[2:at:at], Value: b[at+2:]}, true
}

// fields calls each for every field of a message: v for the numeric wire types, p (never nil) for the length-delimited
// ones.
func fields(b []byte, each func(num protowire.Number, v uint64, p []byte) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		var v uint64
		var p []byte
		switch typ {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			v, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			p, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := each(num, v, p); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// unixNano gives 0 for the zero time, which UnixNano does not.
func unixNano(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixNano())
}

func fromUnixNano(v uint64) time.Time {
	if v == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(v)).UTC()
}
