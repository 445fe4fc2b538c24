package fire

import (
	"bytes"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
)

// Protocol is what is spoken with the target.
type Protocol string

// The protocols of --target-protocol.
const (
	// AsRecorded sends over HTTP/2 what was recorded so: to https targets if they take it, to http targets only gRPC, as what
	// stands behind a gateway seldom takes anything else in clear text.
	AsRecorded Protocol = "auto"
	OnlyHTTP1  Protocol = "http1"
	OnlyHTTP2  Protocol = "h2" // by ALPN to https targets, with prior knowledge to http ones
)

// ParseProtocol reads --target-protocol; "" is AsRecorded.
func ParseProtocol(s string) (Protocol, error) {
	switch p := Protocol(s); p {
	case "":
		return AsRecorded, nil
	case AsRecorded, OnlyHTTP1, OnlyHTTP2:
		return p, nil
	}
	return "", fault.BadUsage("bad --target-protocol "+quote(s), "want auto, http1 or h2", "--target-protocol h2")
}

// route is how a shot may go.
type route uint8

const (
	viaHTTP1 route = iota
	viaHTTP2
	viaEither // HTTP/2 if the target agrees to it in the TLS handshake
)

func (s *Sender) route(r *traffic.Request) route {
	recorded := bytes.HasPrefix(r.Protocol, []byte("HTTP/2")) || bytes.HasPrefix(r.Protocol, []byte("HTTP/3"))
	switch {
	case s.cfg.Protocol == OnlyHTTP1:
		return viaHTTP1
	case s.cfg.Protocol == OnlyHTTP2, recorded && traffic.IsGRPC(r.Headers):
		return viaHTTP2
	case recorded && s.tls != nil:
		return viaEither
	}
	return viaHTTP1
}

// The names of ALPN, as they are offered for each route.
const (
	alpnHTTP1 = "http/1.1"
	alpnHTTP2 = "h2"
)

func (r route) alpn() []string {
	switch r {
	case viaHTTP2:
		return []string{alpnHTTP2}
	case viaEither:
		return []string{alpnHTTP2, alpnHTTP1}
	}
	return []string{alpnHTTP1}
}
