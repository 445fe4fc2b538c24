package traffic

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// ParseJSON reads one exchange as AppendJSON writes it into x, replacing what x held. It is strict: what is unknown, of the
// wrong type, in two forms at once or negative is an error, as is anything behind the object. Every key may be absent;
// a body_size that is takes the body's. "kafka" is read over. Under the flag NON_UTF8, which is taken off, values whose
// characters are all below U+0100 become bytes again, unless they then were UTF-8.
func ParseJSON(b []byte, x *Exchange) error {
	*x = Exchange{}
	if !utf8.Valid(b) {
		return errNotText
	}
	var j jsonExchange
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&j); err != nil {
		return plainJSON(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errBehind
	}
	return j.into(x)
}

var (
	errNotText   = errors.New("it is not UTF-8")
	errBehind    = errors.New("there is something behind the object")
	errBothForms = errors.New("body and body_b64 are both there")
	errSmallSize = errors.New("body_size is less than the body")
	errNegative  = errors.New("a size or a duration is negative")
	errPair      = errors.New("a field is not a list of a name and a value")
	errJSONTime  = errors.New("time is not RFC 3339 between 1970 and 2262")
	errNoObject  = errors.New("it is no object")
)

type jsonExchange struct {
	ID         string        `json:"id"`
	Time       *string       `json:"time"`
	Source     string        `json:"source"`
	SourceName string        `json:"source_name"`
	Session    string        `json:"session"`
	Client     string        `json:"client"`
	Server     string        `json:"server"`
	Flags      []string      `json:"flags"`
	Request    *jsonRequest  `json:"request"`
	Response   *jsonResponse `json:"response"`
	Redactions []struct {
		Rule     string `json:"rule"`
		Version  uint32 `json:"version"`
		KeyID    string `json:"key_id"`
		Location string `json:"location"`
	} `json:"redactions"`
	Kafka *struct {
		Partition int32 `json:"partition"`
		Offset    int64 `json:"offset"`
	} `json:"kafka"`
}

type jsonRequest struct {
	Method    string      `json:"method"`
	Scheme    string      `json:"scheme"`
	Authority string      `json:"authority"`
	Target    string      `json:"target"`
	Protocol  string      `json:"protocol"`
	Headers   []jsonField `json:"headers"`
	jsonBody
	Trailers []jsonField `json:"trailers"`
}

type jsonResponse struct {
	Status  int         `json:"status"`
	Headers []jsonField `json:"headers"`
	jsonBody
	Trailers []jsonField `json:"trailers"`
	TTFB     int64       `json:"ttfb_ns"`
	Duration int64       `json:"duration_ns"`
}

type jsonBody struct {
	Text   *string `json:"body"`
	Base64 *[]byte `json:"body_b64"`
	Size   *int64  `json:"body_size"`
}

// jsonField is a list of exactly two strings.
type jsonField struct{ name, value string }

// UnmarshalJSON implements json.Unmarshaler.
func (f *jsonField) UnmarshalJSON(b []byte) error {
	var pair []*string
	if err := json.Unmarshal(b, &pair); err != nil || len(pair) != 2 || pair[0] == nil || pair[1] == nil {
		return errPair
	}
	f.name, f.value = *pair[0], *pair[1]
	return nil
}

// plainJSON says in short what encoding/json found.
func plainJSON(err error) error {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if e.Field == "" {
			return errNoObject
		}
		return fmt.Errorf("%s is a %s", e.Field, e.Value)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return io.ErrUnexpectedEOF
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

func (j *jsonExchange) into(x *Exchange) (err error) {
	if x.Flags, err = parseFlagNames(j.Flags); err != nil {
		return err
	}
	text := texts(x.Flags.Has(NonUTF8))
	x.Flags &^= NonUTF8
	if j.ID != "" {
		if x.ID, err = ParseID(j.ID); err != nil {
			return err
		}
	}
	if j.Time != nil {
		t, err := time.Parse(time.RFC3339Nano, *j.Time)
		if err != nil || t.Year() < 1970 || t.Year() >= 2262 {
			return errJSONTime
		}
		x.CaptureTime = t.UTC()
	}
	if j.Source != "" {
		kind, ok := reprisev1.SourceKind_value["SOURCE_KIND_"+strings.ToUpper(j.Source)]
		if !ok {
			return fmt.Errorf("unknown source %q", j.Source)
		}
		x.Source.Kind = SourceKind(kind)
	}
	x.Source.Name, x.Session = text.bytes(j.SourceName), text.bytes(j.Session)
	x.Connection.Client, x.Connection.Server = text.bytes(j.Client), text.bytes(j.Server)
	for _, r := range j.Redactions {
		x.Redactions = append(x.Redactions, Redaction(r))
	}
	if q := j.Request; q != nil {
		x.Request = Request{
			Method: text.bytes(q.Method), Scheme: text.bytes(q.Scheme), Authority: text.bytes(q.Authority),
			Target: text.bytes(q.Target), Protocol: text.bytes(q.Protocol),
			Headers: text.fields(q.Headers), Trailers: text.fields(q.Trailers),
		}
		if x.Request.Body, x.Request.BodySize, err = q.content(); err != nil {
			return fmt.Errorf("request: %w", err)
		}
	}
	p := j.Response
	if p == nil {
		return nil
	}
	if p.Status < 0 || p.Status > 999 {
		return fmt.Errorf("response: status %d", p.Status)
	}
	if p.TTFB < 0 || p.Duration < 0 {
		return fmt.Errorf("response: %w", errNegative)
	}
	x.Response = &Response{
		Status: p.Status, Headers: text.fields(p.Headers), Trailers: text.fields(p.Trailers),
		TTFB: time.Duration(p.TTFB), Duration: time.Duration(p.Duration),
	}
	if x.Response.Body, x.Response.BodySize, err = p.content(); err != nil {
		return fmt.Errorf("response: %w", err)
	}
	return nil
}

func parseFlagNames(names []string) (f Flags, err error) {
	for _, name := range names {
		n, ok := reprisev1.Flag_value["FLAG_"+name]
		if !ok || n == 0 {
			return 0, fmt.Errorf("unknown flag %q", name)
		}
		f |= 1 << n
	}
	return f, nil
}

func (b *jsonBody) content() (body []byte, size int64, err error) {
	switch {
	case b.Text != nil && b.Base64 != nil:
		return nil, 0, errBothForms
	case b.Text != nil && *b.Text != "":
		body = []byte(*b.Text)
	case b.Base64 != nil && len(*b.Base64) > 0:
		body = *b.Base64
	}
	size = int64(len(body))
	if b.Size != nil {
		switch {
		case *b.Size < 0:
			return nil, 0, errNegative
		case *b.Size < size:
			return nil, 0, errSmallSize
		}
		size = *b.Size
	}
	return body, size, nil
}

// texts turns values back into bytes; true: some of them stand for bytes that were no UTF-8.
type texts bool

func (t texts) bytes(s string) []byte {
	if s == "" {
		return nil
	}
	if !t {
		return []byte(s)
	}
	b := make([]byte, 0, len(s))
	for _, r := range s {
		if r > 0xff {
			return []byte(s)
		}
		b = append(b, byte(r))
	}
	if utf8.Valid(b) {
		return []byte(s) // AppendJSON would have left it as it was
	}
	return b
}

func (t texts) fields(list []jsonField) []Field {
	if len(list) == 0 {
		return nil
	}
	fields := make([]Field, len(list))
	for i, f := range list {
		fields[i] = Field{Name: t.bytes(f.name), Value: t.bytes(f.value)}
	}
	return fields
}
