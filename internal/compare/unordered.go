package compare

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/reprise-io/reprise/internal/traffic"
)

// Bounds of the work for items whose order says nothing, in one comparison: arrays in arrays multiply it. What is left then is taken
// in its order.
const (
	maxPairs = 1024    // items that are tried against each other
	maxNamed = 1 << 18 // values that items are made of, each time that one is named by them
)

// budget is what is left of them.
type budget struct{ pairs, named int }

// unordered compares arrays in which the order says nothing: first items that are the same, then what is left in its order.
// false: their items cannot be told apart by the rule.
func (w *walk) unordered(rule *Array, want, got []any, depth int) bool {
	name := w.canonical
	if rule.Key != "" {
		if w.keyIsRedacted(rule.Key, want) {
			return false
		}
		name = func(b []byte, item any, _ int) []byte { return keyOf(b, item, rule.Key) }
	}
	by := make(map[string][]int, len(got))
	for i := range got {
		w.item(i, func() {
			key := string(name(nil, got[i], depth+1))
			by[key] = append(by[key], i)
		})
		if w.budget.named < 0 {
			return false
		}
	}
	taken := make([]bool, len(got))
	var left []int // of want
	for i := range want {
		w.item(i, func() {
			key := string(name(nil, want[i], depth+1))
			at := by[key]
			if len(at) == 0 || rule.Key != "" && key == "" {
				left = append(left, i)
				return
			}
			by[key], taken[at[0]] = at[1:], true
			if rule.Key != "" {
				w.values(want[i], got[at[0]], depth+1)
			}
		})
	}
	var others []int // of got
	for i := range got {
		if !taken[i] {
			others = append(others, i)
		}
	}
	if rule.Key == "" {
		left, others = w.pairUp(left, others, want, got, depth)
	}
	w.rest(rule, left, others, want, got, depth)
	return true
}

// pairUp takes out the pairs that are the same by the rules, though they are not written alike.
func (w *walk) pairUp(left, others []int, want, got []any, depth int) (_, _ []int) {
	left = slices.DeleteFunc(left, func(i int) bool {
		if w.budget.pairs <= 0 {
			return false
		}
		at := slices.IndexFunc(others[:min(len(others), w.budget.pairs)], func(j int) bool {
			w.budget.pairs--
			probe := *w
			probe.found, probe.seen, probe.most = nil, nil, 1
			probe.item(i, func() { probe.values(want[i], got[j], depth+1) })
			return len(probe.found) == 0
		})
		if at >= 0 {
			others = slices.Delete(others, at, at+1)
		}
		return at >= 0
	})
	return left, others
}

// rest notes what has no counterpart. Items without a key to go by are compared in their order.
func (w *walk) rest(rule *Array, left, others []int, want, got []any, depth int) {
	for n := 0; n < max(len(left), len(others)) && len(w.found) < w.most; n++ {
		switch {
		case n < len(left) && n < len(others) && rule.Key == "":
			i, j := left[n], others[n]
			w.item(i, func() { w.values(want[i], got[j], depth+1) })
			continue
		case n < len(left):
			w.item(left[n], func() { w.lacks(traffic.Missing, want[left[n]]) })
		}
		if n < len(others) {
			w.item(others[n], func() { w.lacks(traffic.Extra, got[others[n]]) })
		}
	}
}

// keyIsRedacted reports whether the names of items are among what cannot be compared.
func (w *walk) keyIsRedacted(key string, items []any) (is bool) {
	if w.ignored == nil {
		return false
	}
	for i := range items {
		w.item(i, func() {
			w.within(key, key, false, func() { is = is || w.skip() })
		})
	}
	return is
}

// keyOf appends what an item is called by a member of it; nothing: it has no such name.
func keyOf(b []byte, item any, key string) []byte {
	members, ok := item.(map[string]any)
	if !ok {
		return b
	}
	switch v := members[key].(type) {
	case string:
		return append(append(b, 's'), v...)
	case json.Number:
		return appendNumber(append(b, 'n'), v)
	case bool:
		return strconv.AppendBool(append(b, 'b'), v)
	}
	return b
}

func appendNumber(b []byte, v json.Number) []byte {
	n, ok := decimal(string(v))
	if !ok {
		return append(b, v...)
	}
	if n.negative {
		b = append(b, '-')
	}
	return strconv.AppendInt(append(append(b, n.digits...), 'e'), n.exponent, 10)
}

// canonical appends what is the same for values that are, by all rules but those for numbers.
func (w *walk) canonical(b []byte, v any, depth int) []byte {
	if w.budget.named--; w.skip() {
		return append(b, '_')
	}
	loose := w.rules.loose(w.at)
	switch v := v.(type) {
	case map[string]any:
		return w.canonicalObject(b, v, depth)
	case []any:
		return w.canonicalArray(b, v, depth)
	case json.Number:
		if loose {
			return strconv.AppendQuote(b, text(v))
		}
		return appendNumber(b, v)
	case string:
		return strconv.AppendQuote(b, v)
	case bool:
		if loose {
			return strconv.AppendQuote(b, text(v))
		}
		return strconv.AppendBool(b, v)
	}
	return append(b, "null"...)
}

func (w *walk) canonicalObject(b []byte, v map[string]any, depth int) []byte {
	if depth >= maxDepth {
		return w.deep(b, v)
	}
	b = append(b, '{')
	for _, k := range sortedKeys(v) {
		w.within(k, k, false, func() {
			if w.skip() || v[k] == nil && w.rules.loose(w.at) {
				return
			}
			b = append(w.canonical(append(strconv.AppendQuote(b, k), ':'), v[k], depth+1), ',')
		})
	}
	return append(b, '}')
}

func (w *walk) canonicalArray(b []byte, v []any, depth int) []byte {
	if depth >= maxDepth {
		return w.deep(b, v)
	}
	items := make([][]byte, 0, len(v))
	for i := range v {
		w.item(i, func() {
			if !w.rules.ignores(w.at) {
				items = append(items, w.canonical(nil, v[i], depth+1))
			}
		})
	}
	if w.rules.array(w.at) != nil {
		slices.SortFunc(items, bytes.Compare)
	}
	b = append(b, '[')
	for _, one := range items {
		b = append(append(b, one...), ',')
	}
	return append(b, ']')
}

// deep appends what is too deep to be looked into.
func (w *walk) deep(b []byte, v any) []byte {
	if w.budget.named < 0 {
		return b
	}
	plain, _ := json.Marshal(v) // it was decoded from JSON
	w.budget.named -= 4 * len(plain)
	return append(b, plain...)
}

// sameText reports whether two scalars of different types are written alike, strings without their quotes. null is nothing.
func sameText(a, b any) bool {
	if a == nil || b == nil || !scalar(a) || !scalar(b) {
		return false
	}
	return text(a) == text(b)
}

func scalar(v any) bool {
	switch v.(type) {
	case string, json.Number, bool:
		return true
	}
	return false
}

// text returns a scalar as a string would have it.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}
