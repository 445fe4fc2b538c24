package inspect

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// Name is how a person names an exchange: its whole id, the short form of tables, or the end of its id.
type Name struct {
	asked  string
	whole  bool
	prefix []byte // hexadecimal digits
	suffix []byte
	seq    uint64 // of the short form
	short  bool
}

// leastSuffix is the fewest digits that are taken as the end of an id.
const leastSuffix = 4

// ParseName reads a name. The error is a *fault.Error.
func ParseName(s string) (Name, error) {
	bad := fault.BadUsage(fmt.Sprintf("bad exchange id %q", s), "",
		fmt.Sprintf("48 hexadecimal digits, the short form that cat shows (9f3c…:18a2), or the last %d or more digits", leastSuffix))
	n := Name{asked: s}
	text := strings.ToLower(s)
	if head, seq, ok := strings.Cut(text, ":"); ok {
		head = strings.TrimSuffix(strings.TrimSuffix(head, "…"), "...")
		var err error
		if n.seq, err = strconv.ParseUint(seq, 16, 64); err != nil || !isHex(head) || len(head) > 32 {
			return Name{}, bad
		}
		n.prefix, n.short = []byte(head), true
		return n, nil
	}
	if !isHex(text) || len(text) < leastSuffix || len(text) > 2*len(traffic.ID{}) {
		return Name{}, bad
	}
	n.whole = len(text) == 2*len(traffic.ID{})
	n.suffix = []byte(text)
	return n, nil
}

func isHex(s string) bool {
	return strings.Trim(s, "0123456789abcdef") == ""
}

// is reports whether an id, written out, has that name.
func (n Name) is(id []byte) bool {
	if len(id) != 2*len(traffic.ID{}) || !bytes.HasPrefix(id, n.prefix) || !bytes.HasSuffix(id, n.suffix) {
		return false
	}
	if !n.short {
		return true
	}
	seq, err := strconv.ParseUint(string(id[32:]), 16, 64)
	return err == nil && seq == n.seq
}

// mostCandidates bounds what is listed of several exchanges that one name fits.
const mostCandidates = 5

// Get finds one exchange. It looks at Kafka headers only, and at the value of records without them. An exchange that was
// stored twice is found once.
func (r *Reader) Get(ctx context.Context, name Name, show func(Entry) error) error {
	spans, err := r.spans(ctx, time.Time{}, AllPartitions)
	if err != nil {
		return err
	}
	var decoder traffic.Decoder
	var x traffic.Exchange
	var found []*topic.Record
	var ids []string
	err = r.scan(ctx, spans, func(rec *topic.Record) error {
		id := idOf(rec)
		if id == nil && decoder.Decode(rec.Value, &x) == nil {
			id = hex.AppendEncode(nil, x.ID[:])
		}
		if !name.is(id) || slices.Contains(ids, string(id)) {
			return nil
		}
		ids, found = append(ids, string(id)), append(found, rec)
		if name.whole || len(ids) > mostCandidates {
			return errEnough
		}
		return nil
	}, nil)
	switch {
	case err != nil:
		return err
	case len(found) == 0:
		return r.notFound(name, length(spans))
	case len(found) > 1:
		return ambiguous(name, ids)
	}
	if err := decoder.Decode(found[0].Value, &x); err != nil {
		r.skip(found[0], err)
		return r.verdict()
	}
	return show(Entry{&x, found[0]})
}

// idOf is the id that the Kafka headers tell; nil when they do not.
func idOf(rec *topic.Record) []byte {
	for i := range rec.Headers {
		if rec.Headers[i].Key == traffic.HeaderID {
			return rec.Headers[i].Value
		}
	}
	return nil
}

func (r *Reader) notFound(name Name, looked int64) error {
	if looked == 0 {
		return fault.New(fmt.Sprintf("no exchange %s in %s", name.asked, r.topic), "the topic is empty", "inspect topics")
	}
	return fault.New(fmt.Sprintf("no exchange %s in %s", name.asked, r.topic),
		fmt.Sprintf("%s are there now; what is older went with the topic's retention", report.Count(looked, "record")),
		"inspect cat lists the ids; --topic-prefix NAME looks in another topic")
}

func ambiguous(name Name, ids []string) error {
	list := strings.Join(ids[:min(len(ids), mostCandidates)], "\n")
	if len(ids) > mostCandidates {
		list += "\nand more"
	}
	return fault.BadUsage(fmt.Sprintf("more than one exchange has the id %s", name.asked), list, "inspect get with one of these")
}
