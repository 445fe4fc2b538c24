package compare

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/reprise-io/reprise/internal/traffic"
)

// likeJSON reports whether a body is worth parsing: its type says so, or nothing says what it is and it begins so.
func likeJSON(body []byte, fields []traffic.Field) bool {
	if !utf8.Valid(body) {
		return false // the parser would make different bytes equal
	}
	if t, ok := traffic.Get(fields, "Content-Type"); ok && len(t) > 0 {
		return bytes.Contains(bytes.ToLower(t), []byte("json"))
	}
	body = bytes.TrimLeft(body, " \t\r\n")
	return len(body) > 0 && (body[0] == '{' || body[0] == '[')
}

// parse reads one JSON document and nothing after it.
func parse(b []byte) (any, bool) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil, false
	}
	_, err := d.Token()
	return v, err == io.EOF
}

// walk goes through two documents side by side. The paths grow and shrink with it: the one that is shown has "*" for array
// indexes, the exact one serves to look up what is redacted, and at what the rules say.
type walk struct {
	ignored map[string]struct{}
	rules   *Rules // for this exchange; nil: none
	shown   []byte
	exact   []byte
	at      []token // only with rules
	most    int     // differences that are told apart
	found   []traffic.Difference
	seen    map[place]struct{}
	budget  *budget // of all levels together
}

func newWalk(ignored map[string]struct{}, rules *Rules) *walk {
	return &walk{ignored: ignored, rules: rules, most: maxDifferences, budget: &budget{maxPairs, maxNamed}}
}

type place struct {
	path string
	kind traffic.DifferenceKind
}

func (w *walk) values(want, got any, depth int) {
	if w.skip() || len(w.found) == w.most {
		return
	}
	switch a := want.(type) {
	case map[string]any:
		if b, ok := got.(map[string]any); ok {
			if depth < maxDepth {
				w.objects(a, b, depth)
			} else if !reflect.DeepEqual(a, b) {
				w.add(traffic.ValueDiffers, want, got)
			}
			return
		}
	case []any:
		if b, ok := got.([]any); ok {
			if depth < maxDepth {
				w.arrays(a, b, depth)
			} else if !reflect.DeepEqual(a, b) {
				w.add(traffic.ValueDiffers, want, got)
			}
			return
		}
	case json.Number:
		if b, ok := got.(json.Number); ok {
			if !equalNumbers(string(a), string(b)) && !w.rules.near(w.at, string(a), string(b)) {
				w.add(traffic.ValueDiffers, want, got)
			}
			return
		}
	case string, bool, nil:
		if want == got {
			return
		}
		if reflect.TypeOf(want) == reflect.TypeOf(got) {
			w.add(traffic.ValueDiffers, want, got)
			return
		}
	}
	if !w.rules.loose(w.at) || !sameText(want, got) {
		w.add(traffic.TypeDiffers, want, got)
	}
}

func (w *walk) objects(want, got map[string]any, depth int) {
	for _, k := range sortedKeys(want) {
		w.within(k, k, false, func() {
			if b, ok := got[k]; ok {
				w.values(want[k], b, depth+1)
			} else if !w.skip() && (want[k] != nil || !w.rules.loose(w.at)) {
				w.add(traffic.Missing, want[k], nil)
			}
		})
	}
	for _, k := range sortedKeys(got) {
		if _, ok := want[k]; !ok {
			w.within(k, k, false, func() {
				if !w.skip() && (got[k] != nil || !w.rules.loose(w.at)) {
					w.add(traffic.Extra, nil, got[k])
				}
			})
		}
	}
}

func (w *walk) arrays(want, got []any, depth int) {
	if rule := w.rules.array(w.at); rule != nil && w.unordered(rule, want, got, depth) {
		return
	}
	for i := range max(len(want), len(got)) {
		if len(w.found) == w.most {
			return
		}
		w.item(i, func() {
			switch {
			case i >= len(got):
				w.lacks(traffic.Missing, want[i])
			case i >= len(want):
				w.lacks(traffic.Extra, got[i])
			default:
				w.values(want[i], got[i], depth+1)
			}
		})
	}
}

// lacks notes an item that only one of the two has.
func (w *walk) lacks(kind traffic.DifferenceKind, v any) {
	switch {
	case w.rules.ignores(w.at):
	case kind == traffic.Missing:
		w.add(kind, v, nil)
	default:
		w.add(kind, nil, v)
	}
}

// item runs do within the item of an array.
func (w *walk) item(i int, do func()) { w.within("*", strconv.Itoa(i), true, do) }

// within runs do one step down.
func (w *walk) within(shown, exact string, item bool, do func()) {
	n, m := len(w.shown), len(w.exact)
	w.shown = appendToken(w.shown, shown)
	if w.ignored != nil {
		w.exact = appendToken(w.exact, exact)
	}
	if w.rules != nil {
		w.at = append(w.at, token{exact, item})
	}
	do()
	w.shown, w.exact = w.shown[:n], w.exact[:m]
	if w.rules != nil {
		w.at = w.at[:len(w.at)-1]
	}
}

// appendToken appends one reference token of a JSON pointer.
func appendToken(b []byte, token string) []byte {
	b = append(b, '/')
	for i := range len(token) {
		switch token[i] {
		case '~':
			b = append(b, "~0"...)
		case '/':
			b = append(b, "~1"...)
		default:
			b = append(b, token[i])
		}
	}
	return b
}

func (w *walk) skip() bool {
	if w.rules.ignores(w.at) {
		return true
	}
	if w.ignored == nil {
		return false
	}
	if _, ok := w.ignored[string(w.exact)]; ok {
		return true
	}
	_, ok := w.ignored[string(w.shown)]
	return ok
}

// add notes a difference here, unless one of its kind was noted at the same shown path.
func (w *walk) add(kind traffic.DifferenceKind, want, got any) {
	path := w.shown
	if len(path) > maxPath {
		path = append(slices.Clone(path[:maxPath]), "…"...)
	}
	p := place{string(path), kind}
	if p.path == "" {
		p.path = "/"
	}
	if _, ok := w.seen[p]; ok || len(w.found) == w.most {
		return
	}
	if w.seen == nil {
		w.seen = make(map[place]struct{})
	}
	w.seen[p] = struct{}{}
	d := traffic.Difference{Path: p.path, Kind: kind}
	if kind != traffic.Extra {
		d.Recorded = shortJSON(want)
	}
	if kind != traffic.Missing {
		d.Got = shortJSON(got)
	}
	w.found = append(w.found, d)
}

// shortJSON shows a value: scalars as they are, cut; of objects and arrays only how much they hold.
func shortJSON(v any) []byte {
	switch v := v.(type) {
	case map[string]any:
		return []byte("{" + strconv.Itoa(len(v)) + "}")
	case []any:
		return []byte("[" + strconv.Itoa(len(v)) + "]")
	case string:
		if len(v) > maxExcerpt {
			v = strings.ToValidUTF8(v[:maxExcerpt], "") + "…"
		}
		b, _ := json.Marshal(v) // a string always marshals
		return b
	case json.Number:
		return excerpt([]byte(v))
	}
	b, _ := json.Marshal(v) // a bool or null
	return b
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
