package cli

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // TZ and "yesterday" where the machine has no time zones: our images are empty

	"github.com/reprise-io/reprise/internal/fault"
)

// ParseTime reads a time as people give it: RFC 3339, a date, "now", "now-1h30m", "today", "yesterday" (midnights in
// now's zone). The result is in UTC.
func ParseTime(s string, now time.Time) (time.Time, error) {
	year, month, day := now.Date()
	midnight := time.Date(year, month, day, 0, 0, 0, 0, now.Location())
	switch s {
	case "now":
		return now.UTC(), nil
	case "today":
		return midnight.UTC(), nil
	case "yesterday":
		return midnight.AddDate(0, 0, -1).UTC(), nil
	}
	if rest, ok := strings.CutPrefix(s, "now"); ok {
		if d, err := parseOffset(rest); err == nil {
			return now.Add(d).UTC(), nil
		}
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t.UTC(), nil
	}
	if t, err := time.ParseInLocation("2006-01-02", s, now.Location()); err == nil {
		return t.UTC(), nil
	}
	return time.Time{}, fault.BadUsage(fmt.Sprintf("bad time %q", s), "",
		"RFC 3339 ("+now.UTC().Format(time.RFC3339)+"), a date, now, now-1h, today or yesterday")
}

// parseOffset reads "-1h30m", "+5m" or "-2d".
func parseOffset(s string) (time.Duration, error) {
	if n, ok := strings.CutSuffix(s, "d"); ok {
		if d, err := time.ParseDuration(n + "h"); err == nil {
			return 24 * d, nil
		}
	}
	return time.ParseDuration(s)
}
