package packet

// links join a connection to its neighbours in a list.
type links struct{ prev, next *Conn }

func byUse(c *Conn) *links  { return &c.use }
func byWait(c *Conn) *links { return &c.wait }

// list is a list of connections, linked by one of their links.
type list struct {
	of          func(*Conn) *links
	first, last *Conn
	n           int
}

func (l *list) add(c *Conn) {
	at := l.of(c)
	at.prev, at.next = l.last, nil
	if l.last != nil {
		l.of(l.last).next = c
	} else {
		l.first = c
	}
	l.last = c
	l.n++
}

func (l *list) remove(c *Conn) {
	at := l.of(c)
	if at.prev != nil {
		l.of(at.prev).next = at.next
	} else {
		l.first = at.next
	}
	if at.next != nil {
		l.of(at.next).prev = at.prev
	} else {
		l.last = at.prev
	}
	*at = links{}
	l.n--
}

func (l *list) toEnd(c *Conn) {
	if l.last != c {
		l.remove(c)
		l.add(c)
	}
}
