package proxy

import (
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
		r := u.all[0]
		first := func() string { return string(u.get(time.Now())[0].text) }
		for _, seconds := range []int{1, 2, 4, 8, 16, 30, 30} {
			r.failed(unix.ECONNREFUSED)
			r.failed(unix.ECONNREFUSED) // of a connection that was on its way
			time.Sleep(time.Duration(seconds)*time.Second - time.Nanosecond)
			require.True(t, r.resting(time.Now()))
			require.Equal(t, "192.0.2.2:2", first())
			require.Equal(t, "192.0.2.2:2", first())
			require.Len(t, u.get(time.Now()), 2, "it is still the last resort")
			time.Sleep(time.Nanosecond)
			require.False(t, r.resting(time.Now()))
		}
		r.worked()
		r.failed(unix.ECONNREFUSED)
		time.Sleep(time.Second)
		require.False(t, r.resting(time.Now()), "from the beginning again")
	})
}

func TestAnUpstreamThatIsSilentIsGivenUpWhenThereAreOthers(t *testing.T) {
	address, accept := listen(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // its queue is full: further SYNs are not answered
	require.NoError(t, err)
	defer silent.Close()
	raw, err := silent.(*net.TCPListener).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), 0) }))
	require.NoError(t, err)
	for full := 0; full < 3; { // one that fails may be this machine's doing
		c, err := net.DialTimeout("tcp", silent.Addr().String(), 100*time.Millisecond)
		if err != nil {
			full++
			continue
		}
		full = 0
		defer c.Close()
	}
	r := newRig(t, "", func(c *Config) { c.Upstreams = []string{silent.Addr().String(), address} })
	client := r.dial()
	tell(t, client, accept(), get)
	require.Zero(t, r.Stats().Refused)
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
	u, err := newUpstreams([]string{"a.invalid:80", "b.invalid:80"}, newLogger(t))
	require.NoError(t, err)
	u.all[0].set([]netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")})
	for i, rests := range []bool{false, true} {
		a := u.all[0].get()[i]
		began := time.Now()
		a.failed(unix.ECONNREFUSED)
		require.Equal(t, rests, u.all[0].resting(began))
	}
}
