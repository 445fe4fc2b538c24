package redact

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// cases returns the folder of the shared redaction corpora, or skips.
func cases(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	dir = filepath.Join(dir, "..", "shared", "cases", "redaction")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no shared cases beside the repository")
	}
	return dir
}

type corpusCase struct {
	Entity string  `json:"entity"`
	Value  string  `json:"value"`
	Valid  bool    `json:"valid"`
	Text   string  `json:"text"`
	Count  int     `json:"count"`
	Spans  [][]int `json:"spans"`
}

// TestCorporaReachThePromisedRecallAndPrecision scores the detectors on values that others labelled: recall ≥ 0.99 and
// precision ≥ 0.95 for every kind over all corpora.
func TestCorporaReachThePromisedRecallAndPrecision(t *testing.T) {
	kinds := map[string]Kind{"CN_ID": IDNumber, "CN_MOBILE": Mobile, "CREDIT_CARD": Card, "BANK_CARD": Card}
	type score struct{ hit, miss, wrong, quiet int }
	scores := map[string]*score{}
	d := newDetector(DefaultRules().Detectors)
	files, err := filepath.Glob(filepath.Join(cases(t), "*.jsonl"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, name := range files {
		f, err := os.Open(name)
		require.NoError(t, err)
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			var c corpusCase
			require.NoError(t, json.Unmarshal(lines.Bytes(), &c))
			kind, ok := kinds[c.Entity]
			if !ok {
				continue
			}
			s := scores[c.Entity]
			if s == nil {
				s = &score{}
				scores[c.Entity] = s
			}
			text, want := c.Text, c.Count
			if c.Value != "" {
				if text = c.Value; c.Valid {
					want = 1
				}
			}
			found := 0
			for i := 0; ; {
				m, ok := d.next([]byte(text), i)
				if !ok {
					break
				}
				i = m.to
				if m.kind == kind {
					found++
				} else {
					t.Logf("%s %q: found as %s", c.Entity, text, m.kind)
				}
			}
			if want == 0 && found == 0 {
				s.quiet++
			}
			s.hit += min(found, want)
			s.miss += max(want-found, 0)
			s.wrong += max(found-want, 0)
			if found != want {
				t.Logf("%s %q: found %d, want %d", c.Entity, text, found, want)
			}
		}
	}
	for entity, s := range scores {
		recall := float64(s.hit) / float64(s.hit+s.miss)
		precision := float64(s.hit) / float64(s.hit+s.wrong)
		t.Logf("%-11s recall %.4f precision %.4f (%+v)", entity, recall, precision, *s)
		require.GreaterOrEqual(t, recall, 0.99, entity)
		require.GreaterOrEqual(t, precision, 0.95, entity)
	}
}
