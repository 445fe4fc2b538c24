package mirror

import (
	"bytes"
	"slices"
	"time"

	"github.com/reprise-io/reprise/internal/traffic"
)

// clue is a field in which a gateway tells about the request that it copied.
type clue uint8

const (
	tapHost clue = iota + 1
	envoyHost
	forwardedHost
	tapURI
	originalURI
	envoyPath
	originalMethod
	forwardedProto
	tapClient
	envoyClient
	realIP
	forwardedFor
	tapProto
	tapTime
	tapTimeUs
	tapConn
	tapTruncated
	tapBodyLen
	originalLength
	tapTE
	clues
)

// maxSkew is how far a gateway's clock may be off ours and is still believed.
const maxSkew = 5 * time.Minute

// resolve gives x, as it arrived from a gateway at an address and a time, what the client had sent and when: from the
// fields in which gateways tell it, which are taken out, else from the copy itself. A value that is malformed, or that
// stands there twice and differs, is passed over. Nothing else in the tap trusts these fields.
func resolve(x *traffic.Exchange, gateway []byte, arrival time.Time) {
	var t told
	t.read(x.Request.Headers)
	q := &x.Request
	q.Authority = t.authority(q.Authority)
	q.Target = t.first(q.Target, isTarget, tapURI, originalURI, envoyPath)
	q.Method = t.first(q.Method, isMethod, originalMethod)
	q.Scheme = t.scheme(q.Scheme)
	q.Protocol = t.protocol(q.Protocol)
	x.Connection = t.connection(gateway)
	x.CaptureTime, x.TimeSource = arrival.UTC(), traffic.OwnClock
	if at, ok := t.time(); ok {
		if off := at.Sub(arrival); off < -maxSkew || off > maxSkew {
			x.Flags |= traffic.ClockReplaced
		} else {
			x.CaptureTime, x.TimeSource = at.UTC(), traffic.GatewayTime
		}
	}
	for _, c := range [...]clue{tapBodyLen, originalLength} {
		if n, ok := decimal(t.get(c)); ok {
			q.BodySize = max(q.BodySize, n)
		}
	}
	if v := t.get(tapTruncated); traffic.EqualName(v, "true") || string(v) == "1" || int64(len(q.Body)) < q.BodySize {
		x.Flags |= traffic.TruncatedRequest
	}
	x.Flags |= traffic.RequestOnly
	q.Headers = t.clean(q.Headers, q.Authority)
	if _, hosted := traffic.Get(q.Headers, "Host"); !hosted && len(q.Authority) > 0 && isVersion1(q.Protocol) {
		// The copy came over HTTP/2, which has no such field, and the request did not.
		q.Headers = slices.Insert(q.Headers, 0, traffic.Field{Name: []byte("host"), Value: q.Authority})
	}
}

func isVersion1(protocol []byte) bool { return bytes.HasPrefix(protocol, []byte("HTTP/1.")) }

// told is what the fields say.
type told struct {
	value   [clues][]byte
	differs [clues]bool
	hops    int  // entries of X-Forwarded-For
	shadow  bool // the gateway is an Envoy
	te      bool // TE came through
}

func (t *told) read(fields []traffic.Field) {
	for i := range fields {
		f := &fields[i]
		if len(f.Name) == 2 && traffic.EqualName(f.Name, "TE") {
			t.te = true
		}
		if !begins(f.Name, "x-") {
			continue
		}
		t.shadow = t.shadow || begins(f.Name, "x-envoy-")
		c := clueOf(f.Name)
		switch {
		case c == forwardedFor:
			t.hops += 1 + bytes.Count(f.Value, []byte(","))
			if t.value[c] == nil {
				t.value[c] = f.Value
			}
		case t.value[c] == nil:
			t.value[c] = f.Value
		case !bytes.Equal(t.value[c], f.Value):
			t.differs[c] = true
		}
	}
}

// get returns what a field says; nil: nothing.
func (t *told) get(c clue) []byte {
	if t.differs[c] {
		return nil
	}
	return t.value[c]
}

// first returns the first valid value of some fields, else what came in the request itself.
func (t *told) first(came []byte, valid func([]byte) bool, from ...clue) []byte {
	for _, c := range from {
		if v := t.get(c); valid(v) {
			return v
		}
	}
	return came
}

// authority also takes away what Envoy puts behind the name of a shadowed host.
func (t *told) authority(came []byte) []byte {
	t.value[forwardedHost] = entry(t.value[forwardedHost])
	plain, shadowed := withoutShadow(came)
	t.shadow = t.shadow || shadowed
	return t.first(plain, isAuthority, tapHost, envoyHost, forwardedHost)
}

func (t *told) scheme(came []byte) []byte {
	for _, v := range [...][]byte{entry(t.get(forwardedProto)), came} {
		for _, scheme := range [...]string{"http", "https"} {
			if traffic.EqualName(v, scheme) {
				return []byte(scheme)
			}
		}
	}
	return []byte("http")
}

// protocol writes "HTTP/2" as the others are written.
func (t *told) protocol(came []byte) []byte {
	switch v := t.get(tapProto); string(v) {
	case "HTTP/1.0", "HTTP/1.1", "HTTP/2.0", "HTTP/3.0":
		return v
	case "HTTP/2", "HTTP/3":
		return append(bytes.Clone(v), ".0"...)
	}
	return came
}

// connection tells the client's connection, never the gateway's own. Two gateways may give the same ids.
func (t *told) connection(gateway []byte) traffic.Connection {
	var c traffic.Connection
	for _, v := range [...][]byte{t.get(tapClient), t.get(envoyClient), t.get(realIP), t.forwarded()} {
		if c.Client = address(v); c.Client != nil {
			break
		}
	}
	if id, sequence, ok := connectionID(t.get(tapConn)); ok {
		c.ID = append(append(append(make([]byte, 0, len(gateway)+1+len(id)), gateway...), '/'), id...)
		c.Sequence = sequence
	}
	return c
}

// forwarded is the first hop. A shadowing Envoy appends itself, so that an only entry is its own.
func (t *told) forwarded() []byte {
	if t.shadow && t.hops < 2 {
		return nil
	}
	return entry(t.value[forwardedFor])
}

func (t *told) time() (time.Time, bool) {
	if at, ok := seconds(t.get(tapTime)); ok {
		return at, true
	}
	us, ok := decimal(t.get(tapTimeUs))
	return time.UnixMicro(us), ok && us > 0
}

// clean takes the gateway's own fields out, puts TE where it was told and the host where it stood.
func (t *told) clean(fields []traffic.Field, host []byte) []traffic.Field {
	te, hosted := t.get(tapTE), false
	kept := fields[:0]
	for _, f := range fields {
		switch {
		case !hosted && traffic.EqualName(f.Name, "host"):
			f.Value, hosted = host, true
		case clueOf(f.Name) == tapTE && len(te) > 0 && !t.te:
			f.Name, t.te = []byte("TE"), true
		case isCarrier(f.Name):
			continue
		}
		kept = append(kept, f)
	}
	clear(fields[len(kept):])
	return kept
}

// isCarrier reports whether a field is there only to carry what the request was before the gateway changed it.
func isCarrier(name []byte) bool {
	return begins(name, "x-tap-") || begins(name, "x-original-") || begins(name, "x-envoy-original-")
}

func begins(name []byte, prefix string) bool {
	return len(name) >= len(prefix) && traffic.EqualName(name[:len(prefix)], prefix)
}

func clueOf(name []byte) clue {
	var lower [32]byte
	if len(name) > len(lower) {
		return 0
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		lower[i] = c
	}
	switch string(lower[:len(name)]) {
	case "x-tap-host":
		return tapHost
	case "x-envoy-original-host":
		return envoyHost
	case "x-forwarded-host":
		return forwardedHost
	case "x-tap-original-uri":
		return tapURI
	case "x-original-uri":
		return originalURI
	case "x-envoy-original-path":
		return envoyPath
	case "x-original-method":
		return originalMethod
	case "x-forwarded-proto":
		return forwardedProto
	case "x-tap-client":
		return tapClient
	case "x-envoy-external-address":
		return envoyClient
	case "x-real-ip":
		return realIP
	case "x-forwarded-for":
		return forwardedFor
	case "x-tap-proto":
		return tapProto
	case "x-tap-time":
		return tapTime
	case "x-tap-time-us":
		return tapTimeUs
	case "x-tap-conn":
		return tapConn
	case "x-tap-truncated":
		return tapTruncated
	case "x-tap-body-len":
		return tapBodyLen
	case "x-original-length":
		return originalLength
	case "x-tap-te":
		return tapTE
	}
	return 0
}
