package proxy

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const helloV1 = "PROXY TCP4 203.0.113.7 198.51.100.1 50000 443\r\n"

func v2(command, family byte, rest string) string {
	b := append([]byte(signatureV2), 0x20|command, family)
	return string(binary.BigEndian.AppendUint16(b, uint16(len(rest)))) + rest
}

const addresses4 = "\xcb\x00\x71\x07\xc6\x33\x64\x01\xc3\x50\x01\xbb" // as in helloV1

func TestHeadersAreRead(t *testing.T) {
	const from, to = "203.0.113.7:50000", "198.51.100.1:443"
	for _, row := range []struct {
		name, text, from, to string
	}{
		{"v1", helloV1, from, to},
		{"v1, IPv6", "PROXY TCP6 2001:db8::7 2001:db8::1 50000 443\r\n", "[2001:db8::7]:50000", "[2001:db8::1]:443"},
		{"v1, IPv4 in IPv6", "PROXY TCP6 ::ffff:203.0.113.7 ::ffff:198.51.100.1 50000 443\r\n", from, to},
		{"v1, port 0", "PROXY TCP4 203.0.113.7 198.51.100.1 0 443\r\n", "203.0.113.7:0", to},
		{"v1, unknown", "PROXY UNKNOWN\r\n", "", ""},
		{"v1, unknown with more", "PROXY UNKNOWN ffff::1 a b\r\n", "", ""},
		{"v2", v2(1, 0x11, addresses4), from, to},
		{"v2 with more", v2(1, 0x11, addresses4+"\x05\x00\x02id"), from, to},
		{"v2, IPv6", v2(1, 0x21, strings.Repeat("\x20", 32)+"\x00\x01\x00\x02"), "[2020:2020:2020:2020:2020:2020:2020:2020]:1", "[2020:2020:2020:2020:2020:2020:2020:2020]:2"},
		{"v2, local", v2(0, 0, ""), "", ""},
		{"v2, local with addresses", v2(0, 0x11, addresses4), "", ""},
		{"v2, Unix", v2(1, 0x31, strings.Repeat("x", 216)), "", ""},
		{"v2, UDP", v2(1, 0x12, addresses4), "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			for end := range len(row.text) {
				_, n, err := parseHeader([]byte(row.text[:end]), AnyProtocol)
				require.NoError(t, err)
				require.Zero(t, n, "at %d", end)
			}
			h, n, err := parseHeader([]byte(row.text+"GET / HTTP/1.1\r\n"), AnyProtocol)
			require.NoError(t, err)
			require.Equal(t, len(row.text), n)
			require.Equal(t, row.from != "", h.from.IsValid())
			if row.from != "" {
				require.Equal(t, row.from, h.from.String())
				require.Equal(t, row.to, h.to.String())
			}
		})
	}
}

func TestWhatIsNoHeaderIsRefused(t *testing.T) {
	for _, row := range []struct {
		text string
		want Protocol
		err  error
	}{
		{get, AnyProtocol, errNoHeader},
		{"P" + get, AnyProtocol, errNoHeader},
		{"\x16\x03\x01", AnyProtocol, errNoHeader},
		{helloV1, ProtocolV2, errOtherVersion},
		{v2(1, 0x11, addresses4), ProtocolV1, errOtherVersion},
		{"PROXY TCP4 203.0.113.7 198.51.100.1 50000\r\n", ProtocolV1, errBadHeader},
		{"PROXY TCP4  203.0.113.7 198.51.100.1 50000 443\r\n", ProtocolV1, errBadHeader},
		{"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n", ProtocolV1, errBadHeader},
		{"PROXY TCP6 203.0.113.7 198.51.100.1 1 2\r\n", ProtocolV1, errBadHeader},
		{"PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n", ProtocolV1, errBadHeader},
		{"PROXY TCP4 203.0.113.7 198.51.100.1 050000 443\r\n", ProtocolV1, errBadHeader},
		{"PROXY TCP4 203.0.113.7 198.51.100.1 65536 443\r\n", ProtocolV1, errBadHeader},
		{"PROXY TCP4 203.0.113.7 198.51.100.1 1 +2\r\n", ProtocolV1, errBadHeader},
		{"PROXY TCP4 203.0.113.7 198.51.100.1 1 2\n", ProtocolV1, errBadHeader},
		{"PROXY SCTP 203.0.113.7 198.51.100.1 1 2\r\n", ProtocolV1, errBadHeader},
		{"PROXY UNKNOWN" + strings.Repeat(" ", 200), ProtocolV1, errLongHeader},
		{v2(2, 0x11, addresses4), ProtocolV2, errBadHeader},
		{v2(1, 0x11, addresses4[1:]), ProtocolV2, errBadHeader},
		{signatureV2 + "\x11", ProtocolV2, errBadHeader},
		{signatureV2 + "\x21\x11\xff\xff", ProtocolV2, errLongHeader},
	} {
		_, _, err := parseHeader([]byte(row.text), row.want)
		require.ErrorIs(t, err, row.err, "%q", row.text)
	}
}

func TestHeadersAreWrittenAsTheyAreRead(t *testing.T) {
	four, six := netip.MustParseAddrPort("203.0.113.7:50000"), netip.MustParseAddrPort("[2001:db8::1]:443")
	for _, version := range []Protocol{ProtocolV1, ProtocolV2} {
		for _, h := range []header{{version, four, four}, {version, six, six}, {version, four, six}, {version, six, four}, {version: version}} {
			b := h.append([]byte("x"))
			got, n, err := parseHeader(b[1:], version)
			require.NoError(t, err, "%q", b)
			require.Equal(t, len(b)-1, n)
			require.Equal(t, h, got)
		}
	}
}

func FuzzParseHeader(f *testing.F) {
	for _, text := range []string{helloV1, "PROXY UNKNOWN\r\n", v2(1, 0x11, addresses4), v2(0, 0, ""), v2(1, 0x21, strings.Repeat("a", 40))} {
		f.Add([]byte(text), uint8(AnyProtocol))
	}
	f.Fuzz(func(t *testing.T, b []byte, version uint8) {
		want := Protocol(version%3 + 1)
		h, n, err := parseHeader(b, want)
		if n < 0 || n > len(b) || n > longestHeader || n > 0 && err != nil {
			t.Fatalf("%d of %d: %v", n, len(b), err)
		}
		if err == nil && n == 0 && len(b) >= longestHeader {
			t.Fatal("it asks for more and more")
		}
		for cut := range min(n, len(b)) { // less of it is never another header
			if _, m, err := parseHeader(b[:cut], want); err != nil || m != 0 {
				t.Fatalf("cut at %d of %d: %d, %v", cut, n, m, err)
			}
		}
		if err == nil && n > 0 && h.from.IsValid() {
			again, _, err := parseHeader(h.append(nil), h.version)
			if err != nil || again != h {
				t.Fatalf("%v became %v: %v", h, again, err)
			}
		}
	})
}

// speaks makes a proxy that takes and gives headers.
func speaks(in, out Protocol) func(*Config) {
	return func(c *Config) { c.ProtocolIn, c.ProtocolOut = in, out }
}

func TestTheClientIsWhoTheHeaderSays(t *testing.T) {
	for name, hello := range map[string]string{"v1": helloV1, "v2": v2(1, 0x11, addresses4)} {
		for _, size := range []int{1, 7, 1000} {
			t.Run(name, func(t *testing.T) {
				address, accept := listen(t)
				r := newRig(t, address, speaks(AnyProtocol, NoProtocol))
				client := r.dial()
				for text := hello + get; text != ""; {
					n := min(size, len(text))
					send(t, client, text[:n])
					if text = text[n:]; size < 1000 {
						time.Sleep(50 * time.Microsecond) // a packet of its own, mostly
					}
				}
				server := accept()
				expect(t, server, get)
				tell(t, server, client, answer)
				x := r.shelf.exchanges(t, 1)[0]
				require.Equal(t, "203.0.113.7:50000", string(x.Connection.Client))
				require.Equal(t, `1 GET / "" → 200 "ok"`, line(x))
			})
		}
	}
}

func TestTheUpstreamIsToldTheClient(t *testing.T) {
	t.Run("its own address", func(t *testing.T) {
		r, client, server := pair(t, speaks(NoProtocol, ProtocolV1))
		own, listener := client.LocalAddr().(*net.TCPAddr), r.Addr().(*net.TCPAddr)
		send(t, client, get)
		h := header{ProtocolV1, own.AddrPort(), listener.AddrPort()}
		expect(t, server, string(h.append(nil))+get)
		tell(t, server, client, answer)
		require.Equal(t, []string{`1 GET / "" → 200 "ok"`}, lineOf(r.shelf.exchanges(t, 1)))
	})
	withMore := v2(1, 0x11, addresses4+"\x05\x00\x02id")
	for _, row := range []struct {
		name, in, out string
		version       Protocol
	}{
		{"as it came", withMore, withMore, ProtocolV2},
		{"in the other version", withMore, helloV1, ProtocolV1},
		{"in the other version, from 1 to 2", helloV1, v2(1, 0x11, addresses4), ProtocolV2},
		{"a health check", v2(0, 0, ""), v2(0, 0, ""), ProtocolV2},
	} {
		t.Run(row.name, func(t *testing.T) {
			address, accept := listen(t)
			r := newRig(t, address, speaks(AnyProtocol, row.version))
			client := r.dial()
			send(t, client, row.in+get)
			server := accept()
			expect(t, server, row.out+get)
			tell(t, server, client, answer)
			r.shelf.exchanges(t, 1)
		})
	}
}

func TestWhoSaysNoHeaderIsTurnedAway(t *testing.T) {
	address, _ := listen(t)
	r := newRig(t, address, speaks(ProtocolV2, NoProtocol))
	for _, text := range []string{get, helloV1} {
		client := r.dial()
		send(t, client, text)
		requireReset(t, client)
	}
	eventually(t, func() bool { return r.Stats().Unheard == 2 && r.Stats().Connections == 0 })
	require.Equal(t, 1, strings.Count(r.logs.String(), "only a load balancer"), "it is said once in a while")
	gone := r.dial()
	require.NoError(t, gone.Close())
	eventually(t, func() bool { return r.Stats().Accepted == 3 && r.Stats().Connections == 0 })
	require.EqualValues(t, 2, r.Stats().Unheard, "who only looks whether the port is open is no fault")
}

func TestWhoKeepsItsHeaderBackIsTurnedAway(t *testing.T) {
	p, err := Listen(Config{Listen: "127.0.0.1:0", Upstreams: []string{"127.0.0.1:1"}, Sink: newShelf(), ProtocolIn: AnyProtocol})
	require.NoError(t, err)
	defer p.Close()
	client := dial(t, p.Addr().String())
	send(t, client, "PROXY TCP4")
	l, now := p.loops[0], time.Now()
	require.False(t, l.accept(now))
	l.greet(l.conns[0])
	l.hurry(now.Add(headerPatience - 1))
	require.Zero(t, p.Stats().Unheard)
	l.hurry(now.Add(headerPatience))
	require.EqualValues(t, 1, p.Stats().Unheard)
	requireReset(t, client)
	require.Empty(t, l.greeting)
}
