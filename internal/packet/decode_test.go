package packet

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const question = "GET / HTTP/1.1\r\n\r\n"

func TestEveryEncapsulationLeadsToTheSegment(t *testing.T) {
	tcp := buildTCP(4000, 80, 100, 200, PSH|ACK, question)
	v4, v6 := buildIPv4(protoTCP, tcp), buildIPv6(protoTCP, tcp)
	ether := buildEther(typeIPv4, v4)
	inUDP := func(port int, p ...[]byte) []byte {
		return buildEther(typeIPv4, buildIPv4(protoUDP, buildUDP(5555, port, slices.Concat(p...))))
	}
	inGRE := func(header string, p []byte) []byte {
		return buildEther(typeIPv4, buildIPv4(protoGRE, append([]byte(header), p...)))
	}
	for name, row := range map[string]struct {
		link LinkType
		data []byte
		v6   bool
	}{
		"Ethernet":                    {link: LinkEthernet, data: ether},
		"padded Ethernet":             {link: LinkEthernet, data: append(slices.Clone(ether), make([]byte, 9)...)},
		"IPv6":                        {link: LinkEthernet, data: buildEther(typeIPv6, v6), v6: true},
		"length 0, left to the card":  {link: LinkRaw, data: slices.Concat(v4[:2], be16(0), v4[4:])},
		"IPv6 with options and so on": {link: LinkRaw, data: buildIPv6(protoHops, slices.Concat([]byte{protoRouting, 0}, make([]byte, 6), []byte{protoTarget, 0}, make([]byte, 6), []byte{protoTCP, 0}, make([]byte, 6), tcp)), v6: true},
		"IPv6 fragment that is whole": {link: LinkIPv6, data: buildIPv6(protoFragment, slices.Concat([]byte{protoTCP, 0}, make([]byte, 6), tcp)), v6: true},
		"loopback":                    {link: LinkNull, data: append([]byte{2, 0, 0, 0}, v4...)},
		"loopback, big endian, IPv6":  {link: LinkLoop, data: append([]byte{0, 0, 0, 24}, v6...), v6: true},
		"Linux cooked":                {link: LinkLinux, data: slices.Concat(make([]byte, 14), be16(typeIPv4), v4)},
		"Linux cooked 2":              {link: LinkLinux2, data: slices.Concat(be16(typeIPv6), make([]byte, 18), v6), v6: true},
		"Linux cooked with VLAN":      {link: LinkLinux, data: slices.Concat(make([]byte, 14), be16(typeVLAN), be16(5), be16(typeIPv4), v4)},
		"VLAN":                        {link: LinkEthernet, data: buildEther(typeVLAN, slices.Concat(be16(42), be16(typeIPv4), v4))},
		"three VLAN tags":             {link: LinkEthernet, data: buildEther(typeQinQ, slices.Concat(be16(1), be16(typeOldQinQ1), be16(2), be16(typeVLAN), be16(3), be16(typeIPv4), v4))},
		"MPLS, two labels":            {link: LinkEthernet, data: buildEther(typeMPLS, slices.Concat([]byte{0, 1, 0, 64, 0, 2, 1, 64}, v4))},
		"MPLS with a pseudo-wire":     {link: LinkEthernet, data: buildEther(typeMPLS, slices.Concat([]byte{0, 1, 1, 64}, make([]byte, 4), ether))},
		"PPPoE":                       {link: LinkEthernet, data: buildEther(typePPPoE, slices.Concat([]byte{0x11, 0}, be16(1), be16(len(v4)+2), be16(0x21), v4))},
		"PPP":                         {link: LinkPPP, data: slices.Concat([]byte{0xff, 3}, be16(0x57), v6), v6: true},
		"PPP, short protocol":         {link: LinkPPPSerial, data: append([]byte{0x21}, v4...)},
		"Cisco HDLC":                  {link: LinkHDLC, data: slices.Concat([]byte{0x0f, 0}, be16(typeIPv4), v4)},
		"frame relay":                 {link: LinkFrame, data: slices.Concat([]byte{0x18, 0x41, 3, 0xcc}, v4)},
		"802.2 with SNAP":             {link: LinkEthernet, data: buildEther(len(v4)+8, slices.Concat([]byte{0xaa, 0xaa, 3, 0, 0, 0}, be16(typeIPv4), v4))},
		"802.11 with radiotap":        {link: LinkRadiotap, data: slices.Concat([]byte{0, 0, 8, 0, 0, 0, 0, 0}, []byte{0x88, 1}, make([]byte, 22), make([]byte, 2), []byte{0xaa, 0xaa, 3, 0, 0, 0}, be16(typeIPv4), v4)},
		"NFLOG":                       {link: LinkNFLog, data: slices.Concat([]byte{2, 0, 0, 0}, []byte{5, 0, 10, 0, 'x', 0, 0, 0}, le16(len(v4)+4), le16(9), v4)},
		"IP in IP":                    {link: LinkRaw, data: buildIPv4(protoIPv4, v4)},
		"6in4":                        {link: LinkRaw, data: buildIPv4(protoIPv6, v6), v6: true},
		"authenticated":               {link: LinkRaw, data: buildIPv4(protoAuth, slices.Concat([]byte{protoTCP, 4}, make([]byte, 22), tcp))},
		"GRE":                         {link: LinkEthernet, data: inGRE("\x00\x00\x08\x00", v4)},
		"GRE with key and sequence":   {link: LinkEthernet, data: inGRE("\x30\x00\x86\xdd\x00\x00\x00\x01\x00\x00\x00\x02", v6), v6: true},
		"GRE with Ethernet":           {link: LinkEthernet, data: inGRE("\x00\x00\x65\x58", ether)},
		"PPTP":                        {link: LinkEthernet, data: inGRE("\x30\x81\x88\x0b\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03", slices.Concat([]byte{0xff, 3}, be16(0x21), v4))},
		"GRE of an access point":      {link: LinkEthernet, data: inGRE("\x00\x00\x82\x10", slices.Concat([]byte{0x88, 1}, make([]byte, 22), make([]byte, 2), []byte{0xaa, 0xaa, 3, 0, 0, 0}, be16(typeIPv4), v4))},
		"ERSPAN I":                    {link: LinkEthernet, data: inGRE("\x00\x00\x88\xbe", ether)},
		"ERSPAN II":                   {link: LinkEthernet, data: inGRE("\x10\x00\x88\xbe\x00\x00\x00\x01", append([]byte{0x10, 1, 0, 0, 0, 0, 0, 1}, ether...))},
		"ERSPAN III":                  {link: LinkEthernet, data: inGRE("\x10\x00\x22\xeb\x00\x00\x00\x01", append(make([]byte, 12), ether...))},
		"VXLAN":                       {link: LinkEthernet, data: inUDP(portVXLAN, []byte{8, 0, 0, 0, 0, 0, 7, 0}, ether)},
		"VXLAN over IPv6":             {link: LinkEthernet, data: buildEther(typeIPv6, buildIPv6(protoUDP, buildUDP(1, portVXLAN, append([]byte{8, 0, 0, 0, 0, 0, 7, 0}, ether...))))},
		"VXLAN in VLAN, with VLAN":    {link: LinkEthernet, data: buildEther(typeVLAN, slices.Concat(be16(1), inUDP(portVXLAN, []byte{8, 0, 0, 0, 0, 0, 7, 0}, buildEther(typeVLAN, slices.Concat(be16(2), be16(typeIPv4), v4)))[12:]))},
		"VXLAN, old port":             {link: LinkEthernet, data: inUDP(portVXLANOld, []byte{8, 0, 0, 0, 0, 0, 7, 0}, ether)},
		"VXLAN with another protocol": {link: LinkEthernet, data: inUDP(portVXLANGPE, []byte{0x0c, 0, 0, 2, 0, 0, 7, 0}, v6), v6: true},
		"Geneve with options":         {link: LinkEthernet, data: inUDP(portGeneve, []byte{1, 0, 0x65, 0x58, 0, 0, 7, 0}, make([]byte, 4), ether)},
		"Teredo":                      {link: LinkEthernet, data: inUDP(portTeredo, []byte{0, 1, 0, 0}, make([]byte, 9), make([]byte, 8), v6), v6: true},
		"AYIYA":                       {link: LinkEthernet, data: inUDP(portAYIYA, []byte{0x44, 0x50, 1, 41}, make([]byte, 40), v6), v6: true},
		"GTP with an extension":       {link: LinkEthernet, data: inUDP(portGTPUser, []byte{0x34, 255, 0, 0, 0, 0, 0, 1}, []byte{0, 0, 0, 0x85}, []byte{1, 0, 0, 0}, v4)},
		"GRE in UDP":                  {link: LinkEthernet, data: inUDP(portGREUDP, []byte{0, 0, 8, 0}, v4)},
		"L2TP":                        {link: LinkEthernet, data: inUDP(portL2TP, []byte{0x40, 2}, be16(0), be16(1), be16(2), be16(0x21), v4)},
		"service header":              {link: LinkEthernet, data: buildEther(typeService, slices.Concat([]byte{0, 2, 1, 3}, be32(0), ether))},
		"tag of a virtual card":       {link: LinkEthernet, data: buildEther(typeVNTag, slices.Concat(be32(0), be16(typeIPv4), v4))},
		"Cisco's metadata":            {link: LinkEthernet, data: buildEther(typeCiscoMeta, slices.Concat([]byte{1, 1}, be16(1), be16(5), be16(typeIPv4), v4))},
		"LISP":                        {link: LinkEthernet, data: inUDP(portLISP, make([]byte, 8), v4)},
		"TZSP":                        {link: LinkEthernet, data: inUDP(portTZSP, []byte{1, 0, 0, 1, 0, 10, 1, 200, 1}, ether)},
		"MPLS without a link layer":   {link: LinkMPLS, data: append([]byte{0, 1, 1, 64}, v6...), v6: true},
		"ATM":                         {link: LinkATM, data: slices.Concat([]byte{0xaa, 0xaa, 3, 0, 0, 0}, be16(typeIPv4), v4)},
		"FDDI":                        {link: LinkFDDI, data: slices.Concat(make([]byte, 13), []byte{0xaa, 0xaa, 3, 0, 0, 0}, be16(typeIPv4), v4)},
		"token ring with a route":     {link: LinkTokenRing, data: slices.Concat(make([]byte, 8), []byte{0x80}, make([]byte, 5), []byte{4, 0, 0, 0}, []byte{0xaa, 0xaa, 3, 0, 0, 0}, be16(typeIPv4), v4)},
		"inside of IPsec":             {link: LinkEnc, data: append(make([]byte, 12), v4...)},
		"a firewall's log":            {link: LinkPFLog, data: slices.Concat([]byte{61}, make([]byte, 63), v4)},
		"Darwin's, Ethernet inside":   {link: LinkPkTap, data: slices.Concat(le16(16), le16(0), make([]byte, 4), le16(1), make([]byte, 6), ether)},
		"provider backbone":           {link: LinkEthernet, data: buildEther(typeBackbone, slices.Concat(be32(0), ether))},
	} {
		t.Run(name, func(t *testing.T) {
			var d Decoder
			var s Segment
			require.True(t, d.Decode(row.link, row.data, zero, &s))
			want := Segment{
				Src: Endpoint{fromV4(addrA), 4000, true}, Dst: Endpoint{fromV4(addrB), 80, true}, Seq: 100, Ack: 200, Flags: PSH | ACK, Payload: []byte(question),
			}
			if row.v6 {
				want.Src, want.Dst = Endpoint{[16]byte(v6A), 4000, false}, Endpoint{[16]byte(v6B), 80, false}
			}
			if name == "length 0, left to the card" {
				want.Payload = want.Payload[:len(question):len(question)]
			}
			require.Equal(t, want, s)
			require.Zero(t, d.Counts.Malformed)
			for n := range row.data { // cut anywhere, it is no crash and no other segment
				var cut Segment
				if d.Decode(row.link, row.data[:n], zero, &cut) {
					require.Equal(t, want.Src, cut.Src, n)
					require.Equal(t, want.Dst, cut.Dst, n)
				}
			}
		})
	}
}

func le16(n int) []byte { return []byte{byte(n), byte(n >> 8)} }

func TestWhatTheCaptureCutIsKnown(t *testing.T) {
	var d Decoder
	var s Segment
	p := buildEther(typeIPv4, buildIPv4(protoTCP, buildTCP(1, 2, 3, 4, ACK, question)))
	require.True(t, d.Decode(LinkEthernet, p[:len(p)-5], zero, &s))
	require.Equal(t, question[:len(question)-5], string(s.Payload))
	require.Equal(t, 5, s.Missing)
}

func TestAddressesPrintAsTheyStoodInThePacket(t *testing.T) {
	var mappedAddr [16]byte
	copy(mappedAddr[10:], []byte{0xff, 0xff, 10, 0, 0, 1})
	require.Equal(t, "10.0.0.1:80", Endpoint{fromV4(addrA), 80, true}.String())
	require.Equal(t, "[::ffff:10.0.0.1]:80", Endpoint{mappedAddr, 80, false}.String())
}

func TestWhatIsNoSegmentIsLeft(t *testing.T) {
	var d Decoder
	var s Segment
	nested := buildIPv4(protoTCP, buildTCP(1, 2, 3, 4, ACK, "x"))
	for range maxNesting + 1 {
		nested = buildIPv4(protoIPv4, nested)
	}
	for name, row := range map[string]struct {
		link      LinkType
		data      []byte
		malformed bool
	}{
		"ARP":                       {LinkEthernet, buildEther(0x0806, make([]byte, 28)), false},
		"UDP to a usual port":       {LinkRaw, buildIPv4(protoUDP, buildUDP(1, 53, []byte("12345678"))), false},
		"IP version 5":              {LinkRaw, []byte{0x55, 0}, false},
		"header longer than packet": {LinkRaw, buildIPv4(protoTCP, nil)[:19], true},
		"too deep":                  {LinkRaw, nested, true},
		"TCP header of 16 bytes":    {LinkRaw, buildIPv4(protoTCP, slices.Concat(make([]byte, 12), []byte{4 << 4}, make([]byte, 7))), true},
		"encrypted 802.11":          {LinkWiFi, append([]byte{8, 0x41}, make([]byte, 60)...), false},
	} {
		t.Run(name, func(t *testing.T) {
			before := d.Counts.Malformed
			require.False(t, d.Decode(row.link, row.data, zero, &s))
			require.Equal(t, row.malformed, d.Counts.Malformed > before)
		})
	}
	require.False(t, d.Decode(147, nil, zero, &s))
	require.EqualValues(t, 1, d.Counts.Unknown)
}

func TestSCTPChunksBecomeOneStream(t *testing.T) {
	var d Decoder
	chunk := func(tsn int, data string) []byte {
		n := 16 + len(data)
		return slices.Concat([]byte{0, 3}, be16(n), be32(tsn), be16(0), be16(0), be32(0), []byte(data), make([]byte, (4-n%4)%4))
	}
	feed := func(chunks ...[]byte) (Segment, bool) {
		var s Segment
		ok := d.Decode(LinkRaw, buildIPv4(protoSCTP, slices.Concat(be16(1), be16(80), be32(0), be32(0), slices.Concat(chunks...))), zero, &s)
		return s, ok
	}
	s, ok := feed(chunk(10, "GET "), chunk(11, "/ "))
	require.True(t, ok)
	require.Equal(t, "GET / ", string(s.Payload))
	next := s.Seq + 6
	_, ok = feed(chunk(11, "/ "))
	require.False(t, ok, "sent again")
	s, ok = feed(chunk(12, "HTTP"))
	require.True(t, ok)
	require.Equal(t, next, s.Seq)
	s, _ = feed(chunk(14, "x"))
	require.Equal(t, next+4+1, s.Seq, "a hole")
}

func TestFragmentsArePutTogetherInAnyOrder(t *testing.T) {
	whole := buildTCP(4000, 80, 100, 200, ACK, question+"more than a few bytes of it")
	cut := func(from, to int, more bool) []byte {
		p := buildIPv4(protoTCP, whole[from:to])
		offset := from / 8
		if more {
			offset |= 0x2000
		}
		copy(p[6:], be16(offset))
		return p
	}
	cut6 := func(from, to int, more bool) []byte {
		offset := from
		if more {
			offset |= 1
		}
		return buildIPv6(protoFragment, slices.Concat([]byte{protoTCP, 0}, be16(offset), be32(99), whole[from:to]))
	}
	options := append([]byte{protoTCP, 0, 1, 4, 0, 0, 0, 0}, whole...) // behind the fragment's header, so cut up too
	cutOptions := func(from, to, more int) []byte {
		return buildIPv6(protoFragment, slices.Concat([]byte{protoTarget, 0}, be16(from|more), be32(98), options[from:to]))
	}
	n := len(whole)
	for name, parts := range map[string][][]byte{
		"in order":          {cut(0, 16, true), cut(16, 40, true), cut(40, n, false)},
		"backwards":         {cut(40, n, false), cut(16, 40, true), cut(0, 16, true)},
		"twice":             {cut(0, 16, true), cut(0, 16, true), cut(40, n, false), cut(16, 40, true)},
		"overlapping":       {cut(0, 24, true), cut(40, n, false), cut(16, 48, true)},
		"IPv6":              {cut6(40, n, false), cut6(0, 40, true)},
		"IPv6 with options": {cutOptions(0, 16, 1), cutOptions(16, n+8, 0)},
		"one inside others": {cut(0, 16, true), cut(32, n, false), cut(8, 40, true)},
	} {
		t.Run(name, func(t *testing.T) {
			var d Decoder
			var s Segment
			for i, p := range parts {
				require.Equal(t, i == len(parts)-1, d.Decode(LinkRaw, p, zero, &s), i)
			}
			require.Equal(t, string(whole[20:]), string(s.Payload))
			require.Zero(t, d.fragments.bytes)
			require.Empty(t, d.fragments.waiting)
		})
	}
}

func TestFragmentsThatWaitAreBounded(t *testing.T) {
	var f fragments
	for i := range 100_000 {
		f.add(fragmentKey{id: uint32(i)}, 0, make([]byte, 64), true, false, zero)
		f.add(fragmentKey{id: uint32(i), v6: true}, 0, make([]byte, 64), false, false, zero) // whole
		require.LessOrEqual(t, len(f.waiting), maxFragmented)
		require.LessOrEqual(t, len(f.queue), 2*maxFragmented+1)
	}
	for i := range 1000 {
		f.add(fragmentKey{id: uint32(i)}, maxDatagram-1024, make([]byte, 1024), true, false, zero)
		require.LessOrEqual(t, f.bytes, fragmentsLimit)
	}
	f.expire(zero.Add(fragmentsWait + time.Second))
	require.Empty(t, f.waiting)
	require.Zero(t, f.bytes)
}
