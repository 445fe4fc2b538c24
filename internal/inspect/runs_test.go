package inspect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

func runNames() topic.Names { return topic.NamesOf("reprise") }

// runs makes the topics that replays write.
func (r *rig) runs() {
	r.t.Helper()
	for _, name := range []string{runNames().Control, runNames().Results} {
		_, err := kadm.NewClient(r.client).CreateTopics(r.context(), 1, 1, nil, name)
		require.NoError(r.t, err)
	}
	r.reader.now = func() time.Time { return noon.Add(time.Minute) }
}

// says stores a control record of a writer, written so long after noon.
func (r *rig) says(after time.Duration, writer string, build func(control.Author) control.Record) {
	r.t.Helper()
	rec := build(control.Author{Writer: writer, Time: noon.Add(after)})
	require.NoError(r.t, r.client.ProduceSync(r.context(),
		&kgo.Record{Topic: runNames().Control, Key: []byte(rec.Key), Value: rec.Value, Timestamp: noon.Add(after)}).FirstErr())
}

func (r *rig) spec(after time.Duration, run string, generation uint32) {
	r.says(after, run+fmt.Sprint(generation), func(a control.Author) control.Record {
		return a.Spec(&reprisev1.RunSpec{
			Run: run, Generation: generation, Target: "http://preprod:8080", Speed: 2, Partitions: []*reprisev1.PartitionWindow{{}, {Partition: 1}},
		})
	})
}

func (r *rig) replica(after time.Duration, run string, generation uint32, writer, state string, sent uint64, final bool) {
	r.says(after, writer, func(a control.Author) control.Record {
		return a.Replica(&reprisev1.ReplicaReport{Run: run, Generation: generation, State: state, Sent: sent, Final: final})
	})
}

func (r *rig) ends(after time.Duration, run string, generation uint32, state string, rep *report.Report) {
	r.says(after, "end", func(a control.Author) control.Record {
		return a.End(&reprisev1.RunEnd{Run: run, Generation: generation, State: state, Report: rep.JSON()})
	})
}

// outcome stores what became of an exchange, twice: at least once is what is promised.
func (r *rig) outcome(after time.Duration, o traffic.Outcome) {
	r.t.Helper()
	o.Attempt, o.FireTime, o.DueTime, o.CaptureTime = 1, noon.Add(after), noon.Add(after), noon
	key := fmt.Sprintf("%s/%d.%d/%s/%d", o.Run, o.Loop, o.Clone, o.ExchangeID, o.Attempt)
	for range 2 {
		require.NoError(r.t, r.client.ProduceSync(r.context(), &kgo.Record{
			Topic: runNames().Results, Key: []byte(key), Value: traffic.AppendOutcome(nil, &o), Timestamp: noon.Add(after),
		}).FirstErr())
	}
}

func changed(run string, seq uint64) traffic.Outcome {
	return traffic.Outcome{
		Run: run, ExchangeID: traffic.MakeID([16]byte{0x9f}, seq), Result: traffic.Fired, Status: 500, RecordedStatus: 200, Verdict: traffic.StatusChanged,
		Method: []byte("GET"), Route: []byte("/items/{id}"),
		Differences: []traffic.Difference{{Path: "status", Kind: traffic.ValueDiffers, Recorded: []byte("200"), Got: []byte("500")}},
	}
}

func TestRunsTellsHowEachStands(t *testing.T) {
	r := newRig(t, 1)
	r.runs()
	r.spec(0, "done", 1)
	r.replica(time.Second, "done", 1, "a", "finished", 5, true)
	r.replica(time.Second, "done", 1, "b", "finished", 6, true)
	r.ends(2*time.Second, "done", 1, "finished", &report.Report{Run: "done"})
	r.spec(3*time.Second, "killed", 1)
	r.replica(4*time.Second, "killed", 1, "a", "running", 7, false)
	r.spec(5*time.Second, "resumed", 1)
	r.ends(6*time.Second, "resumed", 1, "stopped", &report.Report{Run: "resumed"})
	r.replica(59*time.Second, "resumed", 1, "a", "running", 8, false)
	r.spec(7*time.Second, "again", 1)
	r.ends(8*time.Second, "again", 1, "finished", &report.Report{Run: "again"})
	r.spec(9*time.Second, "again", 2)
	r.replica(58*time.Second, "again", 2, "a", control.Joining, 0, false)
	infos, err := r.reader.Runs(r.context(), runNames().Control)
	require.NoError(t, err)
	told := map[string]string{}
	var order []string
	for _, i := range infos {
		order = append(order, i.Run)
		told[i.Run] = fmt.Sprint(i.State, i.Generation, i.Sent, i.Replicas)
	}
	require.Equal(t, []string{"again", "resumed", "killed", "done"}, order, "the newest first")
	require.Equal(t, map[string]string{"done": "finished1 11 0", "killed": "unfinished1 7 0", "resumed": "running1 8 1", "again": "waiting2 0 0"}, told)
	require.Nil(t, infos[1].Ended, "it goes on")
	var b bytes.Buffer
	require.NoError(t, WriteRuns(&b, infos))
	require.Contains(t, b.String(), "again (2)  waiting     2026-11-22 12:00:09")
}

func TestReportOfOneProcessIsItsOwn(t *testing.T) {
	r := newRig(t, 1)
	r.runs()
	r.spec(0, "b", 1)
	r.replica(time.Second, "b", 1, "a", "finished", 5, true)
	r.ends(2*time.Second, "b", 1, "finished", &report.Report{Run: "b", Generation: 1, State: "finished", Fired: 5})
	rep, err := r.reader.Report(r.context(), runNames(), RunQuery{Run: "b"})
	require.NoError(t, err)
	require.EqualValues(t, 5, rep.Fired)
	require.Empty(t, r.notes)

	_, err = r.reader.Report(r.context(), runNames(), RunQuery{Run: "c"})
	require.ErrorContains(t, err, "there are b")
	_, err = r.reader.Report(r.context(), runNames(), RunQuery{Run: "b", Generation: 2})
	require.ErrorContains(t, err, "no generation 2")
	_, err = r.reader.Report(r.context(), runNames(), RunQuery{Run: "a/b"})
	require.Equal(t, fault.Usage, fault.Code(err))
}

func TestReportOfSeveralIsAddedUp(t *testing.T) {
	r := newRig(t, 1)
	r.runs()
	r.spec(0, "b", 1)
	for i := range uint64(3) {
		r.outcome(time.Second, changed("b", i+1))
	}
	r.outcome(time.Second, changed("bc", 9))
	r.replica(time.Second, "b", 1, "a", "finished", 2, true)
	r.replica(time.Second, "b", 1, "z", "finished", 2, true)
	r.ends(2*time.Second, "b", 1, "finished", &report.Report{Run: "b", Generation: 1, State: "finished", Fired: 1, LimitedBy: "target"})
	rep, err := r.reader.Report(r.context(), runNames(), RunQuery{Run: "b"})
	require.NoError(t, err)
	require.EqualValues(t, 3, rep.Fired, "of both, each once")
	require.EqualValues(t, 3, rep.Answers.StatusChanged)
	require.Equal(t, "finished", rep.State)
	require.Equal(t, "target", rep.LimitedBy)
	require.Contains(t, strings.Join(r.notes, "\n"), "the replicas sent 4, 3 of them with an outcome here")

	// A second start has the same keys, and what it stored later is its own.
	r.spec(20*time.Second, "b", 2)
	r.outcome(21*time.Second, changed("b", 1))
	rep, err = r.reader.Report(r.context(), runNames(), RunQuery{Run: "b"})
	require.NoError(t, err)
	require.EqualValues(t, 1, rep.Fired)
	require.Equal(t, Unfinished, rep.State)
	rep, err = r.reader.Report(r.context(), runNames(), RunQuery{Run: "b", Generation: 1})
	require.NoError(t, err)
	require.EqualValues(t, 3, rep.Fired)

	// What names its start is told apart by that, whenever it was stored.
	second, first := changed("b", 2), changed("b", 4)
	second.Generation, first.Generation = 2, 1
	r.outcome(20*time.Second, second)
	r.outcome(22*time.Second, first)
	rep, err = r.reader.Report(r.context(), runNames(), RunQuery{Run: "b"})
	require.NoError(t, err)
	require.EqualValues(t, 2, rep.Fired, "the last start's")
	rep, err = r.reader.Report(r.context(), runNames(), RunQuery{Run: "b", Generation: 1})
	require.NoError(t, err)
	require.EqualValues(t, 4, rep.Fired, "the first start's, of which one came late")
}

func TestWhatTheOldBuildSaidIsAddedUp(t *testing.T) {
	r := newRig(t, 1)
	r.runs()
	r.says(0, "b1", func(a control.Author) control.Record {
		return a.Spec(&reprisev1.RunSpec{
			Run: "b", Generation: 1, Target: "http://new:8080", Partitions: []*reprisev1.PartitionWindow{{}},
			Options: "from=\"x\"\nbaseline-target=\"http://old:8080\"\nnoise-target=\"http://old-2:8080\"\n",
		})
	})
	for i := range uint64(30) {
		o := changed("b", i+1)
		o.Verdict, o.Status = traffic.BodyChanged, 200
		o.Differences = []traffic.Difference{{Path: "/price", Kind: traffic.ValueDiffers, Recorded: []byte("1"), Got: []byte("2")}}
		o.Baseline = &traffic.Baseline{
			Status: 201, Twice: true, Duration: time.Millisecond,
			Own: []traffic.Difference{{Path: "/at", Kind: traffic.ValueDiffers}}, Noise: []traffic.Difference{{Path: "/at", Kind: traffic.ValueDiffers}},
		}
		r.outcome(time.Second, o)
	}
	late := changed("b", 99)
	late.Verdict, late.Differences, late.Baseline = traffic.NoBaseline, nil, &traffic.Baseline{Reason: "timeout"}
	r.outcome(time.Second, late)
	rep, err := r.reader.Report(r.context(), runNames(), RunQuery{Run: "b"})
	require.NoError(t, err)
	require.Equal(t, "old:8080 old-2:8080", rep.Baseline.Target+" "+rep.Baseline.Noise)
	require.EqualValues(t, 30, rep.Baseline.Compared)
	require.Equal(t, map[string]int64{"timeout": 1}, rep.Baseline.Uncompared)
	require.Len(t, rep.Baseline.Places, 1)
	require.EqualValues(t, 30, rep.Baseline.Places[0].Left)
	require.Len(t, rep.Differences, 1)
	require.Equal(t, "more", rep.Differences[0].Chance)

	var b bytes.Buffer
	p := NewDiffPrinter(&b, Table)
	err = r.reader.Diff(r.context(), runNames(), DiffQuery{RunQuery{Run: "b"}, 1}, p.Print)
	require.Equal(t, fault.Finding, fault.Code(err))
	require.NoError(t, p.Close())
	require.Contains(t, b.String(), "201 → 200", "what the old build answered")
}

func TestWhatDiffersInARunOfTheOldBuildIsNoise(t *testing.T) {
	r := newRig(t, 1)
	r.runs()
	r.spec(0, "old", 1)
	r.spec(0, "new", 1)
	outcome := func(run string, n uint64, paths ...string) {
		o := changed(run, n)
		o.Status, o.RecordedStatus, o.Verdict, o.Differences = 200, 200, traffic.BodyChanged, nil
		for _, p := range paths {
			o.Differences = append(o.Differences, traffic.Difference{Path: p, Kind: traffic.ValueDiffers, Recorded: []byte("1"), Got: []byte("2")})
		}
		r.outcome(time.Second, o)
	}
	for i := range uint64(40) {
		outcome("old", i+1, "/at")
		if i < 2 {
			outcome("new", i+1, "/at", "/price")
		} else {
			outcome("new", i+1, "/at")
		}
	}
	rep, err := r.reader.Report(r.context(), runNames(), RunQuery{Run: "new", Noise: "old"})
	require.NoError(t, err)
	require.Equal(t, "old", rep.NoiseRun)
	told := map[string]string{}
	for _, d := range rep.Differences {
		told[d.Path] = d.Chance
	}
	require.Equal(t, map[string]string{"/at": "chance", "/price": "few"}, told)

	r.notes = nil
	var b bytes.Buffer
	p := NewDiffPrinter(&b, NDJSON)
	err = r.reader.Diff(r.context(), runNames(), DiffQuery{RunQuery{Run: "new", Noise: "old"}, 0}, p.Print)
	require.Equal(t, fault.Finding, fault.Code(err))
	require.NoError(t, p.Close())
	require.Equal(t, 2, strings.Count(b.String(), "\n"))
	require.NotContains(t, b.String(), `"/at"`)
	require.Contains(t, strings.Join(r.notes, "\n"), "38 differ only where answers of run old do")

	_, err = r.reader.Report(r.context(), runNames(), RunQuery{Run: "new", Noise: "new"})
	require.Equal(t, fault.Usage, fault.Code(err))
	_, err = r.reader.Report(r.context(), runNames(), RunQuery{Run: "new", Noise: "none"})
	require.ErrorContains(t, err, "none")
}

func TestDiffListsWhatIsNotAsRecorded(t *testing.T) {
	r := newRig(t, 1)
	r.runs()
	r.spec(0, "b", 1)
	same := changed("b", 1)
	same.Verdict, same.Differences, same.Status = traffic.Same, nil, 200
	failed := traffic.Outcome{Run: "b", ExchangeID: traffic.MakeID([16]byte{0x9f}, 2), Result: traffic.Failed, Reason: "connect", Method: []byte("GET"), Route: []byte("/")}
	r.outcome(time.Second, same)
	diff := func(form Form, limit int64) (string, error) {
		var b bytes.Buffer
		p := NewDiffPrinter(&b, form)
		err := r.reader.Diff(r.context(), runNames(), DiffQuery{RunQuery{Run: "b"}, limit}, p.Print)
		require.NoError(t, p.Close())
		return b.String(), err
	}
	text, err := diff(JSON, 0)
	require.NoError(t, err)
	require.JSONEq(t, "[]", text)

	r.outcome(time.Second, failed)
	r.outcome(time.Second, changed("b", 3))
	text, err = diff(JSON, 0)
	require.Equal(t, fault.Finding, fault.Code(err))
	var list []Differing
	require.NoError(t, json.Unmarshal([]byte(text), &list))
	require.Len(t, list, 2)
	require.Equal(t, "connect", list[0].Reason)
	require.Equal(t, []DifferentAt{{"status", "value", "200", "500"}}, list[1].Differences)
	text, err = diff(Table, 1)
	require.Equal(t, fault.Finding, fault.Code(err))
	require.Contains(t, text, "connect")
	require.NotContains(t, text, "200 → 500")
	text, _ = diff(NDJSON, 0)
	require.Equal(t, 2, strings.Count(text, "\n"))
	text, _ = diff(YAML, 0)
	require.Contains(t, text, "---\nexchange: ")
}
