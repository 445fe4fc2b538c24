package sniff

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/packet"
	"github.com/reprise-io/reprise/internal/wire"
)

type nowhere struct{}

func (nowhere) Offer([]wire.Captured) {}
func (nowhere) Shed(string, int)      {}

func TestAnUnknownInterfaceIsAnsweredWithThoseThatThereAre(t *testing.T) {
	_, err := Open(Config{Interface: "nope0", Ports: []uint16{80}, Sink: nowhere{}})
	e, ok := errors.AsType[*fault.Error](err)
	require.True(t, ok, err)
	require.Equal(t, fault.Usage, fault.Code(err))
	require.Contains(t, e.What, `"nope0"`)
	require.Contains(t, e.Cause, "lo")
}

func TestAMissingRightIsNamedWithTheWaysToGetIt(t *testing.T) {
	err := openFault(&Config{Interface: "eth0"}, unix.EPERM)
	e, ok := errors.AsType[*fault.Error](err)
	require.True(t, ok)
	require.Contains(t, e.Cause, "CAP_NET_RAW")
	for _, way := range []string{"setcap cap_net_raw+ep", "--cap-add NET_RAW", "securityContext"} {
		require.Contains(t, e.Try, way)
	}
}

func TestOnlyServersThatAreAskedForAreRead(t *testing.T) {
	s := &Sniffer{cfg: Config{Ports: []uint16{80}, Hosts: []netip.Prefix{netip.MustParsePrefix("10.0.3.0/24")}}}
	end := func(text string) packet.Endpoint {
		a := netip.MustParseAddrPort(text)
		e := packet.Endpoint{Port: a.Port(), IPv4: a.Addr().Is4()}
		b := a.Addr().AsSlice()
		copy(e.Addr[16-len(b):], b)
		return e
	}
	for _, row := range []struct {
		src, dst string
		want     bool
	}{
		{"10.0.1.1:5000", "10.0.3.7:80", true},
		{"10.0.3.7:80", "10.0.1.1:5000", true},
		{"10.0.3.7:5000", "10.0.1.1:80", false}, // the server as a client
		{"10.0.1.1:5000", "10.0.3.7:81", false},
	} {
		require.Equal(t, row.want, s.wanted(&packet.Segment{Src: end(row.src), Dst: end(row.dst)}), row)
	}
	s.cfg.Hosts = nil
	require.True(t, s.wanted(&packet.Segment{Src: end("[2001:db8::1]:5000"), Dst: end("[2001:db8::2]:80")}))
}
