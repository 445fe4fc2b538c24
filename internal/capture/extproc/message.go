package extproc

import (
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/reprise-io/reprise/internal/traffic"
)

// fieldSize is what a header field costs beside its bytes, as traffic.Exchange.Size counts it.
const fieldSize = 48

// head is a block of header fields, of which those that HTTP/2 made of the start line are apart.
type head struct {
	fields                                   []traffic.Field
	method, scheme, authority, target, state []byte
	length                                   int64 // Content-Length; -1: none, or no number
	size                                     int   // of all of it in memory
}

// parseHead copies the fields into one block of memory, in their order.
func parseHead(h *corev3.HeaderMap) head {
	all := h.GetHeaders()
	size := 0
	for _, f := range all {
		size += len(f.GetKey()) + len(valueOf(f))
	}
	parsed := head{length: -1, size: size + len(all)*fieldSize, fields: make([]traffic.Field, 0, len(all))}
	block := make([]byte, 0, size)
	keep := func(s string, b []byte) []byte {
		from := len(block)
		block = append(append(block, s...), b...)
		return block[from:len(block):len(block)]
	}
	for _, f := range all {
		name := f.GetKey()
		value := keep("", valueOf(f))
		switch name {
		case ":method":
			parsed.method = value
		case ":scheme":
			parsed.scheme = value
		case ":authority":
			parsed.authority = value
		case ":path":
			parsed.target = value
		case ":status":
			parsed.state = value
		default:
			if name == "content-length" {
				parsed.length = lengthOf(value)
			}
			parsed.fields = append(parsed.fields, traffic.Field{Name: keep(name, nil), Value: value})
		}
	}
	return parsed
}

// valueOf is the value as bytes: an Envoy fills one of two fields, this one by a runtime switch.
func valueOf(f *corev3.HeaderValue) []byte {
	if raw := f.GetRawValue(); len(raw) > 0 {
		return raw
	}
	return []byte(f.GetValue())
}

func lengthOf(value []byte) int64 {
	n, err := strconv.ParseUint(string(value), 10, 62)
	if err != nil {
		return -1
	}
	return int64(n)
}

// status is the response's code, 0 when it has none.
func (h *head) status() int {
	n, err := strconv.ParseUint(string(h.state), 10, 16)
	if err != nil {
		return 0
	}
	return int(n)
}

// attributes are what Envoy tells beside the message, by the names of its request_attributes and response_attributes.
type attributes struct{ of map[string]*structpb.Struct }

func attributesOf(m *extprocv3.ProcessingRequest) attributes { return attributes{m.GetAttributes()} }

// text returns an attribute as text, and "" when Envoy does not send it.
func (a attributes) text(name string) string {
	for _, s := range a.of { // one, by the name of the filter's type
		switch v := s.GetFields()[name].GetKind().(type) {
		case *structpb.Value_StringValue:
			return v.StringValue
		case *structpb.Value_NumberValue:
			return strconv.FormatFloat(v.NumberValue, 'f', -1, 64)
		}
	}
	return ""
}

// maxSkew is how far a gateway's clock may be off before the tap's is taken in its place.
const maxSkew = 5 * time.Minute

// captureTime is when Envoy got the first byte of the request.
func (a attributes) captureTime(now time.Time) (time.Time, traffic.TimeSource, traffic.Flags) {
	at, err := time.Parse(time.RFC3339Nano, a.text("request.time"))
	switch {
	case err != nil: // not sent
		return now.UTC(), traffic.OwnClock, 0
	case now.Sub(at).Abs() > maxSkew:
		return now.UTC(), traffic.OwnClock, traffic.ClockReplaced
	}
	return at.UTC(), traffic.GatewayTime, 0
}

// connection names the client's connection. Envoy numbers them from 0 at each start, and pooled ones carry several
// clients: only together with the Envoy and the client is the number one connection's.
func (a attributes) connection(gateway string) traffic.Connection {
	client := a.text("source.address")
	c := traffic.Connection{Client: []byte(client), Server: []byte(a.text("destination.address"))}
	if id := a.text("connection.id"); id != "" {
		c.ID = []byte(gateway + "/" + id + "/" + client)
	}
	return c
}

// protocol is the client's, written as the other sources write it.
func (a attributes) protocol() []byte {
	switch p := a.text("request.protocol"); p {
	case "HTTP/2", "HTTP/3":
		return []byte(p + ".0")
	default:
		return []byte(p)
	}
}

// viaUpstream are Envoy's code_details of a response that did not come from Envoy itself.
const viaUpstream = "via_upstream"

// local tells whether Envoy answered by itself. Without the attribute it is not known.
func (a attributes) local() bool {
	details := a.text("response.code_details")
	return details != "" && details != viaUpstream
}
