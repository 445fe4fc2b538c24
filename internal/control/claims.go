package control

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// VerbClaim is what a replica itself says that is about to use up something of which a run has so much and no more. Its
// argument is a ClaimOf.
const VerbClaim = "claim"

// maxClaims bounds what is remembered of one generation; what is claimed beyond it is not granted.
const maxClaims = 1 << 16

type claim struct {
	offset      int64
	writer, key string
	n           int64
}

// ClaimOf is the argument of a claim: n of what key stands for.
func ClaimOf(key string, n int64) string { return key + " " + strconv.FormatInt(n, 10) }

func (g *Generation) claim(c Command) {
	key, number, ok := strings.Cut(c.GetArgument(), " ")
	n, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || n <= 0 || len(key) > maxVerb || len(g.claims) >= maxClaims {
		return
	}
	i, known := slices.BinarySearchFunc(g.claims, c.Offset, func(c claim, offset int64) int { return cmp.Compare(c.offset, offset) })
	if !known {
		g.claims = slices.Insert(g.claims, i, claim{c.Offset, c.Writer, key, n})
	}
}

// Granted returns how much of what key stands for a writer has been granted, and all of them together, when there is limit
// of it: the lowest offsets are served first, and the last one that gets something gets what is left. All replicas
// come to the same, and those that come later, after a crash too, get what nobody has claimed.
func (g *Generation) Granted(key string, limit int64, writer string) (mine, all int64) {
	if g == nil {
		return 0, 0
	}
	for _, c := range g.claims {
		if c.key != key {
			continue
		}
		n := min(c.n, limit-all)
		all += n
		if c.writer == writer {
			mine += n
		}
	}
	return mine, all
}
