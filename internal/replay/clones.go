package replay

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/traffic"
)

const (
	// MaxClones bounds --clone: each fetched record is as many entries of the look-ahead.
	MaxClones = 1000
	// DefaultCloneJitter is up to how much captured time a clone comes after the recorded one.
	DefaultCloneJitter = time.Second
)

// clones says what makes the copies of one exchange different users: who each is, and how much later it comes. What it says
// follows from the run's seed alone, so that replicas and restarts agree. It is safe for concurrent use.
type clones struct {
	n       uint32 // copies of each exchange, from 1; clone 0 is as recorded
	jitter  time.Duration
	seed    []byte
	order   schedule.OrderMode
	rekeyer *redact.Rekeyer // nil: there is only clone 0, and one loop
	loop    uint32          // under way
}

func newClones(o *Options, seed []byte) (c clones, err error) {
	c = clones{n: uint32(max(1, o.Clones)), jitter: o.CloneJitter, seed: seed, order: o.Order}
	if c.n == 1 && o.loops() == 1 {
		return c, nil
	}
	c.rekeyer, err = redact.NewRekeyer(append([]byte("clones of "), seed...), o.CloneIDs)
	return c, err
}

// shifts appends how much captured time each clone comes after the recorded exchange: one shift for each session and clone, so
// that a session keeps its order. key is the record's, which is its session or else its connection; without one it stands for
// itself. With --order connection, where a connection may carry many sessions, all of a clone come equally late.
func (c *clones) shifts(to []time.Duration, key []byte, id traffic.ID) []time.Duration {
	to = append(to, 0)
	if c.n == 1 {
		return to
	}
	h := fnv.New64a()
	h.Write(c.seed)
	switch {
	case c.order == schedule.OrderConnection:
	case len(key) > 0:
		h.Write(key)
	default:
		h.Write(id[:])
	}
	base := h.Sum64()
	for clone := uint64(1); clone < uint64(c.n); clone++ {
		share := float64(mix(base+clone*0x9e3779b97f4a7c15)>>11) / (1 << 53)
		to = append(to, time.Duration(share*float64(c.jitter)))
	}
	return to
}

// mix spreads every bit of x over all of the result.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// become makes the exchange in it that of its clone, in this loop.
func (c *clones) become(it *item) (err error) {
	if it.clone == 0 && c.loop == 0 {
		return nil
	}
	it.swaps, err = c.rekeyer.Request(&it.x, it.clone, c.loop)
	return err
}

// cloneKey tells the sessions of clones apart.
func cloneKey(to, key []byte, clone uint32) []byte {
	return binary.BigEndian.AppendUint32(append(to[:0], key...), clone)
}

// ownValues leaves out the differences that are there because a clone is another user: the answer has its identity where the
// recorded one has the other. unsure: what is left could be more of the same.
func ownValues(all []traffic.Difference, swaps []redact.Swap) (left []traffic.Difference, unsure bool) {
	for _, d := range all {
		own := false
		for _, s := range swaps {
			if own = swapped(d, s); own {
				break
			}
		}
		switch {
		case !own:
			left = append(left, d)
		case d.Path == "body": // shown up to the first places only
			unsure = true
		}
	}
	return left, unsure
}

// swapped reports whether nothing but a swap makes the difference. Long values are shown up to a bound.
func swapped(d traffic.Difference, s redact.Swap) bool {
	if bytes.Contains(d.Recorded, s.Was) && bytes.Equal(bytes.ReplaceAll(d.Recorded, s.Was, s.Is), d.Got) {
		return true
	}
	was, cutWas := bytes.CutSuffix(d.Recorded, []byte("…"))
	is, cutIs := bytes.CutSuffix(d.Got, []byte("…"))
	same := func(shown, value []byte, cut bool) bool {
		shown = bytes.TrimPrefix(shown, []byte(`"`))
		if cut {
			return len(shown) > 0 && bytes.HasPrefix(value, shown)
		}
		return bytes.Equal(bytes.TrimSuffix(shown, []byte(`"`)), value)
	}
	return (cutWas || cutIs) && same(was, s.Was, cutWas) && same(is, s.Is, cutIs)
}

// ParseCloneID reads a value of --clone-id: "header:X-User-Id", "field:user_id" or "path:/users/*".
func ParseCloneID(s string) (redact.Identity, error) {
	kind, name, ok := strings.Cut(s, ":")
	name = strings.TrimSpace(name)
	switch {
	case !ok || name == "":
	case kind == "header":
		return redact.Identity{Header: name}, nil
	case kind == "field":
		return redact.Identity{Field: name}, nil
	case kind == "path":
		return redact.Identity{Path: name}, nil
	case kind == "cookie":
		return redact.Identity{}, fault.BadUsage("--clone-id "+s+" is not needed", "every clone has cookies of its own as it is",
			"header:NAME, field:NAME or path:/users/* for what redaction leaves as it is")
	}
	return redact.Identity{}, fault.BadUsage("bad --clone-id "+s, "want header:NAME, field:NAME (a query parameter, form field or JSON member) or path:/users/*",
		"--clone-id header:X-User-Id --clone-id field:userId")
}

// checkClones is the part of check about clones.
func (o *Options) checkClones() error {
	switch {
	case o.Clones < 0 || o.Clones > MaxClones:
		return fault.BadUsage("bad --clone: out of 1 to 1000", "", "--clone 5; for more, a higher --speed or more runs")
	case o.CloneJitter < 0:
		return fault.BadUsage("bad --clone-jitter: below 0", "a clone never comes before the recorded one", "--clone-jitter 1s, or 0 for none")
	case o.Clones > 1 && o.Live:
		return fault.BadUsage("--clone is not for live", "", "replayer run --clone replays a recorded window")
	case len(o.CloneIDs) > 0 && o.Clones <= 1:
		return fault.BadUsage("--clone-id without --clone", "what was recorded stays as it is", "--clone 5")
	}
	if _, err := newClones(o, nil); err != nil {
		return fault.BadUsage("bad --clone-id: "+err.Error(), "", "--clone-id header:X-User-Id --clone-id field:userId")
	}
	return nil
}

// cloneOptions are the lines about clones of a run's options.
func (o *Options) cloneOptions() []string {
	ids := make([]string, 0, len(o.CloneIDs))
	for _, id := range o.CloneIDs {
		switch {
		case id.Header != "":
			ids = append(ids, "header:"+strings.ToLower(id.Header))
		case id.Path != "":
			ids = append(ids, "path:"+id.Path)
		default:
			ids = append(ids, "field:"+id.Field)
		}
	}
	slices.Sort(ids)
	return ids
}
