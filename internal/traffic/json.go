package traffic

import (
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"time"
	"unicode/utf8"
)

// JSONOptions says what AppendJSON adds to an exchange.
type JSONOptions struct {
	Bodies     bool // request and response bodies; their sizes are always there
	Redactions bool // what was redacted, if anything
	HasKafka   bool // where the record lies: Partition and Offset
	Partition  int32
	Offset     int64
}

// AppendJSON appends x as one JSON object, without a newline. A body that is UTF-8 is in body, any other in body_b64.
// In any other value that is not UTF-8, bytes from 0x80 on become U+0080 to U+00FF, and NON_UTF8 is among the flags.
// Control characters are escaped, those from U+007F to U+009F too, so that a terminal does not obey them.
func AppendJSON(b []byte, x *Exchange, o JSONOptions) []byte {
	b = append(b, `{"id":"`...)
	b = hex.AppendEncode(b, x.ID[:])
	b = append(b, `","time":`...)
	b = appendJSONTime(b, x.CaptureTime)
	b = appendJSONText(append(b, `,"source":`...), []byte(x.Source.Kind.String()))
	if len(x.Source.Name) > 0 {
		b = appendJSONText(append(b, `,"source_name":`...), x.Source.Name)
	}
	b = appendJSONText(append(b, `,"session":`...), x.Session)
	b = appendJSONText(append(b, `,"client":`...), x.Connection.Client)
	b = appendJSONText(append(b, `,"server":`...), x.Connection.Server)
	flags := x.Flags
	if !x.isUTF8() {
		flags |= NonUTF8
	}
	b = append(b, `,"flags":[`...)
	for i, name := range flags.Names() {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), name...), '"')
	}
	b = append(b, `],"request":`...)
	b = appendJSONRequest(b, &x.Request, o)
	if x.Response != nil {
		b = append(b, `,"response":`...)
		b = appendJSONResponse(b, x.Response, o)
	}
	if o.Redactions && len(x.Redactions) > 0 {
		b = appendJSONRedactions(append(b, `,"redactions":`...), x.Redactions)
	}
	if o.HasKafka {
		b = strconv.AppendInt(append(b, `,"kafka":{"partition":`...), int64(o.Partition), 10)
		b = strconv.AppendInt(append(b, `,"offset":`...), o.Offset, 10)
		b = append(b, '}')
	}
	return append(b, '}')
}

func appendJSONRedactions(b []byte, list []Redaction) []byte {
	b = append(b, '[')
	for i := range list {
		if i > 0 {
			b = append(b, ',')
		}
		r := &list[i]
		b = appendJSONText(append(b, `{"rule":`...), []byte(r.Rule))
		b = strconv.AppendUint(append(b, `,"version":`...), uint64(r.Version), 10)
		b = appendJSONText(append(b, `,"key_id":`...), []byte(r.KeyID))
		b = appendJSONText(append(b, `,"location":`...), []byte(r.Location))
		b = append(b, '}')
	}
	return append(b, ']')
}

func appendJSONRequest(b []byte, r *Request, o JSONOptions) []byte {
	b = appendJSONText(append(b, `{"method":`...), r.Method)
	b = appendJSONText(append(b, `,"scheme":`...), r.Scheme)
	b = appendJSONText(append(b, `,"authority":`...), r.Authority)
	b = appendJSONText(append(b, `,"target":`...), r.Target)
	b = appendJSONText(append(b, `,"protocol":`...), r.Protocol)
	b = appendJSONFields(append(b, `,"headers":`...), r.Headers)
	b = appendJSONBody(b, r.Body, r.BodySize, o)
	b = appendJSONFields(append(b, `,"trailers":`...), r.Trailers)
	return append(b, '}')
}

func appendJSONResponse(b []byte, r *Response, o JSONOptions) []byte {
	b = strconv.AppendInt(append(b, `{"status":`...), int64(r.Status), 10)
	b = appendJSONFields(append(b, `,"headers":`...), r.Headers)
	b = appendJSONBody(b, r.Body, r.BodySize, o)
	b = appendJSONFields(append(b, `,"trailers":`...), r.Trailers)
	b = strconv.AppendInt(append(b, `,"ttfb_ns":`...), int64(r.TTFB), 10)
	b = strconv.AppendInt(append(b, `,"duration_ns":`...), int64(r.Duration), 10)
	return append(b, '}')
}

func appendJSONBody(b, body []byte, size int64, o JSONOptions) []byte {
	switch {
	case !o.Bodies:
	case utf8.Valid(body):
		b = appendJSONText(append(b, `,"body":`...), body)
	default:
		b = append(b, `,"body_b64":"`...)
		b = base64.StdEncoding.AppendEncode(b, body)
		b = append(b, '"')
	}
	return strconv.AppendInt(append(b, `,"body_size":`...), size, 10)
}

func appendJSONFields(b []byte, fields []Field) []byte {
	b = append(b, '[')
	for i := range fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSONText(append(b, '['), fields[i].Name)
		b = appendJSONText(append(b, ','), fields[i].Value)
		b = append(b, ']')
	}
	return append(b, ']')
}

// appendJSONTime appends RFC 3339 in UTC with all nine digits, so that text sorts as time does; null for the zero time.
func appendJSONTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, "null"...)
	}
	return t.UTC().AppendFormat(b, `"2006-01-02T15:04:05.000000000Z07:00"`)
}

const hexDigits = "0123456789abcdef"

func appendJSONText(b, s []byte) []byte {
	b = append(b, '"')
	isUTF8 := utf8.Valid(s)
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c >= 0x80 && isUTF8:
			r, size := utf8.DecodeRune(s[i:])
			if r < 0xa0 {
				b = appendJSONEscape(b, byte(r))
			} else {
				b = append(b, s[i:i+size]...)
			}
			i += size
			continue
		case c >= 0xa0:
			b = utf8.AppendRune(b, rune(c))
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c < ' ' || c >= 0x7f:
			b = appendJSONEscape(b, c)
		default:
			b = append(b, c)
		}
		i++
	}
	return append(b, '"')
}

func appendJSONEscape(b []byte, c byte) []byte {
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// isUTF8 reports whether every value but the bodies is UTF-8.
func (x *Exchange) isUTF8() bool {
	r := &x.Request
	for _, v := range [...][]byte{
		x.Source.Name, x.Session, x.Connection.Client, x.Connection.Server, r.Method, r.Scheme, r.Authority, r.Target,
		r.Protocol,
	} {
		if !utf8.Valid(v) {
			return false
		}
	}
	if !areUTF8(r.Headers) || !areUTF8(r.Trailers) {
		return false
	}
	return x.Response == nil || areUTF8(x.Response.Headers) && areUTF8(x.Response.Trailers)
}

func areUTF8(fields []Field) bool {
	for i := range fields {
		if !utf8.Valid(fields[i].Name) || !utf8.Valid(fields[i].Value) {
			return false
		}
	}
	return true
}
