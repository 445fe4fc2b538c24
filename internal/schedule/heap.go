package schedule

// heap is a 4-ary min-heap: shallower than a binary one, so that fewer cache lines are touched when the smallest leaves.
// moved, which may be nil, is told where an element has gone.
type heap[E any] struct {
	items []E
	less  func(a, b *E) bool
	moved func(e *E, i int)
}

const arity = 4

func (h *heap[E]) len() int { return len(h.items) }

func (h *heap[E]) push(e E) {
	h.items = append(h.items, e)
	h.up(len(h.items) - 1)
}

// removeAt takes the element at i out; 0 is the smallest.
func (h *heap[E]) removeAt(i int) E {
	e := h.items[i]
	last := len(h.items) - 1
	var zero E
	if i != last {
		h.items[i] = h.items[last]
	}
	h.items[last] = zero // for the garbage collector
	h.items = h.items[:last]
	if i != last && !h.down(i) {
		h.up(i)
	}
	if cap(h.items) > 1024 && len(h.items) < cap(h.items)/8 {
		h.items = append(make([]E, 0, cap(h.items)/4), h.items...)
	}
	return e
}

// fix puts the element at i, whose order has changed, in its place.
func (h *heap[E]) fix(i int) {
	if !h.down(i) {
		h.up(i)
	}
}

// rebuild orders items that were filled in directly.
func (h *heap[E]) rebuild() {
	if h.moved != nil {
		for i := range h.items {
			h.moved(&h.items[i], i)
		}
	}
	for i := len(h.items)/arity + 1; i >= 0; i-- {
		if i < len(h.items) {
			h.down(i)
		}
	}
}

// up and down swap in place: a copy to compare with would escape through less and cost an allocation each.
func (h *heap[E]) up(i int) {
	for i > 0 {
		parent := (i - 1) / arity
		if !h.less(&h.items[i], &h.items[parent]) {
			break
		}
		h.swap(i, parent)
		i = parent
	}
	h.tell(i)
}

// down reports whether the element has moved.
func (h *heap[E]) down(start int) bool {
	i, n := start, len(h.items)
	for {
		first := i*arity + 1
		if first >= n {
			break
		}
		child := first
		for c := first + 1; c < min(first+arity, n); c++ {
			if h.less(&h.items[c], &h.items[child]) {
				child = c
			}
		}
		if !h.less(&h.items[child], &h.items[i]) {
			break
		}
		h.swap(i, child)
		i = child
	}
	h.tell(i)
	return i != start
}

func (h *heap[E]) swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	h.tell(i)
	h.tell(j)
}

func (h *heap[E]) tell(i int) {
	if h.moved != nil {
		h.moved(&h.items[i], i)
	}
}
