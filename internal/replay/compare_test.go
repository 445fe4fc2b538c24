package replay_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/compare"
	"github.com/reprise-io/reprise/internal/traffic"
)

func TestTheRulesFileSaysWhatCountsAsTheSame(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, s *stand, g *target) {
		s.some(6, time.Millisecond)
		g.answers(func(w http.ResponseWriter, r *http.Request) bool {
			id, _ := traffic.ParseID(r.Header.Get("Reprise-Exchange-Id"))
			w.Header().Set("Content-Type", "application/json")
			if id.Seq() == 3 { // answers that are equal but for it are redacted before they are stored
				w.Header().Set("X-Next", "/items?phone=13812345678")
				fmt.Fprintf(w, `{"item":%d}`, id.Seq())
				return true
			}
			fmt.Fprintf(w, `{"at":%d,"item":%d}`, time.Now().UnixNano(), id.Seq())
			return true
		})
		at, err := compare.ParsePath("$.at")
		require.NoError(t, err)
		o := s.options(g)
		o.Compare = &compare.Rules{Ignore: []compare.Place{{Path: at}}, Fields: []compare.FieldPlace{{Name: "X-Next"}}}
		r := s.run(o)
		require.EqualValues(t, 5, r.Answers.Same)
		require.EqualValues(t, 1, r.Answers.BodyChanged)
		require.Len(t, r.Differences, 1)
		d := r.Differences[0]
		require.Equal(t, "header X-Next", d.Path)
		require.Equal(t, "extra", d.Kind)
		require.NotContains(t, d.Example.Got, "13812345678")
		require.Contains(t, d.Example.Got, "/items?phone=")
	})
}
