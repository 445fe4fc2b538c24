package meter

import (
	"iter"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// groups are the control groups of a machine, as files below root.
type groups struct{ root string }

// noLimit is from where on a number means that there is none: version 1 writes the largest multiple of a page.
const noLimit = math.MaxInt64 / 2

// limits returns the closest bounds of the groups that a process is in; own is its /proc/self/cgroup. A group is bound by
// those above it too. 0: no bound.
func (g groups) limits(own []byte) (b Bounds) {
	for controllers, group := range entries(own) {
		switch {
		case controllers == nil:
			g.upwards("", group, func(dir string) {
				b.cpu(quotaOf(read(dir, "cpu.max")))
				b.memory(read(dir, "memory.max"))
			})
		case slices.Contains(controllers, "cpu"):
			g.upwards("cpu", group, func(dir string) {
				b.cpu(quotaOf(read(dir, "cpu.cfs_quota_us") + " " + read(dir, "cpu.cfs_period_us")))
			})
		case slices.Contains(controllers, "memory"):
			g.upwards("memory", group, func(dir string) { b.memory(read(dir, "memory.limit_in_bytes")) })
		}
	}
	return b
}

// entries are the lines of /proc/self/cgroup: controllers of version 1, or nil for version 2, with the group.
func entries(own []byte) iter.Seq2[[]string, string] {
	return func(yield func([]string, string) bool) {
		for line := range strings.Lines(string(own)) {
			parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
			if len(parts) != 3 {
				continue
			}
			var controllers []string
			if parts[1] != "" {
				controllers = strings.Split(parts[1], ",")
			}
			if !yield(controllers, parts[2]) {
				return
			}
		}
	}
}

// upwards visits a group and all above it. Within a container the path is often the host's, and the group is the mount's root.
func (g groups) upwards(hierarchy, group string, visit func(dir string)) {
	for group = path.Clean("/" + group); ; group = path.Dir(group) {
		visit(filepath.Join(g.root, hierarchy, group))
		if group == "/" {
			return
		}
	}
}

func read(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// quotaOf reads "quota period" in microseconds and returns CPUs; 0: no quota ("max", or negative).
func quotaOf(s string) float64 {
	quota, period, _ := strings.Cut(s, " ")
	q, err := strconv.ParseFloat(quota, 64)
	p, errPeriod := strconv.ParseFloat(period, 64)
	if err != nil || errPeriod != nil || !(q > 0) || !(p > 0) || math.IsInf(q/p, 0) {
		return 0
	}
	return q / p
}

func (b *Bounds) cpu(cpus float64) {
	if cpus > 0 && (b.CPUs == 0 || cpus < b.CPUs) {
		b.CPUs = cpus
	}
}

func (b *Bounds) memory(s string) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err == nil && n > 0 && n < noLimit && (b.Memory == 0 || n < b.Memory) {
		b.Memory = n
	}
}
