package importer

import (
	"bytes"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
)

// captureTruth is what other programs found in a capture.
type captureTruth struct {
	view
	Prefer  string        `json:"prefer_view"`
	Without *view         `json:"without_ooo_reassembly"`
	Zeek    *zeekBaseline `json:"zeek_baseline"`
	Checks  []struct {
		Count int
		Match map[string]any
	} `json:"suricata_checks"`
}

type view struct {
	Requests []struct {
		Stream                 int `json:"tcp_stream"`
		Frame                  int `json:"frame"`
		Src, Sport, Dst, Dport string
	} `json:"http1_requests"`
	Pairs []struct {
		Stream int    `json:"tcp_stream"`
		Method string `json:"method"`
		URI    string `json:"uri"`
		Frame  int    `json:"req_frame"`
		Status *int   `json:"status"`
	} `json:"http1_fifo_pairs"`
	HTTP2 []struct {
		Request *struct{ From, Method, Path string }
		Answer  *struct{ From, Status string } `json:"response"`
	} `json:"http2"` // by connection, in the order in which streams began
}

type zeekBaseline struct {
	Prefer string
	Rows   []struct {
		Method, URI string
		Status      string `json:"status_code"`
	}
}

// seen is a request with the status of its answer; 0: none.
type seen struct {
	method, uri string
	status      int
	gap         bool
	at          time.Time
}

// score counts how well a file was read.
type score struct {
	file                    string
	wanted, found, right    int // requests
	statuses, rightStatuses int
	notes                   []string
}

func (s *score) add(o score) {
	s.wanted, s.found, s.right = s.wanted+o.wanted, s.found+o.found, s.right+o.right
	s.statuses, s.rightStatuses = s.statuses+o.statuses, s.rightStatuses+o.rightStatuses
}

func (s *score) wrong() int         { return s.wanted + s.found - 2*s.right + s.statuses - s.rightStatuses }
func (s *score) recall() float64    { return ratio(s.right, s.wanted) }
func (s *score) precision() float64 { return ratio(s.right, s.found) }
func (s *score) status() float64    { return ratio(s.rightStatuses, s.statuses) }

func ratio(a, b int) float64 {
	if b == 0 {
		return 1
	}
	return float64(a) / float64(b)
}

func (s *score) String() string {
	return fmt.Sprintf("requests %d of %d (recall %.4f), %d more (precision %.4f), statuses %d of %d (%.4f)", s.right, s.wanted,
		s.recall(), s.found-s.right, s.precision(), s.rightStatuses, s.statuses, s.status())
}

// byStream groups what the truth says by connection, in order. Connections are found by their ports, over HTTP/2 by the
// client's: the truth has the outer addresses of tunnels.
func (v *view) byStream() map[string][]seen {
	ends := map[int]string{}
	for _, r := range v.Requests {
		ends[r.Stream] = r.Sport + " " + r.Dport
	}
	streams := map[string][]seen{}
	for _, p := range v.Pairs {
		if p.Method == "" { // an answer alone
			continue
		}
		s := seen{method: p.Method, uri: p.URI}
		if p.Status != nil {
			s.status = *p.Status
		}
		streams[ends[p.Stream]] = append(streams[ends[p.Stream]], s)
	}
	for _, h := range v.HTTP2 {
		if h.Request == nil {
			continue
		}
		s := seen{method: h.Request.Method, uri: h.Request.Path}
		if h.Answer != nil {
			s.status, _ = strconv.Atoi(h.Answer.Status)
		}
		client := framed + port([]byte(h.Request.From))
		streams[client] = append(streams[client], s)
	}
	return streams
}

// framed begins the keys of connections that speak HTTP/2.
const framed = "HTTP/2"

func ours(xs []*traffic.Exchange) map[string][]seen {
	streams := map[string][]seen{}
	for _, x := range xs {
		s := seen{method: string(x.Request.Method), uri: string(x.Request.Target), gap: x.Flags.Has(traffic.Gap), at: x.CaptureTime}
		if x.Response != nil {
			s.status = x.Response.Status
		}
		key := port(x.Connection.Client) + " " + port(x.Connection.Server)
		if bytes.HasPrefix(x.Request.Protocol, []byte(framed)) {
			key = framed + port(x.Connection.Client)
		}
		streams[key] = append(streams[key], s)
	}
	return streams
}

// sortedByTime puts all connections into one sequence.
func sortedByTime(streams map[string][]seen) []seen {
	var all []seen
	for _, s := range streams {
		all = append(all, s...)
	}
	slices.SortFunc(all, func(a, b seen) int { return a.at.Compare(b.at) })
	return all
}

func port(address []byte) string { return string(address[bytes.LastIndexByte(address, ':')+1:]) }

// match scores one connection: requests by the longest common sequence of method and target, statuses on what matched,
// with gaps up to the first.
func match(want, got []seen, gaps bool, s *score) {
	same := func(i, j int) bool { return want[i].method == got[j].method && want[i].uri == got[j].uri }
	length := make([][]int, len(want)+1)
	for i := range length {
		length[i] = make([]int, len(got)+1)
	}
	for i := len(want) - 1; i >= 0; i-- {
		for j := len(got) - 1; j >= 0; j-- {
			length[i][j] = max(length[i+1][j], length[i][j+1])
			if same(i, j) {
				length[i][j] = max(length[i][j], 1+length[i+1][j+1])
			}
		}
	}
	s.wanted, s.found, s.right = s.wanted+len(want), s.found+len(got), s.right+length[0][0]
	for i, j := 0, 0; i < len(want) || j < len(got); {
		switch {
		case i < len(want) && j < len(got) && same(i, j) && length[i][j] == 1+length[i+1][j+1]:
			if gaps && got[j].gap {
				return
			}
			if want[i].status != 0 {
				s.statuses++
				if want[i].status == got[j].status {
					s.rightStatuses++
				} else {
					s.notes = append(s.notes, fmt.Sprintf("%s %.60s: status %d, want %d", want[i].method, want[i].uri, got[j].status, want[i].status))
				}
			}
			i, j = i+1, j+1
		case j == len(got) || i < len(want) && length[i+1][j] >= length[i][j+1]:
			s.notes = append(s.notes, fmt.Sprintf("missing %s %.60s %d", want[i].method, want[i].uri, want[i].status))
			i++
		default:
			s.notes = append(s.notes, fmt.Sprintf("invented %s %.60s", got[j].method, got[j].uri))
			j++
		}
	}
}

// score follows what comes with the captures: the view that is preferred; either of tshark's and Zeek's where both are
// given; pairs up to the gap in files with gaps; requests alone where answers are malformed on purpose.
func (t *captureTruth) score(name string, tags []string, xs []*traffic.Exchange) score {
	v := &t.view
	if t.Prefer == "without_ooo_reassembly" {
		v = t.Without
	}
	gaps := slices.Contains(tags, "gap")
	best := scoreOf(name, v.byStream(), ours(xs), gaps)
	if t.Zeek != nil && t.Zeek.Prefer == "either" && len(t.Zeek.Rows) > 0 { // without connections
		var rows []seen
		for _, r := range t.Zeek.Rows {
			if r.Method == "-" {
				continue
			}
			status, _ := strconv.Atoi(r.Status)
			rows = append(rows, seen{method: r.Method, uri: r.URI, status: status})
		}
		if other := scoreOf(name, map[string][]seen{"": rows}, map[string][]seen{"": sortedByTime(ours(xs))}, gaps); other.wrong() < best.wrong() {
			best = other
		}
	}
	if strings.Contains(name, "http-evader") {
		best.statuses, best.rightStatuses = 0, 0
	}
	return best
}

// counted is how many requests the source project's own answer has; 0: it does not say.
func (t *captureTruth) counted() int {
	for _, c := range t.Checks {
		if len(c.Match) == 1 && c.Match["event_type"] == "http" {
			return c.Count
		}
	}
	return 0
}

func scoreOf(name string, want, got map[string][]seen, gaps bool) score {
	s := score{file: name}
	if _, unknown := want[" "]; unknown { // SCTP: the truth has no ports
		want, got = map[string][]seen{"": want[" "]}, map[string][]seen{"": sortedByTime(got)}
	}
	keys := map[string]bool{}
	for k := range want {
		keys[k] = true
	}
	for k := range got {
		keys[k] = true
	}
	for k := range keys {
		match(want[k], got[k], gaps, &s)
	}
	return s
}

func TestCapturesOfOtherProjectsAreReadAsTheirTruthSays(t *testing.T) {
	folder := corpus(t, "pcap")
	var total, projects score // projects: where the capture's own project counts more requests than tshark, it is believed
	var all []score
	tags := map[string]*score{}
	tagsOf := readIndex(t, folder)
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(filepath.Ext(path), "pcap") {
			return err
		}
		name, _ := filepath.Rel(folder, path)
		var truth captureTruth
		readTruth(t, path, &truth)
		xs, _, err := readAll(t, path, Options{BodyMax: 64 << 20})
		if len(xs) > 0 {
			require.NoError(t, err, name)
		} else if err != nil {
			require.Equal(t, fault.Failure, fault.Code(err), name)
		}
		s := truth.score(name, tagsOf[name], xs)
		if slices.Contains(tagsOf[name], "no-http-by-tshark") {
			require.Len(t, xs, truth.counted(), "%s: requests were invented", name)
		}
		all = append(all, s)
		total.add(s)
		if s.wanted < s.found && s.found == truth.counted() {
			s.wanted, s.right = s.found, s.found
		}
		projects.add(s)
		for _, tag := range tagsOf[name] {
			if tags[tag] == nil {
				tags[tag] = &score{file: tag}
			}
			tags[tag].add(s)
		}
		return nil
	})
	require.NoError(t, err)
	for _, s := range all {
		if len(s.notes) > 0 || s.right < s.found {
			t.Logf("%s: %v\n\t%s", s.file, &s, strings.Join(s.notes, "\n\t"))
		}
	}
	names := make([]string, 0, len(tags))
	for tag := range tags {
		names = append(names, tag)
	}
	slices.Sort(names)
	for _, tag := range names {
		t.Logf("%-18s %v", tag, tags[tag])
	}
	t.Logf("%d files, with the projects' own counts: %v", len(all), &projects)
	t.Logf("%d files: %v", len(all), &total)
	require.GreaterOrEqual(t, total.recall(), 0.99)
	require.GreaterOrEqual(t, total.precision(), 0.99)
	require.GreaterOrEqual(t, total.status(), 0.98)
}

// readIndex returns the tags of every file.
func readIndex(t *testing.T, folder string) map[string][]string {
	t.Helper()
	tags := map[string][]string{}
	for i, line := range strings.Split(readText(t, filepath.Join(folder, "INDEX.tsv")), "\n") {
		columns := strings.Split(strings.TrimRight(line, "\r"), "\t")
		if i == 0 || len(columns) < 10 {
			continue
		}
		for tag := range strings.SplitSeq(columns[9], ",") {
			if name, _, ok := strings.Cut(tag, ":"); ok {
				tag = name
			}
			tags[columns[0]] = append(tags[columns[0]], tag)
		}
	}
	return tags
}
