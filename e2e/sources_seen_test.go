//go:build e2e

package e2e_test

import (
	"fmt"
	"maps"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

// observer finds out what the records of a conversation have.
type observer struct {
	way   way
	c     *conversation
	found map[feature]map[string]bool // what was found
	kept  int
	moves bool // Content-Length stands elsewhere
	// names of fields
	adds, drops, answerAdds, answerDrops map[string]bool
	connections                          map[string]bool
	notes                                []string
}

// feature is one of those that a way sees or not.
type feature string

const (
	answersSeen    feature = "answers"
	targetSeen     feature = "target"
	orderSeen      feature = "order"
	lettersSeen    feature = "letters"
	bodiesSeen     feature = "bodies"
	trailersSeen   feature = "trailers"
	clientSeen     feature = "client"
	connectionSeen feature = "connection"
	clockSeen      feature = "clock"
)

func (o *observer) find(f feature, what string, x *traffic.Exchange) {
	if o.found[f] == nil {
		o.found[f] = make(map[string]bool)
	}
	if !o.found[f][what] {
		o.notes = append(o.notes, fmt.Sprintf("%s: %s %s", x.Request.Target, f, what))
	}
	o.found[f][what] = true
}

// seen sums up. Where records differ it is all that was found, and no line says that.
func (o *observer) seen() sees {
	of := func(f feature) string { return strings.Join(slices.Sorted(maps.Keys(o.found[f])), " and ") }
	names := func(set map[string]bool) string { return strings.Join(slices.Sorted(maps.Keys(set)), " ") }
	// Of these a record may show nothing: fields that were in that order, or in those letters, anyway.
	worst := func(f feature) string {
		if len(o.found[f]) > 1 {
			delete(o.found[f], "as sent")
		}
		return of(f)
	}
	if o.found[answersSeen]["decoded"] { // the others had no coding
		delete(o.found[answersSeen], "yes")
	}
	return sees{
		answers: of(answersSeen), target: of(targetSeen), order: worst(orderSeen), letters: worst(lettersSeen), bodies: of(bodiesSeen), trailers: of(trailersSeen),
		client: of(clientSeen), connection: of(connectionSeen), clock: of(clockSeen), kept: o.kept, moves: o.moves,
		adds: names(o.adds), drops: names(o.drops), answerAdds: names(o.answerAdds), answerDrops: names(o.answerDrops),
	}
}

// look compares a record with what was said in that turn.
func (o *observer) look(t *testing.T, i int, x *traffic.Exchange) {
	turn, q := o.c.turns[i], &x.Request
	require.Equal(t, o.way.kind, x.Source.Kind)
	require.Equal(t, turn.method, string(q.Method))
	require.Equal(t, "HTTP/1.1", string(q.Protocol), turn.target)
	switch place := fmt.Sprintf("%s://%s", q.Scheme, q.Authority); place {
	case "http://" + saidTo:
		o.find(targetSeen, "yes", x)
	case "://":
		o.find(targetSeen, "path", x)
	default:
		o.find(targetSeen, place, x)
	}
	o.fields(turn.lines(), x)
	cut := o.body(turn, x)
	o.trailers(t, turn.said.trailer, q.Trailers, x)
	cut |= o.answer(t, turn, x)
	if o.way.sees.answers == "no" {
		cut |= traffic.RequestOnly
	}
	require.Equal(t, cut.String(), x.Flags.String(), turn.target)
	o.where(t, i, x)
	slack := max(o.way.slack, 10*time.Millisecond)
	require.WithinRange(t, x.CaptureTime, turn.from.Add(-slack), turn.to.Add(slack), turn.target)
	o.find(clockSeen, map[traffic.TimeSource]string{
		traffic.OwnClock: "tap's", traffic.GatewayTime: "gateway's", traffic.PacketTime: "packets'", traffic.LogTime: "file's",
	}[x.TimeSource], x)
}

func (o *observer) trailers(t *testing.T, sent string, got []traffic.Field, x *traffic.Exchange) {
	t.Helper()
	switch {
	case sent == "":
		require.Empty(t, got, string(x.Request.Target))
	case len(got) == 0:
		o.find(trailersSeen, "no", x)
	default:
		require.Equal(t, sent, strings.Join(linesOf(got), ","))
		o.find(trailersSeen, "yes", x)
	}
}

// body returns the flag that a body which is not there, or not all of it, must have.
func (o *observer) body(turn turn, x *traffic.Exchange) traffic.Flags {
	q := &x.Request
	o.kept = max(o.kept, len(q.Body))
	switch {
	case string(q.Body) == turn.body[:min(len(turn.body), o.way.sees.kept)] && int(q.BodySize) == len(turn.body):
		if turn.body != "" {
			o.find(bodiesSeen, "yes", x)
		}
		if len(q.Body) < len(turn.body) {
			return traffic.TruncatedRequest
		}
		if o.way.sees.bodies == "no" && (turn.method == "POST" || turn.method == "PUT") {
			return traffic.TruncatedRequest // there might have been one
		}
		return 0
	case len(q.Body) == 0 && q.BodySize == 0:
		o.find(bodiesSeen, "no", x)
		if turn.method == "DELETE" {
			return 0 // a log does not tell that it had one, and few have
		}
		return traffic.TruncatedRequest
	}
	o.find(bodiesSeen, fmt.Sprintf("%d bytes, size %d", len(q.Body), q.BodySize), x)
	return 0
}

// answer returns the flag that an answer which is not all there must have.
func (o *observer) answer(t *testing.T, turn turn, x *traffic.Exchange) traffic.Flags {
	p := x.Response
	if p == nil {
		o.find(answersSeen, "no", x)
		return 0
	}
	require.Equal(t, turn.status, p.Status, turn.target)
	require.LessOrEqual(t, p.TTFB, p.Duration)
	o.both(turn.answerLines(), linesOf(p.Headers), &o.answerAdds, &o.answerDrops)
	o.trailers(t, turn.trailer, p.Trailers, x)
	body := turn.answer
	switch {
	case turn.target == "/zip" && string(p.Body) == unzipped(t, body) && int(p.BodySize) == len(p.Body):
		o.find(answersSeen, "decoded", x)
	case string(p.Body) == body && int(p.BodySize) == len(body):
		if body != "" {
			require.Positive(t, p.Duration, turn.target)
			require.Contains(t, []string{"", "HTTP/1.1"}, string(p.Protocol), "not every way tells it")
			o.find(answersSeen, "yes", x)
		}
	case len(p.Body) == 0 && (int(p.BodySize) == len(body) || int(p.BodySize) == turn.sizeOnWire()):
		o.find(answersSeen, "size", x)
		return traffic.TruncatedResponse
	default:
		o.find(answersSeen, fmt.Sprintf("%d bytes, size %d", len(p.Body), p.BodySize), x)
	}
	return 0
}

// where looks at the client and its connection.
func (o *observer) where(t *testing.T, i int, x *traffic.Exchange) {
	c := x.Connection
	if len(c.Server) > 0 {
		_, err := netip.ParseAddrPort(string(c.Server))
		require.NoError(t, err, "the server's address is written as the client's")
	}
	ip, _, _ := strings.Cut(o.c.client, ":")
	o.find(clientSeen, map[string]string{o.c.client: "ip:port", ip: "ip", "": "no"}[string(c.Client)], x)
	if o.connections == nil {
		o.connections = make(map[string]bool)
	}
	o.connections[string(c.ID)] = true
	switch {
	case len(o.connections) > 1:
		o.find(connectionSeen, "several", x)
	case len(c.ID) == 0:
		o.find(connectionSeen, "no", x)
	case int(c.Sequence) == i+1:
		o.find(connectionSeen, "order", x)
	case c.Sequence == 0:
		o.find(connectionSeen, "yes", x)
	default:
		o.find(connectionSeen, fmt.Sprint("place ", c.Sequence), x)
	}
}

func linesOf(fields []traffic.Field) []string {
	var lines []string
	for _, f := range fields {
		lines = append(lines, string(f.Name)+": "+string(f.Value))
	}
	return lines
}

// fields compares the header with the one that was sent.
func (o *observer) fields(sent []string, x *traffic.Exchange) {
	sent, got := o.both(sent, linesOf(x.Request.Headers), &o.adds, &o.drops)
	plain := func(lines []string) []string {
		var all []string
		for _, line := range lines {
			all = append(all, key(line))
		}
		return all
	}
	byName := slices.Clone(plain(sent))
	slices.SortStableFunc(byName, func(a, b string) int { return strings.Compare(sortsAs(a), sortsAs(b)) })
	switch {
	case slices.Equal(plain(sent), plain(got)):
		o.find(orderSeen, "as sent", x)
	case slices.Equal(byName, plain(got)):
		o.find(orderSeen, "sorted", x)
	case slices.Equal(withoutLength(plain(sent)), withoutLength(plain(got))):
		o.find(orderSeen, "as sent", x)
		o.moves = true
	default:
		o.find(orderSeen, fmt.Sprintf("%q", got), x)
	}
	names := func(lines []string, form func(string) string) []string {
		var all []string
		for _, line := range lines {
			name, _, _ := strings.Cut(line, ": ")
			all = append(all, form(name))
		}
		slices.Sort(all)
		return all
	}
	as := func(s string) string { return s }
	have := names(got, as)
	switch {
	case slices.Equal(names(sent, as), have):
		o.find(lettersSeen, "as sent", x)
	case slices.Equal(names(sent, strings.ToLower), have):
		o.find(lettersSeen, "lower-case", x)
	case slices.Equal(names(sent, textproto.CanonicalMIMEHeaderKey), have):
		o.find(lettersSeen, "canonical", x)
	default:
		o.find(lettersSeen, fmt.Sprintf("%q", have), x)
	}
}

// withoutLength leaves Content-Length out.
func withoutLength(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return strings.HasPrefix(line, "content-length:") })
}

// sortsAs puts Host first.
func sortsAs(line string) string {
	name, _, _ := strings.Cut(line, ": ")
	if name == "host" {
		return ""
	}
	return name
}

// key is a field with its name in small letters.
func key(line string) string {
	name, value, _ := strings.Cut(line, ": ")
	return strings.ToLower(name) + ": " + value
}

// both returns the fields that are in both lists, as each has them, and notes the names of the others.
func (o *observer) both(sent, got []string, adds, drops *map[string]bool) (ofSent, ofGot []string) {
	left := make(map[string]int)
	for _, line := range got {
		left[key(line)]++
	}
	common := make(map[string]int)
	for _, line := range sent {
		if left[key(line)] > 0 {
			left[key(line)]--
			common[key(line)]++
			ofSent = append(ofSent, line)
		} else {
			o.other(drops, line)
		}
	}
	for _, line := range got {
		if common[key(line)] > 0 {
			common[key(line)]--
			ofGot = append(ofGot, line)
		} else {
			o.other(adds, line)
		}
	}
	return ofSent, ofGot
}

func (o *observer) other(names *map[string]bool, line string) {
	if *names == nil {
		*names = make(map[string]bool)
	}
	name, _, _ := strings.Cut(key(line), ": ")
	if !(*names)[name] {
		o.notes = append(o.notes, "not on both sides: "+line)
	}
	(*names)[name] = true
}
