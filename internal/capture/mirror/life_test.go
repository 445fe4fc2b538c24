package mirror

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// bubble runs a test on a Mirror with faked time and without a network.
func bubble(t *testing.T, cfg Config, test func(t *testing.T, r *rig, dial func() net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r, ln := prepared(t, cfg), newPipes()
		r.run(ln)
		test(t, r, ln.dial)
		r.end()
	})
}

func TestIdleConnectionsEnd(t *testing.T) {
	bubble(t, Config{IdleTimeout: time.Minute}, func(t *testing.T, r *rig, dial func() net.Conn) {
		nc := dial()
		began := time.Now()
		send(t, nc, "GET / HTTP/1.1\r\n\r\n")
		expect(t, nc, noContent)
		require.Empty(t, rest(t, nc))
		require.InDelta(t, time.Minute, time.Since(began), float64(10*time.Second))
		require.Zero(t, r.Stats().Incomplete, "an idle connection owes nothing")
	})
}

func TestSlowUploadsHaveMinutes(t *testing.T) {
	bubble(t, Config{IdleTimeout: time.Second}, func(t *testing.T, r *rig, dial func() net.Conn) {
		nc := dial()
		send(t, nc, "POST /slow HTTP/1.1\r\nContent-Length: 10\r\n\r\n")
		for range 10 {
			time.Sleep(100 * time.Second)
			send(t, nc, "x")
		}
		expect(t, nc, noContent)
		require.NoError(t, nc.Close())
		synctest.Wait()
		require.Len(t, r.shelf.kept, 1)
	})
}

func TestUploadsThatStallAreGivenUp(t *testing.T) {
	bubble(t, Config{IdleTimeout: time.Second}, func(t *testing.T, r *rig, dial func() net.Conn) {
		nc := dial()
		send(t, nc, "POST /slow HTTP/1.1\r\nContent-Length: 10\r\n\r\nxx")
		require.Empty(t, rest(t, nc))
		synctest.Wait()
		require.EqualValues(t, 1, r.Stats().Incomplete.Timeout)
		require.Equal(t, map[string]int{"incomplete": 1}, r.shelf.shed)
	})
}

func TestDrainLetsRequestsFinish(t *testing.T) {
	bubble(t, Config{DrainTimeout: 10 * time.Second}, func(t *testing.T, r *rig, dial func() net.Conn) {
		idle, uploading, stuck := dial(), dial(), dial()
		send(t, idle, "GET / HTTP/1.1\r\n\r\n")
		expect(t, idle, noContent)
		send(t, uploading, "POST /u HTTP/1.1\r\nContent-Length: 2\r\n\r\na")
		send(t, stuck, "POST /s HTTP/1.1\r\nContent-Length: 2\r\n\r\na")
		synctest.Wait()
		began := time.Now()
		r.stop()
		require.Empty(t, rest(t, idle))
		require.Less(t, time.Since(began), time.Second, "who has nothing under way ends at once")
		time.Sleep(5 * time.Second)
		send(t, uploading, "b")
		expect(t, uploading, noContentClose)
		require.Empty(t, rest(t, uploading))
		require.Less(t, time.Since(began), 6*time.Second)
		require.Empty(t, rest(t, stuck))
		require.Equal(t, 10*time.Second, time.Since(began))
		synctest.Wait()
		require.Len(t, r.shelf.kept, 2)
		require.EqualValues(t, 1, r.Stats().Incomplete.Drained)
	})
}

func TestWhoReadsNoAnswersIsGivenUpAndHoldsNobody(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig, dial func() net.Conn) {
		deaf, other := dial(), dial()
		send(t, deaf, "GET /deaf HTTP/1.1\r\n\r\n") // a pipe has no buffer: the answer waits for its reader
		send(t, other, "GET /other HTTP/1.1\r\n\r\n")
		expect(t, other, noContent)
		time.Sleep(unread + time.Second)
		_, err := deaf.Write([]byte("x"))
		require.Error(t, err, "its connection is closed")
		synctest.Wait()
		require.Len(t, r.shelf.kept, 2, "what it sent was whole")
	})
}

// places are descriptors.
type places struct{ left atomic.Int64 }

func (p *places) Take(n int, anyway bool) bool {
	if p.left.Add(-int64(n)) >= 0 || anyway {
		return true
	}
	p.left.Add(int64(n))
	return false
}

func (p *places) Give(n int) { p.left.Add(int64(n)) }

func TestConnectionsOverTheBoundAreClosedAtOnce(t *testing.T) {
	two := new(places)
	two.left.Store(2)
	for name, cfg := range map[string]Config{"--max-connections": {MaxConnections: 2}, "descriptors": {Descriptors: two}} {
		t.Run(name, func(t *testing.T) { twoConnections(t, cfg) })
	}
	require.EqualValues(t, 2, two.left.Load())
}

func twoConnections(t *testing.T, cfg Config) {
	r := start(t, cfg)
	first, second := r.dial(), r.dial()
	for _, nc := range []net.Conn{first, second} {
		send(t, nc, "GET / HTTP/1.1\r\n\r\n")
		expect(t, nc, noContent)
	}
	require.Empty(t, rest(t, r.dial()))
	require.EqualValues(t, 1, r.Stats().Refused)
	require.EqualValues(t, 2, r.Stats().Connections)
	require.NoError(t, first.Close())
	require.Eventually(t, func() bool { return r.Stats().Connections == 1 }, patience, time.Millisecond)
	third := r.dial()
	send(t, third, "GET / HTTP/1.1\r\n\r\n")
	expect(t, third, noContent)
}

func TestListenSaysWhyItCannot(t *testing.T) {
	r := start(t, Config{})
	_, err := Listen(Config{Listen: r.Addr().String()})
	require.ErrorContains(t, err, "the port is in use")
}

// broken fails where a fault in the parser would.
type broken struct {
	*shelf
	faults atomic.Int64
}

func (b *broken) TryAcquire(n int64) bool {
	if b.faults.Add(-1) == 0 {
		panic("a fault")
	}
	return b.shelf.TryAcquire(n)
}

func TestAFaultCostsItsConnectionOnly(t *testing.T) {
	r := start(t, Config{})
	b := &broken{shelf: r.shelf}
	b.faults.Store(2)
	r.cfg.Budget = b
	other := r.dial()
	send(t, other, "POST /other HTTP/1.1\r\nContent-Length: 2\r\n\r\n")
	require.Eventually(t, func() bool { return b.faults.Load() == 1 }, patience, time.Millisecond)
	require.Empty(t, r.say("GET /bad HTTP/1.1\r\n\r\n"))
	send(t, other, "ok")
	expect(t, other, noContent)
	require.EqualValues(t, 1, r.Stats().Panics)
	_, shed := r.shelf.look()
	require.Equal(t, map[string]int{"panic": 1}, shed)
	require.Contains(t, r.log.String(), "a fault")
	require.Equal(t, "/other", string(r.shelf.exchanges(t, 1)[0].Request.Target))
}

func TestManyPipelinedRequestsOfASilentReader(t *testing.T) {
	const n = 20000
	r := start(t, Config{})
	nc := r.dial()
	sent := make(chan error, 1)
	go func() {
		_, err := nc.Write([]byte(strings.Repeat("GET /pipelined HTTP/1.1\r\nHost: h\r\n\r\n", n)))
		sent <- err
	}()
	require.NoError(t, <-sent) // all of it is read while no answer is
	require.NoError(t, nc.CloseWrite())
	require.Equal(t, n, strings.Count(rest(t, nc), noContent))
	r.shelf.exchanges(t, n)
}
