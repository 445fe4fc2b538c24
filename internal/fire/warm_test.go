package fire_test

import (
	"bufio"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fire"
)

func TestAWarmSenderHasItsConnectionsAlready(t *testing.T) {
	s := sender(t, listen(t, answering(ok)), func(cfg *fire.SenderConfig) { cfg.Concurrency = 3 })
	s.Warm(t.Context(), 2)
	require.Equal(t, fire.Stats{Dialed: 2, Open: 2, Idle: 2}, s.Stats())
	s.Warm(t.Context(), 9)
	require.Equal(t, fire.Stats{Dialed: 3, Open: 3, Idle: 3}, s.Stats(), "no more than --concurrency")
	shot, _ := s.Prepare(get(), fire.Mark{})
	require.True(t, s.Begin(shot), "the first is written at once")
	require.Empty(t, s.Fire(t.Context(), shot).Reason)
	require.EqualValues(t, 3, s.Stats().Dialed)
}

// Some targets close what brings no request.
func TestWarmConnectionsThatTheTargetHasClosedDoNoHarm(t *testing.T) {
	const warm = 3
	closed := make(chan struct{}, warm)
	s := sender(t, listen(t, func(c net.Conn, n int) {
		if n <= warm {
			c.Close()
			closed <- struct{}{}
			return
		}
		for r := bufio.NewReader(c); ; {
			if _, err := readRequest(r); err != nil {
				return
			}
			_, _ = io.WriteString(c, ok)
		}
	}), nil)
	s.Warm(t.Context(), warm)
	for range warm {
		<-closed
	}
	for range 5 {
		shot, _ := s.Prepare(get(), fire.Mark{})
		s.Begin(shot)
		a := s.Fire(t.Context(), shot)
		require.Empty(t, a.Reason, "%v", a.Err)
	}
}

func TestAGuardThatHasHaltedWarmsNothing(t *testing.T) {
	target := listen(t, answering(ok))
	g := guard(t, target, nil)
	g.Halt()
	s := sender(t, target, func(cfg *fire.SenderConfig) { cfg.Guard = g })
	s.Warm(t.Context(), 3)
	require.Equal(t, fire.Stats{}, s.Stats())
}
