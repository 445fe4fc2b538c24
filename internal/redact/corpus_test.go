package redact

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// casesDir is the folder of the shared redaction corpora, which need not be there.
func casesDir(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "..", "shared", "cases", "redaction")
		}
		dir = filepath.Dir(dir)
	}
}

func hasCases(t *testing.T) bool {
	_, err := os.Stat(casesDir(t))
	return err == nil
}

// corpusCase is a line of a corpus: a value that is or is not of a kind, or a text in which values stand.
type corpusCase struct {
	Entity string  `json:"entity"`
	Value  string  `json:"value"`
	Valid  bool    `json:"valid"`
	Text   string  `json:"text"`
	Count  int     `json:"count"`
	Spans  [][]int `json:"spans"`
}

// contradicted are values that the corpora label both ways: expressions of their sources that were not evaluated. They count for nothing.
func contradicted(list []corpusCase) map[[2]string]bool {
	said, both := map[[2]string]bool{}, map[[2]string]bool{}
	for _, c := range list {
		key := [2]string{c.Entity, c.Value}
		if valid, ok := said[key]; ok && valid != c.Valid {
			both[key] = true
		}
		said[key] = c.Valid
	}
	return both
}

func corpora(t *testing.T) (list []corpusCase) {
	files, err := filepath.Glob(filepath.Join(casesDir(t), "*.jsonl"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, name := range files {
		f, err := os.Open(name)
		require.NoError(t, err)
		for lines := bufio.NewScanner(f); lines.Scan(); {
			var c corpusCase
			require.NoError(t, json.Unmarshal(lines.Bytes(), &c))
			list = append(list, c)
		}
		require.NoError(t, f.Close())
	}
	return list
}

// scored are the kinds that the corpora have and that a detector finds. Of the others addresses of machines (IP, MAC, URL) and wallets, which
// are public, stay as they are; numbers of other countries' citizens are replaced under their names: ssn, passport, id_number.
func scored() map[string]Kind {
	return map[string]Kind{
		"CN_ID": IDNumber, "CN_MOBILE": Mobile, "CREDIT_CARD": Card, "BANK_CARD": Card, "EMAIL": Email, "JWT": JWT, "IBAN": IBAN,
	}
}

// found returns what the detectors find in a text. The country code is part of a mobile number here.
func found(d detector, text string) (list []span) {
	for i := 0; ; {
		s, ok := d.next([]byte(text), i)
		if !ok {
			return list
		}
		i = s.to
		if s.kind == Mobile && isCountryCode([]byte(text[:s.from])) {
			s.from = 0
		}
		list = append(list, s)
	}
}

// score counts values. touched are those that are none of the kind as a whole, and in which something of the kind is found.
type score struct{ hit, miss, wrong, quiet, touched int }

func (s *score) recall() float64    { return float64(s.hit) / float64(s.hit+s.miss) }
func (s *score) precision() float64 { return float64(s.hit) / float64(s.hit+s.wrong) }

// TestRedactionCorpora scores the detectors on values that others labelled: recall ≥ 0.99 and precision ≥ 0.95 for every kind. A value
// is found when it is as a whole: "a@b.cn." holds an address and is none. make score prints the table.
func TestRedactionCorpora(t *testing.T) {
	if !hasCases(t) {
		t.Skip("no shared cases beside the repository: nothing is scored on what others labelled")
	}
	scores := map[string]*score{}
	d := newDetector(DefaultRules().Detectors)
	list := corpora(t)
	both := contradicted(list)
	for _, c := range list {
		kind, ok := scored()[c.Entity]
		if !ok || c.Text == "" && both[[2]string{c.Entity, c.Value}] {
			continue
		}
		s := scores[c.Entity]
		if s == nil {
			s = &score{}
			scores[c.Entity] = s
		}
		if c.Text != "" {
			s.text(t, d, kind, &c)
		} else {
			s.value(t, d, kind, &c)
		}
	}
	var table strings.Builder
	fmt.Fprintf(&table, "%-12s %7s %7s %9s %6s %6s %7s %8s\n", "kind", "values", "recall", "precision", "missed", "wrong", "others", "touched")
	for _, entity := range slices.Sorted(maps.Keys(scores)) {
		s := scores[entity]
		fmt.Fprintf(&table, "%-12s %7d %7.4f %9.4f %6d %6d %7d %8d\n", entity, s.hit+s.miss, s.recall(), s.precision(), s.miss, s.wrong, s.quiet, s.touched)
	}
	t.Log("\n" + table.String())
	for entity, s := range scores {
		require.GreaterOrEqual(t, s.recall(), 0.99, entity)
		require.GreaterOrEqual(t, s.precision(), 0.95, entity)
	}
}

func (s *score) value(t *testing.T, d detector, kind Kind, c *corpusCase) {
	list := found(d, c.Value)
	whole := len(list) == 1 && list[0] == span{kind, 0, len(c.Value)}
	switch {
	case c.Valid && whole:
		s.hit++
	case c.Valid:
		s.miss++
		t.Logf("%s %q: found %v", c.Entity, c.Value, list)
	case whole:
		s.wrong++
		t.Logf("%s %q: is none", c.Entity, c.Value)
	default:
		s.quiet++
		if slices.ContainsFunc(list, func(f span) bool { return f.kind == kind }) {
			s.touched++
			t.Logf("%s %q: holds %q", c.Entity, c.Value, c.Value[list[0].from:list[0].to])
		}
	}
}

func (s *score) text(t *testing.T, d detector, kind Kind, c *corpusCase) {
	n := 0
	for _, f := range found(d, c.Text) {
		if f.kind == kind {
			n++
		}
	}
	if n != c.Count {
		t.Logf("%s %q: found %d of %d", c.Entity, c.Text, n, c.Count)
	}
	s.hit += min(n, c.Count)
	s.miss += max(c.Count-n, 0)
	s.wrong += max(n-c.Count, 0)
	if n == 0 && c.Count == 0 {
		s.quiet++
	}
}
