package main

import "github.com/prometheus/client_golang/prometheus"

// What several kinds of sources count has one name and so one help: they may be in one process.
const (
	helpConnections   = "Connections open now: of clients, or of gateways. Of an Envoy its streams, one for each exchange."
	helpAccepted      = "Connections accepted, or an Envoy's streams."
	helpRefused       = "Connections that the upstream did not take. Of a mirror those over --max-connections, or for which there was no descriptor."
	helpTurnedAway    = "Connections of filters or Envoys closed at once: no descriptors but those kept for capture."
	helpClientBytes   = "Bytes from clients, or from gateways."
	helpUpstreamBytes = "Bytes to clients."
	helpOpaque        = "Connections not read, or read no further: TLS, what is no HTTP; of a proxy also upgraded ones. A mirror closes them."
	helpPanics        = "Connections whose capture a fault in the parser ended."
	helpPauses        = "Times that new connections were left in the kernel for 0.1 s: no descriptors but those kept for capture, or --max-connections was reached."
	helpUnheard       = "Connections closed because they did not begin with the PROXY header that --proxy-protocol-in wants."
	helpHandshakes    = "Clients with which no TLS came about, where the tap speaks it itself."
)

// stat is a number that a source counts itself: a counter, or else a gauge.
type stat[S any] struct {
	name, help string
	value      func(S) int64
	gauge      bool
}

// registerStats exports what a source counts itself.
func registerStats[S any](reg prometheus.Registerer, read func() S, stats []stat[S]) error {
	for _, m := range stats {
		value := func() float64 { return float64(m.value(read())) }
		var c prometheus.Collector = prometheus.NewCounterFunc(prometheus.CounterOpts{Name: m.name, Help: m.help}, value)
		if m.gauge {
			c = prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: m.name, Help: m.help}, value)
		}
		if err := reg.Register(c); err != nil {
			return err
		}
	}
	return nil
}
