package main

import (
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/reprise-io/reprise/internal/meter"
)

// complainGap is between log lines about connections that were turned away.
const complainGap = 10 * time.Second

// door is where connections of filters and Envoys come in, as far as there are descriptors for them.
type door struct {
	listener *meter.Listener
	log      *slog.Logger
	said     atomic.Int64 // Unix ns
}

// door makes one of what a source listens on.
func (s *site) door(d *door) func(net.Listener) net.Listener {
	d.log = s.log
	return func(ln net.Listener) net.Listener {
		d.listener = s.descriptors.Listener(ln, d.complain)
		return d.listener
	}
}

// complain says it now and then, and not for each connection.
func (d *door) complain() {
	now, last := time.Now().UnixNano(), d.said.Load()
	if now-last < int64(complainGap) || !d.said.CompareAndSwap(last, now) {
		return
	}
	d.log.Warn("too many connections: new ones are closed at once", "listen", d.listener.Addr().String(), "so_far", d.listener.Refused(),
		"cause", "the descriptors that are left are kept for Kafka, spool and metrics", "try", "more of them (ulimit -n, LimitNOFILE=)")
}

func (d *door) register(reg prometheus.Registerer) error {
	return registerStats(reg, d.listener.Refused, []stat[int64]{
		{"reprise_tap_turned_away_total", helpTurnedAway, func(n int64) int64 { return n }, false},
	})
}
