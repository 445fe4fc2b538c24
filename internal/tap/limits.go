package tap

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/meter"
)

// The words of --max-cpu and --max-rss.
const (
	LimitAuto  = "auto" // autoShare of what the control group allows, where it bounds the process
	LimitNever = "off"
)

const autoShare = 0.9

// MaxCPU is from which share of the CPU that the process may use capture switches itself off. The zero value is never.
type MaxCPU struct {
	share float64
	auto  bool
}

// ParseMaxCPU reads "auto", "off", or a share such as "50%".
func ParseMaxCPU(s string) (MaxCPU, error) {
	switch s {
	case LimitAuto:
		return MaxCPU{share: autoShare, auto: true}, nil
	case LimitNever:
		return MaxCPU{}, nil
	}
	share, ok := parsePercent(s)
	if !ok {
		return MaxCPU{}, fault.BadUsage(fmt.Sprintf("bad --max-cpu %q", s), "want a share of what the tap may use, more than 0%", "50%, auto or off")
	}
	return MaxCPU{share: share}, nil
}

// of returns the share in force.
func (m MaxCPU) of(b meter.Bounds) float64 {
	if m.auto && !b.Quota {
		return 0
	}
	return m.share
}

// MaxRSS is from which resident memory on capture switches itself off. The zero value is never.
type MaxRSS struct {
	share float64 // of the control group's limit
	bytes int64
}

// ParseMaxRSS reads "auto", "off", a share such as "80%", or a size, which size reads.
func ParseMaxRSS(s string, size func(string) (int64, error)) (MaxRSS, error) {
	switch s {
	case LimitAuto:
		return MaxRSS{share: autoShare}, nil
	case LimitNever:
		return MaxRSS{}, nil
	}
	if share, ok := parsePercent(s); ok {
		return MaxRSS{share: share}, nil
	}
	n, err := size(s)
	if err != nil || n < 1<<20 { // 300 for 300MiB would keep capture off for good
		return MaxRSS{}, fault.BadUsage(fmt.Sprintf("bad --max-rss %q", s), "want a size, or a share of the control group's limit", "512MiB, 90%, auto or off")
	}
	return MaxRSS{bytes: n}, nil
}

// of returns the bytes in force; 0: there is no limit to take a share of.
func (m MaxRSS) of(b meter.Bounds) int64 {
	if m.bytes > 0 {
		return m.bytes
	}
	return int64(m.share * float64(b.Memory))
}

func parsePercent(s string) (share float64, ok bool) {
	number, percent := strings.CutSuffix(s, "%")
	p, err := strconv.ParseFloat(number, 64)
	return p / 100, percent && err == nil && p > 0 && p <= 100 && !math.IsNaN(p)
}
