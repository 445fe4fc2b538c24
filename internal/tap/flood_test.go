package tap

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/capture/proxy"
)

// floodPatience is for what must happen, on a machine that may stop for seconds.
const floodPatience = time.Minute

// A thousand clients that stop in the middle of a body would fill the budget for good. The oldest are given up, what comes
// whole is captured, and production gets every byte of all.
func TestHalfSentBodiesDoNotKeepOthersFromBeingCaptured(t *testing.T) {
	for name, loops := range map[string]int{"one loop": 1, "three loops": 3} {
		t.Run(name, func(t *testing.T) { flood(t, loops) })
	}
}

func flood(t *testing.T, loops int) {
	const clients, size = 1000, 100 << 10
	body := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	var whole atomic.Int64
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if err == nil && (r.Method == http.MethodGet || bytes.Equal(got, body)) {
			whole.Add(1)
		}
		_, _ = io.WriteString(w, "ok")
	}))
	defer origin.Close()
	budget, k := NewBudget(1<<20), &keeper{result: acknowledge}
	p := NewPipeline(PipelineConfig{Budget: budget, Writer: k, Logger: slog.New(slog.DiscardHandler)})
	p.apply(compiled(t, everything()))
	k.pipeline = p
	tap, err := proxy.Listen(proxy.Config{
		Listen: "127.0.0.1:0", Upstreams: []string{origin.Listener.Addr().String()}, BodyMax: 256 << 10, Loops: loops, Budget: budget, Sink: p,
		ResponseWait: time.Minute,
	})
	require.NoError(t, err)
	working, forwarding := start(context.Background(), p.Run), start(context.Background(), tap.Run)

	conns := make([]net.Conn, clients)
	for i := range conns {
		c, err := net.Dial("tcp", tap.Addr().String())
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, c.SetDeadline(time.Now().Add(5*floodPatience)))
		_, err = fmt.Fprintf(c, "POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", i, size, body[:size/2])
		require.NoError(t, err)
		conns[i] = c
	}
	require.Eventually(t, func() bool { return tap.Stats().Seen == clients }, floodPatience, 5*time.Millisecond)
	require.Eventually(t, func() bool { return budget.Used() <= budget.high }, floodPatience, 5*time.Millisecond)
	dropped := p.Counters().Report().GetDropped()["memory"]
	require.GreaterOrEqual(t, dropped, uint64(clients-100), "of a mebibyte a thousand have no room, however little of theirs is read yet")
	require.Less(t, dropped, uint64(clients), "and not all are given up")

	captured := func(target string) bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		for _, r := range k.records {
			if string(decoded(t, r).Request.Target) == target {
				return true
			}
		}
		return false
	}
	asked := 0
	for i := range 20 {
		target := fmt.Sprintf("/whole/%d", i)
		for try := 1; !captured(target); try++ {
			asked++
			resp, err := http.Get("http://" + tap.Addr().String() + target)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			for range 400 { // two seconds of this process, however long it is stopped meanwhile
				if captured(target) {
					break
				}
				time.Sleep(5 * time.Millisecond)
			}
			// One loop has given up what is older. Of several, one that the machine has stopped may hold the oldest.
			require.Less(t, try, loops*10, "what comes whole is captured")
			if loops == 1 {
				require.Eventually(t, func() bool { return captured(target) }, floodPatience, 5*time.Millisecond)
			}
		}
	}
	require.LessOrEqual(t, asked, 20+5*(loops-1))

	for _, c := range conns { // and now they go on
		_, err := c.Write(body[size/2:])
		require.NoError(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.NoError(t, resp.Body.Close())
		require.NoError(t, c.Close())
	}
	require.EqualValues(t, clients+asked, whole.Load(), "production got every byte of all")
	http.DefaultClient.CloseIdleConnections()
	require.NoError(t, forwarding.stop())
	require.NoError(t, working.stop())
	r := p.Counters().Report()
	require.EqualValues(t, clients+asked, r.GetSeen())
	require.Zero(t, r.GetPending())
	require.Equal(t, r.GetSeen(), r.GetProduced()+r.GetDropped()["memory"])
	require.Len(t, r.GetDropped(), 1)
	require.Zero(t, budget.Used())
	if loops == 1 { // several do not wait for one that the machine has stopped
		young := 0 // a loop reads what is ready at once in an order of its own
		for i := clients - 50; i < clients; i++ {
			if captured(fmt.Sprintf("/%d", i)) {
				young++
			}
		}
		require.Positive(t, young, "the youngest were kept")
	}
	require.False(t, captured("/0"), "the oldest was not")
}
