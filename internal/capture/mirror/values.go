package mirror

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Bounds of what is believed of a gateway's fields.
const (
	longestMethod = 64
	longestHost   = 255 + len(":65535")
	longestConn   = 128
)

// entry is the first member of a list.
func entry(list []byte) []byte {
	first, _, _ := bytes.Cut(list, []byte(","))
	return bytes.Trim(first, " \t")
}

// isTarget accepts the forms that a request line can have, but the authority form.
func isTarget(v []byte) bool {
	for _, c := range v {
		if c <= ' ' || c == 0x7f {
			return false
		}
	}
	return len(v) > 0 && (v[0] == '/' || string(v) == "*" || bytes.Contains(v, []byte("://")))
}

// isMethod accepts letters and what stands between them in registered methods.
func isMethod(v []byte) bool {
	for _, c := range v {
		if letter := c | 0x20; (letter < 'a' || letter > 'z') && c != '-' && c != '_' && (c < '0' || c > '9') {
			return false
		}
	}
	return len(v) > 0 && len(v) <= longestMethod
}

// isAuthority accepts a name or an address, with or without a port.
func isAuthority(v []byte) bool {
	for _, c := range v {
		if c <= ' ' || c == 0x7f || strings.IndexByte(`/?#@\,"<>`, c) >= 0 {
			return false
		}
	}
	return len(v) > 0 && len(v) <= longestHost
}

const shadowSuffix = "-shadow"

// withoutShadow takes the suffix away that Envoy puts behind a shadowed host's name, before the port.
func withoutShadow(host []byte) (plain []byte, shadowed bool) {
	end := len(host)
	if colon := bytes.LastIndexByte(host, ':'); colon > bytes.LastIndexByte(host, ']') {
		end = colon
	}
	name, ok := bytes.CutSuffix(host[:end], []byte(shadowSuffix))
	if !ok || len(name) == 0 {
		return host, false
	}
	return append(name[:len(name):len(name)], host[end:]...), true
}

// address accepts an address with or without a port, and returns nil for anything else. nginx writes IPv6 addresses
// without brackets.
func address(v []byte) []byte {
	s := string(v)
	if _, err := netip.ParseAddrPort(s); err == nil {
		return v
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return v
	}
	colon := bytes.LastIndexByte(v, ':')
	if colon < 0 {
		return nil
	}
	ip, ipErr := netip.ParseAddr(s[:colon])
	port, portErr := strconv.ParseUint(s[colon+1:], 10, 16)
	if ipErr != nil || portErr != nil {
		return nil
	}
	return []byte(netip.AddrPortFrom(ip, uint16(port)).String())
}

// connectionID reads "id-n" and "id".
func connectionID(v []byte) (id []byte, sequence uint64, ok bool) {
	if len(v) == 0 || len(v) > longestConn {
		return nil, 0, false
	}
	for _, c := range v {
		if c <= ' ' || c >= 0x7f {
			return nil, 0, false
		}
	}
	if dash := bytes.LastIndexByte(v, '-'); dash > 0 {
		if n, err := strconv.ParseUint(string(v[dash+1:]), 10, 64); err == nil && n > 0 {
			return v[:dash], n, true
		}
	}
	return v, 0, true
}

// seconds reads Unix time in seconds with a fraction, to the ns.
func seconds(v []byte) (time.Time, bool) {
	whole, fraction, _ := bytes.Cut(v, []byte("."))
	s, ok := decimal(whole)
	if !ok || s == 0 || s > 1<<35 || len(fraction) > 18 {
		return time.Time{}, false
	}
	ns := int64(0)
	if len(fraction) > 0 {
		if _, ok = decimal(fraction); !ok {
			return time.Time{}, false
		}
		ns, _ = decimal(append(bytes.Clone(fraction), "000000000"...)[:9])
	}
	return time.Unix(s, ns), true
}

// decimal reads plain digits.
func decimal(v []byte) (int64, bool) {
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	return n, err == nil
}
