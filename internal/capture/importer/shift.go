package importer

import (
	"time"

	"github.com/reprise-io/reprise/internal/traffic"
)

// Shift moves capture times, so that an old recording can be replayed as if it were of another time. The first exchange
// that it is given moves to To, all others keep their distance from it, times Scale. The zero value changes nothing.
type Shift struct {
	To    time.Time // zero: the first one stays where it is
	Scale float64   // 0.5: the same in half the time; 0: 1

	first time.Time
}

// Move changes the capture time of x; what its answer took stays.
func (s *Shift) Move(x *traffic.Exchange) {
	if s.first.IsZero() {
		s.first = x.CaptureTime
	}
	distance := x.CaptureTime.Sub(s.first)
	if s.Scale > 0 {
		distance = time.Duration(float64(distance) * s.Scale)
	}
	to := s.To
	if to.IsZero() {
		to = s.first
	}
	x.CaptureTime = to.Add(distance).UTC()
}
