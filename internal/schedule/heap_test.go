package schedule

import (
	"math/rand/v2"
	"testing"
)

func TestHeapKeepsTheSmallestFirstAndTellsEveryPlace(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 4))
	type node struct{ key, index int }
	h := heap[*node]{
		less:  func(a, b **node) bool { return (*a).key < (*b).key },
		moved: func(n **node, i int) { (*n).index = i },
	}
	for op := range 3000 {
		switch kind := r.IntN(20); {
		case kind < 11 || h.len() == 0:
			h.push(&node{key: r.IntN(100)})
		case kind < 15:
			h.removeAt(r.IntN(h.len()))
		case kind < 19:
			n := h.items[r.IntN(h.len())]
			n.key = r.IntN(100)
			h.fix(n.index)
		default:
			r.Shuffle(h.len(), func(i, j int) { h.items[i], h.items[j] = h.items[j], h.items[i] })
			h.rebuild()
		}
		for i, n := range h.items {
			if n.index != i {
				t.Fatalf("after %d operations: at %d, told %d", op, i, n.index)
			}
			if parent := h.items[max(i-1, 0)/arity]; parent.key > n.key {
				t.Fatalf("after %d operations: %d above %d", op, parent.key, n.key)
			}
		}
	}
}

func TestHeapGivesMemoryBack(t *testing.T) {
	h := heap[int]{less: func(a, b *int) bool { return *a < *b }}
	for i := range 100_000 {
		h.push(i)
	}
	for h.len() > 10 {
		h.removeAt(0)
	}
	if cap(h.items) > 2048 {
		t.Fatalf("room for %d is kept for 10", cap(h.items))
	}
	if got := h.removeAt(0); got != 99_990 {
		t.Fatalf("got %d", got)
	}
}
