//go:build !linux

package schedule

import "time"

func newSleeper(start time.Time) sleeper { return newTimerSleeper(start) }
