package compare

import (
	"bytes"
	"math"
	"strconv"
	"strings"

	"github.com/reprise-io/reprise/internal/traffic"
)

// Rules say what counts as the same. The zero value: bodies alone, JSON exactly and arrays in their order. They must not be
// written to once they are in use.
type Rules struct {
	Ignore  []Place      // what is not compared; a whole body, of whatever kind, by the zero Path
	Arrays  []Array      // the first that is for a place counts
	Numbers []Number     // the same
	Types   []Place      // where 12 counts as "12", and null as nothing
	Fields  []FieldPlace // header fields that are compared too
}

// Matcher decides whether a rule is for an exchange; filter.Filter is one.
type Matcher interface {
	Match(x *traffic.Exchange) (bool, error)
}

// Place is places in the JSON bodies of some exchanges.
type Place struct {
	Path  Path
	Where Matcher // nil: of all
}

// Array says how items are told apart, where their order says nothing.
type Array struct {
	Place
	Key string // the member that is an item's name; empty: items are equal as a whole
}

// Number says how far apart two numbers may be and still be the same: by either bound.
type Number struct {
	Place
	Absolute float64
	Relative float64 // of the larger one: 0.01 is 1 %
}

// FieldPlace is a header field of the answers to some exchanges.
type FieldPlace struct {
	Name  string
	Where Matcher // nil: of all
}

// Redacts reports whether answers have to be redacted before it is known whether they differ: header fields are compared.
func (r *Rules) Redacts() bool { return r != nil && len(r.Fields) > 0 }

// of returns the rules that are for an exchange; nil: none. One whose filter fails is not.
func (r *Rules) of(x *traffic.Exchange) *Rules {
	if r == nil {
		return nil
	}
	mine := &Rules{}
	for i := range r.Ignore {
		if applies(r.Ignore[i].Where, x) {
			mine.Ignore = append(mine.Ignore, r.Ignore[i])
		}
	}
	for i := range r.Arrays {
		if applies(r.Arrays[i].Where, x) {
			mine.Arrays = append(mine.Arrays, r.Arrays[i])
		}
	}
	for i := range r.Numbers {
		if applies(r.Numbers[i].Where, x) {
			mine.Numbers = append(mine.Numbers, r.Numbers[i])
		}
	}
	for i := range r.Types {
		if applies(r.Types[i].Where, x) {
			mine.Types = append(mine.Types, r.Types[i])
		}
	}
	return mine
}

func applies(where Matcher, x *traffic.Exchange) bool {
	if where == nil {
		return true
	}
	ok, err := where.Match(x)
	return ok && err == nil
}

// body reports whether the whole body is to be left out.
func (r *Rules) body() bool { return r.ignores(nil) }

func (r *Rules) ignores(at []token) bool { return r != nil && anyOf(r.Ignore, at) }

func (r *Rules) loose(at []token) bool { return r != nil && anyOf(r.Types, at) }

func anyOf(places []Place, at []token) bool {
	for i := range places {
		if places[i].Path.matches(at) {
			return true
		}
	}
	return false
}

// array returns the rule for the array at a place; nil: it is compared in its order.
func (r *Rules) array(at []token) *Array {
	if r == nil {
		return nil
	}
	for i := range r.Arrays {
		if r.Arrays[i].Path.matches(at) {
			return &r.Arrays[i]
		}
	}
	return nil
}

// near reports whether two numbers at a place are the same by a rule.
func (r *Rules) near(at []token, a, b string) bool {
	if r == nil {
		return false
	}
	for i := range r.Numbers {
		if n := &r.Numbers[i]; n.Path.matches(at) {
			return n.near(a, b)
		}
	}
	return false
}

func (n *Number) near(a, b string) bool {
	x, errA := strconv.ParseFloat(a, 64)
	y, errB := strconv.ParseFloat(b, 64)
	if errA != nil || errB != nil {
		return false // larger than any float
	}
	// What is written as 1.00 and 1.01 is apart by a little more than 0.01 in binary.
	const rounding = 1e-15
	larger := max(math.Abs(x), math.Abs(y))
	return math.Abs(x-y) <= max(n.Absolute, n.Relative*larger)+4*rounding*larger
}

// fields compares the header fields that the rules name. Those of which a value was redacted with another key are left out.
func (c Comparer) fields(x *traffic.Exchange, got *traffic.Response) (found []traffic.Difference) {
	if c.Rules == nil || len(got.Headers) == 0 { // none at all: removed because they could not be redacted
		return nil
	}
	for _, f := range c.Rules.Fields {
		if !applies(f.Where, x) || c.unlike(x, f.Name) {
			continue
		}
		was, is := joined(x.Response.Headers, f.Name), joined(got.Headers, f.Name)
		if bytes.Equal(was, is) && (was == nil) == (is == nil) || len(found) == maxDifferences {
			continue
		}
		d := traffic.Difference{Path: headerPath + f.Name, Kind: traffic.ValueDiffers}
		if was == nil {
			d.Kind = traffic.Extra
		} else {
			d.Recorded = excerpt(was)
		}
		if is == nil {
			d.Kind = traffic.Missing
		} else {
			d.Got = excerpt(is)
		}
		found = append(found, d)
	}
	return found
}

// headerPath begins the path of a difference in a header field.
const headerPath = "header "

// joined returns the values of a field, as one line; nil: there is none.
func joined(fields []traffic.Field, name string) (line []byte) {
	for i := range fields {
		if !bytes.EqualFold(fields[i].Name, []byte(name)) {
			continue
		}
		if line == nil {
			line = []byte{}
		} else {
			line = append(line, ", "...)
		}
		line = append(line, fields[i].Value...)
	}
	return line
}

// unlike reports whether a field's value cannot be equal, as another key redacted it or another user got it.
func (c Comparer) unlike(x *traffic.Exchange, name string) bool {
	cookies := strings.EqualFold(name, "Set-Cookie")
	for i := range x.Redactions {
		r := &x.Redactions[i]
		if r.KeyID == c.KeyID && !c.OtherUser {
			continue
		}
		if cookies && strings.HasPrefix(r.Location, setCookieLocation) {
			return true
		}
		place, ok := strings.CutPrefix(r.Location, headerLocation)
		n := len(name)
		if ok && len(place) >= n && strings.EqualFold(place[:n], name) && (len(place) == n || place[n] == '#' || place[n] == '~') {
			return true
		}
	}
	return false
}
