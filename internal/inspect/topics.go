package inspect

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/topic"
)

// TopicInfo is one line of the list of topics.
type TopicInfo struct {
	Name       string     `json:"name"`
	Partitions int        `json:"partitions"`
	Records    int64      `json:"records"`         // offsets in the log: of a compacted topic, at most this many
	Bytes      *int64     `json:"bytes,omitempty"` // on disk; absent when the broker does not tell
	First      *time.Time `json:"first,omitempty"` // Kafka timestamps of the first and last records; absent without records
	Last       *time.Time `json:"last,omitempty"`
}

// Topics describes the topics of Reprise, of whatever prefix, or with all every topic of the cluster, by name. note is
// given what a person should know.
func Topics(ctx context.Context, cfg topic.Config, all bool, note func(string)) ([]TopicInfo, error) {
	admin, err := topic.NewAdmin(cfg)
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	if err := admin.Ping(ctx); err != nil {
		return nil, err
	}
	names, err := admin.List(ctx)
	if err != nil {
		return nil, err
	}
	var wanted []string
	for _, n := range names {
		if all || isOurs(n) {
			wanted = append(wanted, n)
		}
	}
	if len(wanted) == 0 {
		note(fmt.Sprintf("no topic of Reprise is there yet; %s of others (--all lists them)", report.Count(int64(len(names)), "topic")))
		return []TopicInfo{}, nil
	}
	described, err := admin.Describe(ctx, wanted...)
	if err != nil {
		return nil, err
	}
	infos := make([]TopicInfo, 0, len(described))
	for _, d := range described {
		info, err := topicInfo(ctx, cfg, d)
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}

func isOurs(name string) bool {
	for _, kind := range [...]string{".exchanges", ".control", ".results"} {
		if strings.HasSuffix(name, kind) {
			return true
		}
	}
	return false
}

func topicInfo(ctx context.Context, cfg topic.Config, d topic.Info) (TopicInfo, error) {
	info := TopicInfo{Name: d.Name, Partitions: len(d.Partitions)}
	firsts, lasts := make(map[int32]topic.Range), make(map[int32]topic.Range)
	var bytes int64
	for _, p := range d.Partitions {
		info.Records += p.End - p.Start
		if bytes >= 0 && p.Bytes >= 0 {
			bytes += p.Bytes
		} else {
			bytes = -1
		}
		if p.Start < p.End {
			firsts[p.ID] = topic.Range{Start: p.Start, End: p.Start + 1}
			lasts[p.ID] = topic.Range{Start: p.End - 1, End: p.End}
		}
	}
	if bytes >= 0 {
		info.Bytes = &bytes
	}
	for _, spans := range []map[int32]topic.Range{firsts, lasts} {
		err := timesOf(ctx, cfg, d.Name, spans, func(t time.Time) {
			if info.First == nil || t.Before(*info.First) {
				info.First = &t
			}
			if info.Last == nil || t.After(*info.Last) {
				info.Last = &t
			}
		})
		if err != nil {
			return info, err
		}
	}
	return info, nil
}

// timesOf calls each with the timestamps of the records in the spans, of which there is one in each partition at most.
func timesOf(ctx context.Context, cfg topic.Config, name string, spans map[int32]topic.Range, each func(time.Time)) error {
	r := &Reader{cfg: cfg, topic: name}
	return r.scan(ctx, spans, func(rec *topic.Record) error {
		each(rec.Time.UTC())
		return nil
	}, nil)
}

// WriteTopics writes the list as a table.
func WriteTopics(w io.Writer, infos []TopicInfo) error {
	if len(infos) == 0 {
		return nil
	}
	rows := [][]string{{"topic", "partitions", "records", "size", "first (UTC)", "last (UTC)"}}
	for _, t := range infos {
		bytes := int64(-1)
		if t.Bytes != nil {
			bytes = *t.Bytes
		}
		rows = append(rows, []string{
			t.Name, report.Number(int64(t.Partitions)), report.Number(t.Records), diskSize(bytes), moment(t.First), moment(t.Last),
		})
	}
	var b strings.Builder
	grid(&b, rows, false, true, true, true, false, false)
	_, err := io.WriteString(w, b.String())
	return err
}

func moment(t *time.Time) string {
	if t == nil {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}
