package chance

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMoreThanChance(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b Rate
		want Answer
	}{
		{"nothing of nothing", Rate{}, Rate{}, Chance},
		{"never", Rate{0, 1000}, Rate{0, 1000}, Chance},
		{"something against nothing asked", Rate{3, 10}, Rate{}, Few},
		{"once in a few", Rate{1, 5}, Rate{0, 5}, Few},
		{"always, of three", Rate{3, 3}, Rate{0, 3}, Few},
		{"always, of ten", Rate{10, 10}, Rate{0, 10}, More},
		{"always, both", Rate{1000, 1000}, Rate{1000, 1000}, Chance},
		{"twice in a thousand", Rate{2, 1000}, Rate{0, 1000}, Few},
		{"twelve in a thousand, never there", Rate{12, 1000}, Rate{0, 1000}, More},
		{"a little more", Rate{520, 1000}, Rate{500, 1000}, Chance},
		{"less", Rate{100, 1000}, Rate{200, 1000}, Chance},
		{"much more", Rate{600, 1000}, Rate{500, 1000}, More},
		{"more of a large sample", Rate{10_500, 1_000_000}, Rate{10_000, 1_000_000}, More},
		{"a large sample against a small one", Rate{500_000, 1_000_000}, Rate{5, 20}, Chance},
		{"all but a few", Rate{1000, 1000}, Rate{985, 1000}, More},
	} {
		require.Equal(t, c.want.String(), Compare(c.a, c.b).String(), c.name)
	}
}

// TestChanceSeldomPassesForMore draws both samples from the same rate.
func TestChanceSeldomPassesForMore(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	draw := func(of int64, p float64) Rate {
		s := Rate{Of: of}
		for range of {
			if r.Float64() < p {
				s.Count++
			}
		}
		return s
	}
	const rounds = 4000
	for _, c := range []struct {
		of int64
		p  float64
	}{{12, 0.5}, {40, 0.05}, {300, 0.02}, {300, 0.5}, {100, 0.97}} {
		more := 0
		for range rounds {
			if Compare(draw(c.of, c.p), draw(c.of, c.p)) == More {
				more++
			}
		}
		require.LessOrEqual(t, more, rounds*3/1000, "%v", c)
	}
}

func TestTheExactTailIsAProbability(t *testing.T) {
	require.InDelta(t, 1.0/184756, tail(Rate{10, 10}, Rate{0, 10}), 1e-9) // one way of C(20,10)
	require.InDelta(t, 1.0/3432, tail(Rate{7, 7}, Rate{0, 7}), 1e-9)
}

func FuzzCompare(f *testing.F) {
	f.Add(int64(3), int64(10), int64(0), int64(10))
	f.Fuzz(func(t *testing.T, a, aOf, b, bOf int64) {
		const most = 1 << 40
		clean := func(n, of int64) Rate {
			of = min(max(0, of), most)
			return Rate{min(max(0, n), of), of}
		}
		x, y := clean(a, aOf), clean(b, bOf)
		answer := Compare(x, y)
		require.NotEmpty(t, answer.String())
		if answer == More {
			require.NotEqual(t, More, Compare(y, x))
		}
	})
}
