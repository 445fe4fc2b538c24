package mirror

import (
	"time"
	"unsafe"

	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/wire"
)

const (
	exchangeSize = int(unsafe.Sizeof(traffic.Exchange{}))
	fieldSize    = int(unsafe.Sizeof(traffic.Field{}))
)

// arrival is a request on its way in. One that is not kept is read all the same.
type arrival struct {
	c        *conn
	exchange *traffic.Exchange // nil: not kept
	lost     loss              // why not
	booked   int64             // of Budget
	start    time.Time         // first byte
	size     int64             // of the body so far
	expected int64             // of the body as announced; -1: not known
}

// room books n bytes. Without them the request is not kept.
func (a *arrival) room(n int) bool {
	if a.c.m.cfg.Budget.TryAcquire(int64(n)) {
		a.booked += int64(n)
		return true
	}
	a.lose(lostMemory)
	return false
}

// lose gives up what is kept; reading goes on.
func (a *arrival) lose(why loss) {
	a.exchange, a.lost = nil, why
	a.c.m.cfg.Budget.Release(a.booked)
	a.booked = 0
}

// body takes the next part of the body, and keeps of it what BodyMax leaves.
func (a *arrival) body(data []byte) {
	a.size += int64(len(data))
	if a.exchange == nil {
		return
	}
	body := &a.exchange.Request.Body
	most := a.c.m.cfg.BodyMax
	data = data[:min(len(data), most-len(*body))]
	if need := len(*body) + len(data); need > cap(*body) {
		if a.expected >= 0 {
			most = int(min(int64(most), a.expected))
		}
		size := max(need, min(2*cap(*body), most))
		if !a.room(size - cap(*body)) {
			return
		}
		*body = append(make([]byte, 0, size), *body...)
	}
	*body = append(*body, data...)
}

// whole notes a request that arrived to its end; flush hands it over.
func (a *arrival) whole() {
	c, x := a.c, a.exchange
	c.m.stats.answered.Add(1)
	if x == nil {
		c.lost[a.lost]++
		return
	}
	x.Source = c.m.source
	x.Request.BodySize = a.size
	resolve(x, c.gateway, a.start)
	c.batch = append(c.batch, wire.Captured{Exchange: x, Bytes: a.booked})
	a.exchange, a.booked = nil, 0
}

// cut notes a request that will not arrive whole.
func (a *arrival) cut(why cut) {
	a.lose(lostIncomplete)
	a.c.incomplete(why)
}

// incomplete notes a request of which nothing was kept yet.
func (c *conn) incomplete(why cut) {
	c.lost[lostIncomplete]++
	c.m.stats.cut[why].Add(1)
}
