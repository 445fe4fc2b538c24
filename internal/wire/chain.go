package wire

// chain is a list whose items hold their places in it themselves, so that nothing is allocated for it and an item is taken out
// from wherever it stands. The zero value is empty.
type chain[T any] struct{ head, tail *link[T] }

// link is an item's place in one chain. The zero value is in none.
type link[T any] struct {
	item       *T // nil: in no chain
	prev, next *link[T]
}

// first returns the item that was added before all others; nil: there is none.
func (c *chain[T]) first() *T {
	if c.head == nil {
		return nil
	}
	return c.head.item
}

// add puts item at the end; l is its place, which is in no chain.
func (c *chain[T]) add(item *T, l *link[T]) {
	l.item, l.prev = item, c.tail
	if c.tail != nil {
		c.tail.next = l
	} else {
		c.head = l
	}
	c.tail = l
}

// remove takes out what has this place, if it is in the chain.
func (c *chain[T]) remove(l *link[T]) {
	if l.item == nil {
		return
	}
	if l.prev != nil {
		l.prev.next = l.next
	} else {
		c.head = l.next
	}
	if l.next != nil {
		l.next.prev = l.prev
	} else {
		c.tail = l.prev
	}
	*l = link[T]{}
}
