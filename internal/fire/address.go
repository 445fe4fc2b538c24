package fire

import (
	"net/netip"
	"strconv"
	"strings"
)

// numericHost reads the spellings of an IPv4 address that C libraries and browsers take beside the usual one: parts left out,
// octal, hexadecimal, or one number ("127.1", "0177.0.0.1", "0x7f000001", "2130706433").
func numericHost(host string) (netip.Addr, bool) {
	parts := strings.Split(host, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var all uint64
	for i, part := range parts {
		base := 10
		switch {
		case strings.HasPrefix(part, "0x"):
			part, base = part[2:], 16
		case len(part) > 1 && part[0] == '0':
			part, base = part[1:], 8
		}
		n, err := strconv.ParseUint(part, base, 32)
		if err != nil {
			return netip.Addr{}, false
		}
		if i < len(parts)-1 {
			if n > 0xff {
				return netip.Addr{}, false
			}
			all = all<<8 | n
			continue
		}
		room := 8 * (5 - len(parts)) // the last part has what the others leave
		if n >= 1<<room {
			return netip.Addr{}, false
		}
		all = all<<room | n
	}
	return netip.AddrFrom4([4]byte{byte(all >> 24), byte(all >> 16), byte(all >> 8), byte(all)}), true
}

// plain returns an address as it is compared: IPv4 out of IPv6, and whatever the interface.
func plain(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// inside returns the IPv4 address to which packets for an IPv6 one are led by a translator or a tunnel (NAT64, 6to4), or
// that an old notation stands for (::10.0.0.7). Not valid: none.
func inside(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return netip.Addr{}
	}
	b := addr.As16()
	switch {
	case netip.PrefixFrom(netip.MustParseAddr("64:ff9b::"), 96).Contains(addr),
		netip.PrefixFrom(netip.IPv6Unspecified(), 96).Contains(addr) && b[12] != 0:
		return netip.AddrFrom4([4]byte(b[12:16]))
	case b[0] == 0x20 && b[1] == 0x02:
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return netip.Addr{}
}

// plainPrefix is plain for networks: one of IPv4 may be written as one of IPv6.
func plainPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

// isPublic reports whether an address is one of the whole internet, which no registry keeps for private use, for carriers,
// for documentation or for other ends of its own.
func isPublic(addr netip.Addr) bool {
	addr = plain(addr)
	if v4 := inside(addr); v4.IsValid() {
		addr = v4
	}
	if addr.Is6() && !netip.PrefixFrom(netip.MustParseAddr("2000::"), 3).Contains(addr) {
		return false
	}
	for _, p := range [...]string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
		"192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4", "2001:db8::/32", "3fff::/20",
	} {
		if netip.MustParsePrefix(p).Contains(addr) {
			return false
		}
	}
	return true
}

// isMetadata reports whether an address is where clouds give machines their credentials: never a target.
func isMetadata(addr netip.Addr) bool {
	addr = plain(addr)
	if v4 := inside(addr); v4.IsValid() {
		addr = v4
	}
	switch addr.String() {
	case "169.254.169.254", "fd00:ec2::254", "fd20:ce::254", // EC2, GCE, Azure, OpenStack and others
		"169.254.170.2", "169.254.170.23", "fd00:ec2::23", // credentials of ECS tasks and EKS pods
		"100.100.100.200", "192.0.0.192", "168.63.129.16": // Alibaba, Oracle, Azure's host
		return true
	}
	return false
}
