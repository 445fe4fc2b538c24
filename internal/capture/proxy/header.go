package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/reprise-io/reprise/internal/fault"
)

// Protocol is a version of the PROXY protocol: a few bytes at the beginning of a connection in which a load balancer says
// whose connection it is.
type Protocol uint8

// The versions. AnyProtocol is for what comes in: either, but always one.
const (
	NoProtocol Protocol = iota
	ProtocolV1
	ProtocolV2
	AnyProtocol
)

// ParseProtocol reads off, v1, v2 or any.
func ParseProtocol(text string) (Protocol, error) {
	for i, name := range []string{"off", "v1", "v2", "any"} {
		if text == name {
			return Protocol(i), nil
		}
	}
	return NoProtocol, fault.BadUsage(fmt.Sprintf("bad version %q of the PROXY protocol", text), "", "off, v1, v2, or any for what comes in")
}

const (
	longestV1 = 107 // with its CRLF
	// longestHeader of version 2: what it may add to addresses is a few hundred bytes.
	longestHeader = 16 << 10
	fixedV2       = 16 // signature, version and command, family, length
)

const (
	signatureV1 = "PROXY "
	signatureV2 = "\r\n\r\n\x00\r\nQUIT\n"
)

// header is what the PROXY protocol tells. Without addresses (a health check of the load balancer, a protocol other than
// TCP) the connection is its sender's own.
type header struct {
	version  Protocol
	from, to netip.AddrPort
}

// The ways in which a header is none.
var (
	errNoHeader      = errors.New("it does not begin with a PROXY header")
	errOtherVersion  = errors.New("the PROXY header is of the other version")
	errBadHeader     = errors.New("the PROXY header cannot be read")
	errLongHeader    = errors.New("the PROXY header is too long")
	errSilentAtFirst = errors.New("no PROXY header came in time")
)

// parseHeader reads a header at the beginning of b and returns its length; 0 without an error: more of it has to come. It
// tells from the first byte on what can be none.
func parseHeader(b []byte, want Protocol) (h header, n int, err error) {
	switch {
	case begins(b, signatureV1):
		h.version = ProtocolV1
	case begins(b, signatureV2):
		h.version = ProtocolV2
	default:
		return h, 0, errNoHeader
	}
	switch {
	case len(b) == 0:
		return h, 0, nil
	case want != AnyProtocol && want != h.version:
		return h, 0, errOtherVersion
	case h.version == ProtocolV1:
		n, err = h.parseV1(b)
	default:
		n, err = h.parseV2(b)
	}
	if err != nil {
		return header{}, 0, err
	}
	return h, n, nil
}

// begins reports whether b and the signature are the same as far as both go.
func begins(b []byte, signature string) bool {
	n := min(len(b), len(signature))
	return string(b[:n]) == signature[:n]
}

func (h *header) parseV1(b []byte) (int, error) {
	end := bytes.IndexByte(b[:min(len(b), longestV1)], '\n')
	if end < 0 {
		if len(b) >= longestV1 {
			return 0, errLongHeader
		}
		return 0, nil
	}
	line, ok := bytes.CutSuffix(b[:end], []byte("\r"))
	if !ok {
		return 0, errBadHeader
	}
	words := bytes.Split(line, []byte(" "))
	if len(words) > 1 && string(words[1]) == "UNKNOWN" { // whatever follows
		return end + 1, nil
	}
	if len(words) != 6 {
		return 0, errBadHeader
	}
	from, errFrom := parseV1Address(words[1], words[2], words[4])
	to, errTo := parseV1Address(words[1], words[3], words[5])
	h.from, h.to = from, to
	return end + 1, errors.Join(errFrom, errTo)
}

func parseV1Address(family, ip, port []byte) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(string(ip))
	number, badPort := strconv.ParseUint(string(port), 10, 16)
	switch {
	case err != nil, badPort != nil, len(port) > 1 && port[0] == '0', port[0] == '+', a.Zone() != "":
		return netip.AddrPort{}, errBadHeader
	case string(family) == "TCP4" && a.Is4(), string(family) == "TCP6" && a.Is6():
		return netip.AddrPortFrom(a.Unmap(), uint16(number)), nil
	}
	return netip.AddrPort{}, errBadHeader
}

func (h *header) parseV2(b []byte) (int, error) {
	if len(b) > 12 && b[12]>>4 != 2 || len(b) > 12 && b[12]&0xf > 1 {
		return 0, errBadHeader
	}
	if len(b) < fixedV2 {
		return 0, nil
	}
	n := fixedV2 + int(binary.BigEndian.Uint16(b[14:]))
	if n > longestHeader {
		return 0, errLongHeader
	}
	if len(b) < n {
		return 0, nil
	}
	if b[12]&0xf == 0 { // LOCAL
		return n, nil
	}
	size := 0
	switch b[13] {
	case 0x11:
		size = 4
	case 0x21:
		size = 16
	default: // no TCP over IP
		return n, nil
	}
	rest := b[fixedV2:n]
	if len(rest) < 2*size+4 {
		return 0, errBadHeader
	}
	from, _ := netip.AddrFromSlice(rest[:size])
	to, _ := netip.AddrFromSlice(rest[size : 2*size])
	h.from = netip.AddrPortFrom(from.Unmap(), binary.BigEndian.Uint16(rest[2*size:]))
	h.to = netip.AddrPortFrom(to.Unmap(), binary.BigEndian.Uint16(rest[2*size+2:]))
	return n, nil
}

// append writes the header.
func (h *header) append(b []byte) []byte {
	from, to := h.from.Addr(), h.to.Addr()
	ip4 := from.Is4() && to.Is4()
	if h.version == ProtocolV1 {
		switch {
		case !h.from.IsValid() || !h.to.IsValid():
			return append(b, "PROXY UNKNOWN\r\n"...)
		case ip4:
			return fmt.Appendf(b, "PROXY TCP4 %s %s %d %d\r\n", from, to, h.from.Port(), h.to.Port())
		}
		return fmt.Appendf(b, "PROXY TCP6 %s %s %d %d\r\n", mapped(from), mapped(to), h.from.Port(), h.to.Port())
	}
	b = append(b, signatureV2...)
	switch {
	case !h.from.IsValid() || !h.to.IsValid():
		return append(b, 0x20, 0, 0, 0)
	case ip4:
		b = append(b, 0x21, 0x11, 0, 12)
		b = append(append(b, from.AsSlice()...), to.AsSlice()...)
	default:
		b = append(b, 0x21, 0x21, 0, 36)
		x, y := from.As16(), to.As16()
		b = append(append(b, x[:]...), y[:]...)
	}
	b = binary.BigEndian.AppendUint16(b, h.from.Port())
	return binary.BigEndian.AppendUint16(b, h.to.Port())
}

// mapped is an address as one of IPv6, which both have to be when one of them is.
func mapped(a netip.Addr) netip.Addr { return netip.AddrFrom16(a.As16()).WithZone("") }
