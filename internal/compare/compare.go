// Package compare judges a target's answer against the recorded one: status first, gRPC's too, then the body, JSON by path
// and everything else by content. Header fields are compared where Rules name them: dates, cookies and server names differ by
// nature.
//
// The work for one exchange is bounded: bodies are cut by the tap and by the sender, decoding stops at maxDecoded
// bytes, nesting is followed to maxDepth and at most maxDifferences places are told apart.
package compare

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/reprise-io/reprise/internal/traffic"
)

const (
	maxDecoded     = 4 << 20 // bytes of a body after its content coding was removed
	maxDepth       = 64      // deeper values are compared whole
	maxDifferences = 100
	maxExcerpt     = 64 // bytes of a value that are shown
	maxPath        = 256
)

// Comparer compares answers with recorded ones. The zero value is ready and safe for concurrent use.
type Comparer struct {
	// KeyID is the key with which the answers were redacted. Values that the record says were redacted with another
	// one cannot be equal, and are left out of the comparison.
	KeyID string
	// OtherUser: the request was that of another user than the recorded one, so that no redacted value can be equal.
	OtherUser bool
	// Rules say what counts as the same; nil: nothing but what is.
	Rules *Rules
}

// Compare judges got, the target's redacted answer, against the response recorded in x. The differences are those of
// the verdict: none for Same and NoBaseline, at most maxDifferences, each place once with the first values seen there.
// They hold copies, nothing of x or got.
func (c Comparer) Compare(x *traffic.Exchange, got *traffic.Response) (traffic.Verdict, []traffic.Difference) {
	want := x.Response
	if want == nil || want.Status == 0 || x.Flags&(traffic.NoResponse|traffic.LocalReply|traffic.RequestOnly) != 0 {
		return traffic.NoBaseline, nil
	}
	if want.Status != got.Status {
		return traffic.StatusChanged, []traffic.Difference{{
			Path: "status", Kind: traffic.ValueDiffers,
			Recorded: strconv.AppendInt(nil, int64(want.Status), 10), Got: strconv.AppendInt(nil, int64(got.Status), 10),
		}}
	}
	if d, changed := grpcStatus(want, got); changed {
		return traffic.StatusChanged, []traffic.Difference{d}
	}
	fields := c.fields(x, got)
	verdict, differences := c.body(x, got)
	if len(fields) > 0 {
		return traffic.BodyChanged, append(fields, differences...)
	}
	return verdict, differences
}

// body compares the bodies of answers with the same status.
func (c Comparer) body(x *traffic.Exchange, got *traffic.Response) (traffic.Verdict, []traffic.Difference) {
	want := x.Response
	if bodyless(x.Request.Method, want.Status) {
		return traffic.Same, nil
	}
	if len(want.Body) == 0 && want.BodySize > 0 || len(got.Body) == 0 && got.BodySize > 0 {
		return traffic.NoBaseline, nil // removed because it could not be redacted, or never seen
	}
	ignored := c.ignored(x)
	cutWant := want.BodySize > int64(len(want.Body)) || x.Flags&(traffic.TruncatedResponse|traffic.ClientAborted) != 0
	cutGot := got.BodySize > int64(len(got.Body))
	switch {
	case ignored.all, cutWant && len(ignored.places) > 0:
		return traffic.NoBaseline, nil
	case !cutWant && !cutGot && bytes.Equal(want.Body, got.Body) && coding(want.Headers) == coding(got.Headers):
		return traffic.Same, nil
	}
	rules := c.Rules.of(x)
	if rules.body() {
		return traffic.Same, nil
	}
	a, cutA, okA := decoded(want, cutWant)
	b, cutB, okB := decoded(got, cutGot)
	if !okA || !okB {
		a, b = want.Body, got.Body // a coding that is not known here, or a broken one: by its bytes
	} else {
		cutWant, cutGot = cutA, cutB
	}
	var differences []traffic.Difference
	switch {
	case cutWant || cutGot:
		differences = prefixes(a, b, cutWant, cutGot)
		if len(differences) == 0 && !cutWant && coding(want.Headers) == coding(got.Headers) &&
			want.BodySize != got.BodySize {
			differences = differentBody(a, b, len(b))
		}
	case bytes.Equal(a, b):
	default:
		differences = contents(a, b, want.Headers, got.Headers, ignored, rules)
	}
	if len(differences) == 0 {
		return traffic.Same, nil
	}
	return traffic.BodyChanged, differences
}

// grpcStatus compares what gRPC calls ended with. One that was not recorded, as trailers are not by every source, is no
// baseline.
func grpcStatus(want, got *traffic.Response) (d traffic.Difference, changed bool) {
	recorded, ok := want.GRPCStatus()
	if !ok || len(got.Headers)+len(got.Trailers) == 0 { // not known, or removed because it could not be redacted
		return d, false
	}
	d = traffic.Difference{Path: "grpc-status", Kind: traffic.Missing, Recorded: strconv.AppendInt(nil, int64(recorded), 10)}
	now, ok := got.GRPCStatus()
	if ok {
		d.Kind, d.Got = traffic.ValueDiffers, strconv.AppendInt(nil, int64(now), 10)
	}
	return d, !ok || now != recorded
}

// bodyless reports whether such an answer has no body of its own.
func bodyless(method []byte, status int) bool {
	return string(method) == "HEAD" || status == 204 || status == 304
}

// prefixes compares what is there of both bodies; when one of them is whole the other one must not be longer.
func prefixes(want, got []byte, cutWant, cutGot bool) []traffic.Difference {
	n := min(len(want), len(got))
	if at := firstDifference(want[:n], got[:n]); at < n {
		return differentBody(want, got, at)
	}
	if !cutWant && len(got) > n || !cutGot && len(want) > n {
		return differentBody(want, got, n)
	}
	return nil
}

func contents(want, got []byte, wantFields, gotFields []traffic.Field, ignored redacted, rules *Rules) []traffic.Difference {
	if likeJSON(want, wantFields) && likeJSON(got, gotFields) {
		if a, ok := parse(want); ok {
			if b, ok := parse(got); ok {
				w := newWalk(ignored.places, rules)
				w.values(a, b, 0)
				return w.found
			}
		}
	}
	if len(ignored.places) > 0 {
		return nil // the place of the redacted value is known only by a path
	}
	return differentBody(want, got, firstDifference(want, got))
}

func differentBody(want, got []byte, at int) []traffic.Difference {
	// A little of what stands before the place helps to find it.
	from := max(0, at-maxExcerpt/4)
	return []traffic.Difference{{
		Path: "body", Kind: traffic.ValueDiffers, Recorded: excerpt(want[min(from, len(want)):]),
		Got: excerpt(got[min(from, len(got)):]),
	}}
}

// firstDifference returns the index of the first byte that is not the same; the shorter length if there is none.
func firstDifference(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

func excerpt(b []byte) []byte {
	if len(b) <= maxExcerpt {
		return bytes.Clone(b)
	}
	return append(bytes.Clone(b[:maxExcerpt]), "…"...)
}

// redacted is which places of the response cannot be compared because another key redacted them.
type redacted struct {
	all    bool                // the body as a whole
	places map[string]struct{} // JSON pointers, array indexes as they are or as "*"
}

const (
	bodyLocation = "response.body"
	jsonLocation = "response.json:"
	// Every place within a response's body begins so, also those of forms and texts.
	responseLocation  = "response."
	headerLocation    = "response.header:"
	trailerLocation   = "response.trailer:"
	setCookieLocation = "response.set-cookie:"
)

func (c Comparer) ignored(x *traffic.Exchange) redacted {
	var r redacted
	for i := range x.Redactions {
		place := x.Redactions[i].Location
		if x.Redactions[i].KeyID == c.KeyID && !c.OtherUser || !strings.HasPrefix(place, responseLocation) ||
			strings.HasPrefix(place, headerLocation) || strings.HasPrefix(place, trailerLocation) || strings.HasPrefix(place, setCookieLocation) {
			continue
		}
		path, ok := strings.CutPrefix(place, jsonLocation)
		if path = untilMark(path); !ok || path == "" {
			r.all = true
			continue
		}
		if r.places == nil {
			r.places = make(map[string]struct{})
		}
		r.places[path] = struct{}{}
	}
	return r
}

// untilMark cuts off what a location says of a place within a string, such as "~@12" or "~query:phone#0": what differs then is the
// whole string. The escapes of names (~0, ~1, ~%XX, ~!) are no such marks.
func untilMark(path string) string {
	for i := 0; i+1 < len(path); i++ {
		if path[i] == '~' && !strings.ContainsRune("01%!", rune(path[i+1])) {
			return path[:i]
		}
	}
	return path
}
