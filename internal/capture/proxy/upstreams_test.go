package proxy

import (
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// origins are two upstreams, each of which answers with its name. Their ports stay theirs.
func origins(t *testing.T) (a, b net.Listener) {
	t.Helper()
	var all [2]net.Listener
	for i := range all {
		ln, err := net.Listen("tcp", reserve(t))
		require.NoError(t, err)
		t.Cleanup(func() { _ = ln.Close() })
		all[i] = ln
		go answerAll(ln, string(rune('a'+i)))
	}
	return all[0], all[1]
}

func answerAll(ln net.Listener, text string) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		_, _ = c.Write([]byte(text))
		_ = c.Close()
	}
}

// whoAnswers connects n times and returns who it was.
func whoAnswers(t *testing.T, r *rig, n int) string {
	t.Helper()
	var who strings.Builder
	for range n {
		c := r.dial()
		got := make([]byte, 1)
		_, err := readFull(c, got)
		require.NoError(t, err)
		who.Write(got)
		_ = c.Close()
	}
	return who.String()
}

func TestUpstreamsTakeTurnsAndOneThatFailsIsPassedOver(t *testing.T) {
	a, b := origins(t)
	addressOfA := a.Addr().String()
	r := newRig(t, "", func(c *Config) { c.Upstreams = []string{addressOfA, b.Addr().String()} })
	require.Contains(t, []string{"abababab", "babababa"}, whoAnswers(t, r, 8))

	began := time.Now()
	require.NoError(t, a.Close())
	require.Equal(t, "bbbbbb", whoAnswers(t, r, 6), "nobody is turned away")
	require.Zero(t, r.Stats().Refused)
	require.Equal(t, 1, strings.Count(r.logs.String(), "its connections go to the others"), r.logs.String())
	require.True(t, r.upstreams.all[0].resting(began.Add(firstBackOff/2)))

	back, err := net.Listen("tcp", addressOfA)
	require.NoError(t, err)
	defer back.Close()
	go answerAll(back, "A")
	eventually(t, func() bool { return strings.Contains(whoAnswers(t, r, 2), "A") })
	require.Contains(t, r.logs.String(), "can be reached again")

	require.NoError(t, back.Close())
	require.NoError(t, b.Close())
	requireRefused(t, r)
	eventually(t, func() bool { return r.Stats().Refused == 1 })
}

func TestAFailingUpstreamRestsLongerEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLogger(t)
		u, err := newUpstreams([]string{"192.0.2.1:1", "192.0.2.2:2"}, log)
		require.NoError(t, err)
		r, a := u.all[0], u.all[0].get()[0]
		first := func() string { return string(u.get(time.Now())[0].text) }
		for _, seconds := range []int{1, 2, 4, 8, 16, 30, 30} {
			a.failed(unix.ECONNREFUSED)
			a.failed(unix.ECONNREFUSED) // of a connection that was on its way
			time.Sleep(time.Duration(seconds)*time.Second - time.Nanosecond)
			require.True(t, r.resting(time.Now()))
			require.Equal(t, "192.0.2.2:2", first())
			require.Equal(t, "192.0.2.2:2", first())
			require.Len(t, u.get(time.Now()), 2, "it is still the last resort")
			time.Sleep(time.Nanosecond)
			require.False(t, r.resting(time.Now()))
			require.Equal(t, "192.0.2.1:1", first(), "one finds out whether it works again")
			require.Equal(t, "192.0.2.2:2", first(), "while the others go elsewhere")
		}
		time.Sleep(trialTime)
		require.Equal(t, "192.0.2.1:1", first(), "who was to find out may have left before that")
		a.worked()
		require.Contains(t, []string{"192.0.2.1:1192.0.2.2:2", "192.0.2.2:2192.0.2.1:1"}, first()+first())
		a.failed(unix.ECONNREFUSED)
		time.Sleep(time.Second)
		require.False(t, r.resting(time.Now()), "from the beginning again")
	})
}

// silent returns an address that answers no SYN: its queue is full.
func silent(t *testing.T) net.Addr {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	raw, err := ln.(*net.TCPListener).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), 0) }))
	require.NoError(t, err)
	for full := 0; full < 3; { // one that fails may be this machine's doing
		c, err := net.DialTimeout("tcp", ln.Addr().String(), 100*time.Millisecond)
		if err != nil {
			full++
			continue
		}
		full = 0
		t.Cleanup(func() { _ = c.Close() })
	}
	return ln.Addr()
}

func TestAnUpstreamThatIsSilentIsGivenUpWhenThereAreOthers(t *testing.T) {
	address, accept := listen(t)
	r := newRig(t, "", func(c *Config) { c.Upstreams = []string{silent(t).String(), address} })
	client := r.dial()
	tell(t, client, accept(), get)
	require.Zero(t, r.Stats().Refused)
}

func TestThoseLeftShareTheTurnsOfOneThatFails(t *testing.T) {
	u, err := newUpstreams([]string{"192.0.2.1:1", "192.0.2.2:2", "192.0.2.3:3"}, newLogger(t))
	require.NoError(t, err)
	u.all[0].get()[0].failed(unix.ECONNREFUSED)
	now, turns := time.Now(), map[string]int{}
	for range 60 {
		turns[string(u.get(now)[0].text)]++
	}
	require.Equal(t, map[string]int{"192.0.2.2:2": 30, "192.0.2.3:3": 30}, turns)
}

func TestFurtherClientsWaitForAPlace(t *testing.T) {
	for name, row := range map[string]struct {
		most   int
		fds    int64
		reason string
	}{
		"--max-connections": {2, 1 << 20, "--max-connections"},
		"descriptors":       {0, perLoop + 2*perConnection + 1, "kept for capture"},
	} {
		t.Run(name, func(t *testing.T) {
			address, accept := listen(t)
			r := newRig(t, address, func(c *Config) { c.MaxConnections, c.Loops = row.most, 1 })
			r.fds.most.Store(row.fds)
			first, second := r.dial(), r.dial()
			one, two := accept(), accept()
			tell(t, first, one, get)
			tell(t, second, two, get)
			third := r.dial() // by the kernel
			send(t, third, get)
			eventually(t, func() bool { return r.Stats().Pauses > 0 })
			require.EqualValues(t, 2, r.Stats().Connections)
			tell(t, one, first, answer) // those that are there go on
			require.NoError(t, first.Close())
			requireEnd(t, one)
			require.NoError(t, one.Close())
			server := accept()
			expect(t, server, get)
			tell(t, server, third, answer)
			require.Zero(t, r.Stats().Refused)
			require.Contains(t, r.logs.String(), row.reason)
		})
	}
}

func TestAnUpstreamWithSeveralAddressesFailsWithItsLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs := new(lines)
		u, err := newUpstreams([]string{"a.invalid:80"}, slog.New(slog.NewTextHandler(logs, nil)))
		require.NoError(t, err)
		r := u.all[0]
		one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		order := func() (all []string) {
			for _, a := range u.get(time.Now()) {
				all = append(all, string(a.text))
			}
			return all
		}
		require.True(t, r.set([]netip.Addr{one, two}))
		require.Equal(t, []string{"192.0.2.1:80", "192.0.2.2:80"}, order())

		r.get()[0].failed(unix.ETIMEDOUT)
		require.Len(t, r.again, 1, "the name is looked up: it may lead elsewhere by now")
		require.False(t, r.resting(time.Now()))
		require.Equal(t, []string{"192.0.2.2:80", "192.0.2.1:80"}, order(), "the next do not wait for it")
		require.True(t, r.set([]netip.Addr{one, two}))
		require.Equal(t, []string{"192.0.2.2:80", "192.0.2.1:80"}, order(), "nor when the name still leads there")

		time.Sleep(firstBackOff)
		require.Equal(t, []string{"192.0.2.1:80", "192.0.2.2:80"}, order(), "one looks whether it works again")
		require.Equal(t, []string{"192.0.2.2:80", "192.0.2.1:80"}, order(), "and only one")
		r.get()[0].failed(unix.ETIMEDOUT)
		require.Equal(t, 1, strings.Count(logs.String(), "connections go to its others"), logs.String())

		r.get()[1].failed(unix.ECONNREFUSED)
		require.True(t, r.resting(time.Now()))
		require.Equal(t, 1, strings.Count(logs.String(), "clients are reset"), logs.String())
		require.Len(t, order(), 2, "they are all there is")
		r.get()[1].worked()
		require.False(t, r.resting(time.Now()))
		require.Equal(t, 1, strings.Count(logs.String(), "the upstream can be reached again"), logs.String())
		require.Equal(t, []string{"192.0.2.2:80", "192.0.2.1:80"}, order())
	})
}

func TestANameThatLeadsToTheTapItselfIsNotFollowed(t *testing.T) {
	logs := new(lines)
	u, err := newUpstreams([]string{"a.invalid:80"}, slog.New(slog.NewTextHandler(logs, nil)))
	require.NoError(t, err)
	r := u.all[0]
	require.NoError(t, u.notAt(&net.TCPAddr{IP: net.IPv6unspecified, Port: 80}))
	here, app := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1")
	require.False(t, r.set([]netip.Addr{here}))
	require.Empty(t, r.get())
	require.True(t, r.set([]netip.Addr{app}))
	require.False(t, r.set([]netip.Addr{here}), "as when the service's name is moved to the tap")
	require.False(t, r.set([]netip.Addr{here}))
	require.Equal(t, "192.0.2.1:80", string(r.get()[0].text), "where it led before")
	require.True(t, r.set([]netip.Addr{here, app}))
	require.Len(t, r.get(), 1)
	require.Equal(t, 2, strings.Count(logs.String(), "LEADS TO THIS TAP ITSELF"), "once for each change: %s", logs.String())
}

func TestWhatLeadsToAListener(t *testing.T) {
	own, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, row := range []struct {
		to, listener string
		want         bool
	}{
		{"127.0.0.1:80", "127.0.0.1:80", true},
		{"127.0.0.1:81", "127.0.0.1:80", false},
		{"127.0.0.2:80", "127.0.0.1:80", false},
		{"127.0.0.2:80", "0.0.0.0:80", true},
		{"127.0.0.1:80", "[::]:80", true},
		{"[::1]:80", "[::]:80", true},
		{"[::1]:80", "0.0.0.0:80", false},
		{"0.0.0.0:80", "127.0.0.1:80", true},
		{"0.0.0.0:80", "192.0.2.77:80", false},
		{"192.0.2.77:80", "192.0.2.77:80", true},
		{"198.51.100.77:80", "[::]:80", false},
	} {
		require.Equal(t, row.want, leadsTo(netip.MustParseAddrPort(row.to), netip.MustParseAddrPort(row.listener)), "%+v", row)
	}
	for _, a := range own { // of this machine, on whatever interface
		ip := netip.MustParsePrefix(a.String()).Addr().Unmap()
		require.True(t, leadsTo(netip.AddrPortFrom(ip, 80), netip.MustParseAddrPort("[::]:80")), "%s", ip)
	}
	require.False(t, leadsTo(netip.MustParseAddrPort("127.0.0.1:80"), netip.AddrPort{}))
}
