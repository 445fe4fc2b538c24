//go:build e2e

package e2e_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// holds tries up to three times what a machine that stands still for a moment can spoil: a fault of ours spoils every one.
func holds(t *testing.T, try func() error) {
	t.Helper()
	var err error
	for n := range 3 {
		if err = try(); err == nil {
			return
		}
		t.Logf("try %d: %v", n+1, err)
	}
	require.NoError(t, err)
}

// spell is a time in which something went on, or nothing did.
type spell struct{ from, to time.Time }

func (s spell) length() time.Duration { return s.to.Sub(s.from) }

// machine is what this one does to a sleeper: what other work on it adds to every time that a test takes, whatever our programs do.
type machine struct {
	p99    time.Duration // how late it wakes one
	asleep []spell       // in which it should have woken one, and did not, for half a lull and more
}

// stood reports whether a lull is the machine's: nobody was woken for a part of it.
func (m machine) stood(lull spell) bool {
	return slices.ContainsFunc(m.asleep, func(s spell) bool { return s.from.Before(lull.to) && lull.from.Before(s.to) })
}

// noise measures the machine until the returned function is called.
func noise(t *testing.T) (measured func() machine) {
	t.Helper()
	stop, result := make(chan struct{}), make(chan machine, 1)
	go func() {
		var m machine
		var late []time.Duration
		for {
			due := time.Now().Add(2 * time.Millisecond)
			select {
			case <-stop:
				if slices.Sort(late); len(late) > 0 {
					m.p99 = late[len(late)*99/100]
				}
				result <- m
				return
			case <-time.After(time.Until(due)):
				now := time.Now()
				late = append(late, now.Sub(due))
				if now.Sub(due) > longestLull/2 {
					m.asleep = append(m.asleep, spell{due, now})
				}
			}
		}
	}()
	return func() machine {
		close(stop)
		return <-result
	}
}
