package traffic

import (
	"math/bits"
	"strings"

	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// Flags is a set of marks on an exchange; bit n stands for the protobuf Flag with number n.
type Flags uint64

// The marks. What replay does with each is said in Flags.Unreplayable.
const (
	RequestOnly            = Flags(1) << reprisev1.Flag_FLAG_REQUEST_ONLY
	NoResponse             = Flags(1) << reprisev1.Flag_FLAG_NO_RESPONSE
	TruncatedRequest       = Flags(1) << reprisev1.Flag_FLAG_TRUNCATED_REQUEST
	TruncatedResponse      = Flags(1) << reprisev1.Flag_FLAG_TRUNCATED_RESPONSE
	LocalReply             = Flags(1) << reprisev1.Flag_FLAG_LOCAL_REPLY
	ClientAborted          = Flags(1) << reprisev1.Flag_FLAG_CLIENT_ABORTED
	Gap                    = Flags(1) << reprisev1.Flag_FLAG_GAP
	AmbiguousFraming       = Flags(1) << reprisev1.Flag_FLAG_AMBIGUOUS_FRAMING
	Upgraded               = Flags(1) << reprisev1.Flag_FLAG_UPGRADED
	Connect                = Flags(1) << reprisev1.Flag_FLAG_CONNECT
	RedactionFailed        = Flags(1) << reprisev1.Flag_FLAG_REDACTION_FAILED
	RedactionFailedRequest = Flags(1) << reprisev1.Flag_FLAG_REDACTION_FAILED_REQUEST
	ClockAhead             = Flags(1) << reprisev1.Flag_FLAG_CLOCK_AHEAD
	ClockReplaced          = Flags(1) << reprisev1.Flag_FLAG_CLOCK_REPLACED
	NonUTF8                = Flags(1) << reprisev1.Flag_FLAG_NON_UTF8
	KeptByQuota            = Flags(1) << reprisev1.Flag_FLAG_KEPT_BY_QUOTA
)

// unreplayable marks requests that are not known whole, or that are no request on their own.
const unreplayable = TruncatedRequest | Gap | AmbiguousFraming | Upgraded | Connect | RedactionFailedRequest

// Has reports whether all of the given marks are set.
func (f Flags) Has(g Flags) bool { return f&g == g }

// Unreplayable returns the marks that keep an exchange from being replayed unless asked for.
func (f Flags) Unreplayable() Flags { return f & unreplayable }

// Names returns the marks' names, such as "TRUNCATED_REQUEST", lowest bit first.
func (f Flags) Names() []string {
	names := make([]string, 0, bits.OnesCount64(uint64(f)))
	for ; f != 0; f &= f - 1 {
		bit := bits.TrailingZeros64(uint64(f))
		names = append(names, strings.TrimPrefix(reprisev1.Flag(bit).String(), "FLAG_"))
	}
	return names
}

// String returns the names with commas between; empty for no flag.
func (f Flags) String() string { return strings.Join(f.Names(), ",") }

// ParseFlags reads what String wrote. Names it does not know are skipped: a newer tap may set them.
func ParseFlags(s string) Flags {
	var f Flags
	for s != "" {
		var name string
		name, s, _ = strings.Cut(s, ",")
		if n, ok := reprisev1.Flag_value["FLAG_"+name]; ok {
			f |= 1 << n
		}
	}
	return f
}

// SourceKind is the way of capturing.
type SourceKind uint8

// The ways of capturing, numbered as in the protobuf.
const (
	Proxy   = SourceKind(reprisev1.SourceKind_SOURCE_KIND_PROXY)
	Mirror  = SourceKind(reprisev1.SourceKind_SOURCE_KIND_MIRROR)
	ExtProc = SourceKind(reprisev1.SourceKind_SOURCE_KIND_EXTPROC)
	Ingest  = SourceKind(reprisev1.SourceKind_SOURCE_KIND_INGEST)
	Sniff   = SourceKind(reprisev1.SourceKind_SOURCE_KIND_SNIFF)
	Import  = SourceKind(reprisev1.SourceKind_SOURCE_KIND_IMPORT)
)

// String returns "proxy", "mirror" and so on.
func (k SourceKind) String() string {
	return strings.ToLower(strings.TrimPrefix(reprisev1.SourceKind(k).String(), "SOURCE_KIND_"))
}

// TimeSource tells whose clock gave the capture time.
type TimeSource uint8

// The clocks, numbered as in the protobuf.
const (
	OwnClock    = TimeSource(reprisev1.TimeSource_TIME_SOURCE_OWN_CLOCK)
	GatewayTime = TimeSource(reprisev1.TimeSource_TIME_SOURCE_GATEWAY)
	PacketTime  = TimeSource(reprisev1.TimeSource_TIME_SOURCE_PACKET)
	LogTime     = TimeSource(reprisev1.TimeSource_TIME_SOURCE_LOG)
)
