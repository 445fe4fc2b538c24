package fire

import (
	"encoding/hex"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/reprise-io/reprise/internal/traffic"
)

// Mark tells the copies of one exchange apart.
type Mark struct{ Loop, Clone uint32 }

// appendTrace appends a traceparent of its own, unsampled: what the target does must not show up in production's traces.
func appendTrace(b []byte) []byte {
	var id [24]byte
	for i := 0; i < len(id); i += 8 {
		for n, j := rand.Uint64(), 0; j < 8; n, j = n>>8, j+1 {
			id[i+j] = byte(n)
		}
	}
	id[0] |= 1 // neither of the two may be all zeros
	id[16] |= 1
	b = append(b, "traceparent: 00-"...)
	b = hex.AppendEncode(b, id[:16])
	b = append(b, '-')
	b = hex.AppendEncode(b, id[16:])
	return append(b, "-00\r\n"...)
}

// appendMarks says to everybody who sees the request that it is a replay, and of what.
func (s *Sender) appendMarks(shot *Shot, x *traffic.Exchange, m Mark) bool {
	b := append(shot.bytes, s.mark...)
	b = strconv.AppendUint(b, uint64(m.Loop), 10)
	b = append(b, ";clone="...)
	b = strconv.AppendUint(b, uint64(m.Clone), 10)
	b = append(b, "\r\nReprise-Exchange-Id: "...)
	b = hex.AppendEncode(b, x.ID[:])
	b = append(b, "\r\nReprise-Capture-Time: "...)
	b = appendTime(b, x.CaptureTime)
	b = append(b, "\r\n"...)
	if authority := recordedAuthority(&x.Request); len(authority) > 0 {
		if !fieldValue(authority) {
			return false
		}
		b = append(b, "Reprise-Original-Host: "...)
		b = append(b, authority...)
		b = append(b, "\r\n"...)
	}
	shot.bytes = b
	return true
}

// appendTime appends RFC 3339 with all nanoseconds: for the layout without them there is a fast path.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	b = append(t.AppendFormat(b, time.RFC3339)[:len(b)+len("2006-01-02T15:04:05")], '.')
	for unit := 100_000_000; unit > 0; unit /= 10 {
		b = append(b, byte('0'+t.Nanosecond()/unit%10))
	}
	return append(b, 'Z')
}
