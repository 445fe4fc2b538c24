package extproc

import "sync/atomic"

// Stats are totals since Listen, but Streams.
type Stats struct {
	Streams       int64 // open now; one for each exchange
	Accepted      int64 // streams
	RequestBytes  int64 // of bodies
	ResponseBytes int64 // of bodies
	Unanswered    int64 // streams that ended before the response did
	Waiting       int64 // streams of an Envoy that waits for our answers: not in observability mode
	Panics        int64 // streams whose capture a fault of ours ended
}

// counters are Stats while streams run.
type counters struct {
	streams, accepted, requestBytes, responseBytes, unanswered, waiting, panics atomic.Int64
}

// Stats returns the counts so far.
func (s *Server) Stats() Stats {
	c := &s.stats
	return Stats{
		Streams: c.streams.Load(), Accepted: c.accepted.Load(), RequestBytes: c.requestBytes.Load(),
		ResponseBytes: c.responseBytes.Load(), Unanswered: c.unanswered.Load(), Waiting: c.waiting.Load(), Panics: c.panics.Load(),
	}
}
