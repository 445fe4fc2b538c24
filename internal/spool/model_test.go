package spool

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// model drives a spool through a random life, with failures of the disk, kills and power cuts, and knows what it may
// and must give back.
type model struct {
	t    *testing.T
	r    *rand.Rand
	mem  *memory
	s    *Spool
	rate float64 // of failing steps

	next    uint64          // number of the next record
	pending []uint64        // written since the last sync
	durable map[uint64]bool // must come back, also after a power cut
	written map[uint64]bool // must come back after a kill
	lost    int64           // as told by OnLost
	excused int64           // lost ones that were durable or written: we do not know which
	taken   map[uint64]bool
	last    uint64 // taken in this life
	stored  uint64 // everything up to it was committed, and the cursor stored
	commits uint64 // committed
	total   int64  // records of this life: found, appended
	out     int64  // taken in this life
}

const modelMax = 64 << 10

func (m *model) open() {
	m.mem.fail = func(string) bool { return false }
	s, err := Open(m.mem, Config{MaxBytes: modelMax, OnLost: func(n int64, _ Reason) { m.lost += n }})
	require.NoError(m.t, err)
	m.s = s
	s.synced = func(n int64) {
		require.LessOrEqual(m.t, n, int64(len(m.pending)))
		for _, id := range m.pending {
			m.durable[id] = true
		}
		m.pending = nil
	}
	m.total, m.out, m.lost, m.last = s.Len(), 0, 0, 0
	m.mem.fail = func(string) bool { return m.r.Float64() < m.rate }
}

func (m *model) append() {
	batch := make([][]byte, 1+m.r.IntN(6))
	for i := range batch {
		batch[i] = make([]byte, 8+m.r.IntN(1500))
		binary.LittleEndian.PutUint64(batch[i], m.next+uint64(i))
	}
	for i := 0; i < len(batch); {
		failures := m.s.Failures()
		n, err := m.s.appendSome(batch[i:])
		if m.s.Failures() > failures {
			m.pending = nil // nothing of that segment is durable any more
		}
		for range n {
			m.written[m.next+uint64(i)] = true
			m.pending = append(m.pending, m.next+uint64(i))
			i++
		}
		m.total += int64(n)
		if err != nil {
			break
		}
		require.Positive(m.t, n)
	}
	m.next += uint64(len(batch))
	require.LessOrEqual(m.t, m.mem.bytes(), int64(modelMax), "the bound holds")
}

func (m *model) take() {
	payloads, after, _ := m.s.Take(1+m.r.IntN(8), int64(1+m.r.IntN(6000)))
	for _, p := range payloads {
		id := binary.LittleEndian.Uint64(p)
		require.Greater(m.t, id, m.last, "in order, and each once")
		require.Greater(m.t, id, m.stored, "what the cursor covers does not come again")
		m.last = id
		m.taken[id] = true
	}
	m.out += int64(len(payloads))
	if m.r.IntN(3) > 0 {
		_ = m.s.Commit(after)
		m.commits = max(m.commits, m.last)
	}
}

func (m *model) sync() {
	failures := m.s.Failures()
	commits := m.commits
	err := m.s.Sync()
	if m.s.Failures() > failures {
		m.pending = nil
	}
	if err == nil {
		m.stored = max(m.stored, commits)
	}
	require.LessOrEqual(m.t, m.mem.bytes(), int64(modelMax))
}

// die ends the process; what it must find again is checked by finish.
func (m *model) die(power bool) {
	m.excused += m.lost
	if power {
		m.mem = m.mem.powerCut(m.r.IntN(3) * m.r.IntN(500))
		m.written = map[uint64]bool{}
		for id := range m.durable {
			m.written[id] = true
		}
	} else {
		m.mem = m.mem.kill()
	}
	m.pending = nil
	m.commits = m.stored
	m.open()
}

func (m *model) books() {
	require.Equal(m.t, m.total, m.out+m.lost+m.s.Len(), "found + appended = taken + lost + in it")
}

// finish takes all that is left.
func (m *model) finish() {
	m.excused += m.lost
	lost := m.lost
	m.mem.fail = func(string) bool { return false }
	for {
		payloads, after, err := m.s.Take(100, 1<<20)
		require.NoError(m.t, err)
		if len(payloads) == 0 {
			break
		}
		for _, p := range payloads {
			id := binary.LittleEndian.Uint64(p)
			require.Greater(m.t, id, m.last)
			m.last = id
			m.taken[id] = true
		}
		m.out += int64(len(payloads))
		require.NoError(m.t, m.s.Commit(after))
	}
	m.excused += m.lost - lost
	m.books()
	require.Zero(m.t, m.s.Len())
	var missing int64
	for id := range m.written {
		if !m.taken[id] {
			missing++
		}
	}
	require.LessOrEqual(m.t, missing, m.excused, "what was there came back, or was told as lost")
	require.NoError(m.t, m.s.Close())
}

func TestAnyLifeGivesBackWhatWasDurableInOrder(t *testing.T) {
	for seed := range uint64(400) {
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			m := &model{
				t: t, r: r, mem: newMemory(), rate: []float64{0, 0.01, 0.1, 0.4}[seed%4], next: 1,
				durable: map[uint64]bool{}, written: map[uint64]bool{}, taken: map[uint64]bool{},
			}
			m.open()
			for range 40 + r.IntN(150) {
				switch n := r.IntN(40); {
				case n < 16:
					m.append()
				case n < 28:
					m.take()
				case n < 38:
					m.sync()
				case n == 38:
					m.die(false)
				default:
					m.die(true)
				}
				m.books()
			}
			m.finish()
		})
		if !ok {
			return
		}
	}
}
