//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

// way is a way in, and what a record that came by it has of what was said. Nothing of it is believed: the test sees for
// itself what there is, and fails when it is less than this says, or more.
type way struct {
	name string
	// record has the conversation with a service recorded into the topics of a prefix.
	record func(t *testing.T, prefix, service string) *conversation
	sees   sees
	kind   traffic.SourceKind
	slack  time.Duration // that times may be off; 0: 10 ms
}

// sees is what a way sees of the traffic. The words are those of the README.
type sees struct {
	answers    string // "yes", "decoded" (bodies are, where they had a content coding), "size" (status and size of the body), "no"
	target     string // "yes": the very bytes; "path": without scheme and host
	order      string // of the header fields: "as sent", "sorted"
	letters    string // of their names: "as sent", "lower-case", "canonical"
	bodies     string // of requests
	trailers   string
	client     string // "ip:port", "ip"
	connection string // "order": also the place on it; "yes"; "no"
	clock      string // whose times they are
	kept       int    // bytes of the longest body

	// What is known to be changed on the way to the tap: names of fields, lower-case, with spaces between. One whose value
	// is changed is in both.
	adds, drops             string
	moves                   bool // Content-Length is elsewhere
	answerAdds, answerDrops string
}

// bodyMax is what a tap keeps of a body when nothing else is said.
const bodyMax = 256 << 10

// Adding a way is adding a line here; -update then writes the README's table.
func ways() []way {
	const envoys = "x-envoy-expected-rq-timeout-ms x-envoy-external-address x-envoy-internal x-forwarded-for x-forwarded-proto x-request-id"
	return []way{
		{name: "`tap proxy`", kind: traffic.Proxy, record: throughProxy, sees: sees{
			answers: "yes", target: "yes", order: "as sent", letters: "as sent", bodies: "yes", trailers: "yes", client: "ip:port",
			connection: "order", clock: "tap's", kept: bodyMax,
		}},
		{name: "nginx `mirror` → `tap mirror`", kind: traffic.Mirror, record: throughNginx, sees: sees{
			answers: "no", target: "yes", order: "as sent", letters: "as sent", bodies: "yes", trailers: "no", client: "ip:port",
			connection: "order", clock: "gateway's", kept: bodyMax,
			adds: "content-length x-forwarded-proto x-request-id", drops: "connection transfer-encoding", moves: true,
		}},
		{name: "Envoy shadow, HTTP/2 → `tap mirror`", kind: traffic.Mirror, record: throughEnvoy("mirror", "shadow.yaml"), sees: sees{
			answers: "no", target: "yes", order: "as sent", letters: "lower-case", bodies: "yes", trailers: "no", client: "ip:port",
			connection: "yes", clock: "gateway's", kept: bodyMax,
			adds: envoys, drops: "connection transfer-encoding",
		}},
		{name: "Envoy shadow, HTTP/1.1 → `tap mirror`", kind: traffic.Mirror, record: throughEnvoy("mirror", "shadow.yaml", overHTTP1()...), sees: sees{
			answers: "no", target: "yes", order: "as sent", letters: "lower-case", bodies: "yes", trailers: "no", client: "ip:port",
			connection: "yes", clock: "gateway's", kept: bodyMax,
			adds: "content-length " + envoys, drops: "connection",
		}},
		{name: "Envoy ext_proc → `tap extproc`", kind: traffic.ExtProc, record: throughEnvoy("extproc", "extproc.yaml"), sees: sees{
			answers: "yes", target: "yes", order: "as sent", letters: "lower-case", bodies: "yes", trailers: "no", client: "ip:port",
			connection: "yes", clock: "gateway's", kept: bodyMax,
			adds: "x-envoy-external-address x-forwarded-for x-forwarded-proto x-request-id", drops: "connection transfer-encoding",
			answerDrops: "server", // Envoy's own
		}},
		{name: "Go `middleware/nethttp` → `tap ingest`", kind: traffic.Ingest, record: throughMiddleware, sees: sees{
			answers: "yes", target: "yes", order: "sorted", letters: "canonical", bodies: "yes", trailers: "yes", client: "ip:port",
			connection: "yes", clock: "gateway's", kept: 64 << 10,
			drops: "trailer transfer-encoding", answerDrops: "transfer-encoding",
		}},
		{name: "Spring Cloud Gateway → `tap ingest`", kind: traffic.Ingest, record: throughSpring, sees: sees{
			answers: "yes", target: "yes", order: "as sent", letters: "as sent", bodies: "yes", trailers: "no", client: "ip:port",
			connection: "yes", clock: "gateway's", kept: 64 << 10,
		}},
		{name: "`tap sniff`", kind: traffic.Sniff, record: onTheWire, sees: sees{
			answers: "yes", target: "yes", order: "as sent", letters: "as sent", bodies: "yes", trailers: "yes", client: "ip:port",
			connection: "order", clock: "packets'", kept: bodyMax,
		}},
		{name: "pcap → `tap import`", kind: traffic.Import, record: imported("own.pcap", writePcap), sees: sees{
			answers: "yes", target: "yes", order: "as sent", letters: "as sent", bodies: "yes", trailers: "yes", client: "ip:port",
			connection: "order", clock: "packets'", kept: bodyMax,
		}},
		{name: "GoReplay `.gor` → `tap import`", kind: traffic.Import, record: imported("own.gor", writeGor), sees: sees{
			answers: "yes", target: "yes", order: "as sent", letters: "as sent", bodies: "yes", trailers: "yes", client: "no",
			connection: "no", clock: "file's", kept: bodyMax,
		}},
		{name: "HAR → `tap import`", kind: traffic.Import, record: imported("own.har", writeHAR), sees: sees{
			answers: "decoded", target: "yes", order: "as sent", letters: "as sent", bodies: "yes", trailers: "no", client: "no",
			connection: "no", clock: "file's", kept: bodyMax,
			adds: "x-latin", drops: "x-latin", // bytes that are not UTF-8
			answerDrops: "content-encoding content-length", // of what was compressed
		}},
		{name: "access log → `tap import`", kind: traffic.Import, record: fromLog, slack: 2 * time.Second, sees: sees{
			answers: "size", target: "path", order: "as sent", letters: "as sent", bodies: "no", trailers: "no", client: "ip",
			connection: "no", clock: "file's",
			drops: "accept accept-encoding accept-language connection content-length content-type cookie host origin trailer " +
				"transfer-encoding x-after x-dup x-latin x-other",
			answerDrops: "connection content-encoding content-length content-type date server trailer transfer-encoding x-answer",
		}},
	}
}

func TestEveryWayInGivesTheSameExchanges(t *testing.T) {
	startKafka(t)
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			prefix, names := newPrefix()
			c := w.record(t, prefix, serve(t, answering()))
			all := exchanges(t, names)
			o := &observer{way: w, c: c, found: make(map[feature]map[string]bool)}
			for i, turn := range c.turns {
				require.Len(t, all[turn.target], 1, turn.target)
				o.look(t, i, all[turn.target][0])
			}
			require.Equal(t, w.sees, o.seen(), "what the record has is not what its line in ways() says:\n%s", strings.Join(o.notes, "\n"))
		})
	}
}

// The README's table stands between two comments.
const tableFrom, tableTo = "<!-- table of e2e/sources_test.go -->\n", "<!-- end of table -->\n"

// table is what the README says of the ways.
func table() string {
	var b strings.Builder
	b.WriteString("| way in | answers | target | headers | bodies | trailers | client | connection | time |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, w := range ways() {
		s := w.sees
		headers := s.order
		switch {
		case s.letters == s.order:
		case s.order == "as sent":
			headers = s.letters
		default:
			headers += ", " + s.letters
		}
		if s.bodies == "no" {
			headers = "what is logged"
		}
		bodies, answers := s.bodies, s.answers
		if bodies == "yes" && s.kept < bodyMax {
			bodies = fmt.Sprintf("%d KiB of each", s.kept>>10)
		}
		if answers == "decoded" {
			answers = "yes, decoded"
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join([]string{
			w.name, answers, s.target, headers, bodies, s.trailers, s.client, s.connection, s.clock,
		}, " | "))
	}
	return b.String()
}

func TestReadmeTellsWhatEachWaySees(t *testing.T) {
	path := filepath.Join(shared.root, "README.md")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), tableFrom)
	require.True(t, ok, "README.md has no line %q", tableFrom)
	stands, after, ok := strings.Cut(rest, tableTo)
	require.True(t, ok, "README.md has no line %q", tableTo)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(before+tableFrom+table()+tableTo+after), 0o644))
		return
	}
	require.Equal(t, table(), stands, "to write it: go test -tags e2e -run %s ./e2e/ -update", t.Name())
}
