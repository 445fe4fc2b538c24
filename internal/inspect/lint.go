package inspect

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// Leak is a value that redaction should have caught, told by its place. It never holds the value.
type Leak struct {
	Topic     string     `json:"topic,omitempty"`
	Partition *int32     `json:"partition,omitempty"` // nil for what is in a file
	Offset    *int64     `json:"offset,omitempty"`
	Line      int64      `json:"line,omitempty"` // of a file
	ID        string     `json:"id"`
	Time      *time.Time `json:"time,omitempty"`
	Location  string     `json:"location"`
	Rule      string     `json:"rule"` // that would have caught it; known-secret for one of the file
	Kind      string     `json:"kind"`
	Secret    int        `json:"secret,omitempty"` // line in the file of known secrets
	Form      string     `json:"form,omitempty"`   // in which a known secret stands
}

// knownSecret is the rule of what the file of secrets names.
const knownSecret = "known-secret"

// Linted is how much was searched, and what was found.
type Linted struct {
	Exchanges, Bytes, Leaks int64
	Leaky                   int64 // exchanges with leaks
	Unread                  int64 // bodies that cannot be looked into
	kinds                   map[string]int64
}

// Linter searches exchanges. It is not safe for concurrent use.
type Linter struct {
	finder *redact.Finder
	known  *Known // nil: none
	show   func(*Leak) error
	sum    Linted
}

// NewLinter returns a linter that gives what it finds to show. rules nil stands for the default ones, known nil for none.
func NewLinter(rules *redact.Rules, known *Known, show func(*Leak) error) (*Linter, error) {
	f, err := redact.NewFinder(rules)
	if err != nil {
		return nil, err
	}
	return &Linter{finder: f, known: known, show: show, sum: Linted{kinds: map[string]int64{}}}, nil
}

// Sum is what there was so far.
func (l *Linter) Sum() *Linted { return &l.sum }

// Lint searches what is wanted of a topic. progress is told after each batch how many of the records have been read.
func (r *Reader) Lint(ctx context.Context, q Query, l *Linter, progress func(read, of int64) error) error {
	spans, err := r.spans(ctx, q.From, q.Partition)
	if err != nil {
		return err
	}
	choice := newChoice(q)
	var decoder traffic.Decoder
	var x traffic.Exchange
	read, of := int64(0), length(spans)
	err = r.scan(ctx, spans, func(rec *topic.Record) error {
		read++
		_, wanted, err := choice.wants(rec)
		switch {
		case errors.Is(err, traffic.ErrCorrupt):
			r.skip(rec, err)
			return nil
		case err != nil || !wanted:
			return err
		}
		if err := decoder.Decode(rec.Value, &x); err != nil {
			r.skip(rec, err)
			return nil
		}
		return l.record(rec, &x)
	}, func(*topic.AssignReader) error { return progress(read, of) })
	if err != nil {
		return err
	}
	if l.sum.Exchanges == 0 {
		r.noteNothing(ctx, of, q)
	}
	return r.verdict()
}

func (l *Linter) record(rec *topic.Record, x *traffic.Exchange) error {
	l.sum.Bytes += int64(len(rec.Value))
	at := Leak{Topic: rec.Topic, Partition: &rec.Partition, Offset: &rec.Offset}
	var more []Leak
	if l.known != nil {
		more = l.search(more, "kafka.key", rec.Key)
	}
	for i := range rec.Headers {
		h := &rec.Headers[i]
		if l.known != nil {
			more = l.search(more, "kafka.header:"+h.Key, h.Value)
		}
	}
	return l.exchange(at, x, l.around(more, rec, x))
}

// around looks at what stands beside a record: its Kafka key and headers. What they repeat of the record is found there, and ids, times
// and hashes are what their form says: a time in nanoseconds may well look like a card.
func (l *Linter) around(found []Leak, rec *topic.Record, x *traffic.Exchange) []Leak {
	if key := rec.Key; !pseudonymous(key) && !bytes.Equal(key, x.Connection.ID) {
		found = l.detect(found, "kafka.key", "value", key)
	}
	if !pseudonymous(x.Session) {
		found = l.detect(found, "session", "value", x.Session)
	}
	repeated := traffic.MetaOf(x, redact.PathOf(x.Request.Target))
	for i := range rec.Headers {
		h := &rec.Headers[i]
		one := []topic.Header{*h}
		var m traffic.Meta
		_ = traffic.ParseMeta(one, &m) // it lacks the others; what is malformed stays zero
		rule := "value"
		switch h.Key {
		case traffic.HeaderID:
			if m.ID != (traffic.ID{}) {
				continue
			}
		case traffic.HeaderCaptureTime:
			if m.CaptureTime.Equal(x.CaptureTime) {
				continue
			}
		case traffic.HeaderStatus:
			if m.Status == repeated.Status {
				continue
			}
		case traffic.HeaderSample:
			if m.Sample == x.SampleHash {
				continue
			}
		case traffic.HeaderFlags:
			if m.Flags == x.Flags {
				continue
			}
		case traffic.HeaderMethod:
			if bytes.Equal(h.Value, repeated.Method) {
				continue
			}
		case traffic.HeaderTraceparent:
			if bytes.Equal(h.Value, repeated.Traceparent) {
				continue
			}
		case traffic.HeaderPath:
			if rule = "path"; bytes.Equal(h.Value, repeated.Path) {
				continue
			}
		default:
			found = l.detect(found, fmt.Sprintf("kafka.header-name#%d", i), rule, []byte(h.Key))
		}
		found = l.detect(found, "kafka.header:"+string(l.finder.Hide([]byte(h.Key))), rule, h.Value)
	}
	return found
}

// detect adds what the detectors find in a value that stands by itself.
func (l *Linter) detect(found []Leak, location, rule string, v []byte) []Leak {
	if len(v) > 0 && l.finder.Holds(v) {
		found = append(found, Leak{Location: location, Rule: rule, Kind: "value"})
	}
	return found
}

// pseudonymous reports whether a session is one of those that taps make: 32 hexadecimal digits.
func pseudonymous(session []byte) bool {
	const digits = "0123456789abcdef"
	return len(session) == 32 && len(bytes.Trim(session, digits)) == 0
}

// exchange shows what is in x, with more from around it. at says where it lies.
func (l *Linter) exchange(at Leak, x *traffic.Exchange, more []Leak) error {
	l.sum.Exchanges++
	at.ID = hex.EncodeToString(x.ID[:])
	if !x.CaptureTime.IsZero() {
		t := x.CaptureTime.UTC()
		at.Time = &t
	}
	found, unread, err := l.finder.Find(x)
	if err != nil {
		return fault.New("an exchange cannot be searched: "+at.ID, err.Error(), "inspect get "+at.ID+" shows it")
	}
	l.sum.Unread += int64(len(unread))
	for _, f := range found {
		more = append(more, Leak{Location: f.Location, Rule: f.Rule, Kind: f.Kind})
	}
	if l.known != nil {
		more = l.searchAll(more, x)
	}
	for i := range more {
		leak := at
		leak.Location, leak.Rule, leak.Kind, leak.Secret, leak.Form = more[i].Location, more[i].Rule, more[i].Kind, more[i].Secret, more[i].Form
		l.sum.Leaks++
		l.sum.kinds[leak.Kind]++
		if err := l.show(&leak); err != nil {
			return err
		}
	}
	if len(more) > 0 {
		l.sum.Leaky++
	}
	return nil
}

// searchAll looks for known secrets in everything that an exchange has, bodies also without their content coding.
func (l *Linter) searchAll(found []Leak, x *traffic.Exchange) []Leak {
	found = l.search(found, "session", x.Session)
	found = l.search(found, "connection", x.Connection.ID)
	q := &x.Request
	found = l.search(found, "request.method", q.Method)
	found = l.search(found, "request.authority", q.Authority)
	found = l.search(found, "request.target", q.Target)
	found = l.message(found, "request", q.Headers, q.Trailers, q.Body)
	if p := x.Response; p != nil {
		found = l.message(found, "response", p.Headers, p.Trailers, p.Body)
	}
	for i := range x.Redactions {
		found = l.search(found, fmt.Sprintf("redactions#%d", i), []byte(x.Redactions[i].Location))
	}
	return found
}

func (l *Linter) message(found []Leak, part string, headers, trailers []traffic.Field, body []byte) []Leak {
	for _, list := range [...]struct {
		name   string
		fields []traffic.Field
	}{{"header", headers}, {"trailer", trailers}} {
		for i := range list.fields {
			f := &list.fields[i]
			found = l.search(found, fmt.Sprintf("%s.%s-name#%d", part, list.name, i), f.Name)
			found = l.search(found, fmt.Sprintf("%s.%s#%d", part, list.name, i), f.Value)
		}
	}
	before := len(found)
	found = l.search(found, part+".body", body)
	if plain := l.finder.Plain(body, headers); len(found) == before && len(plain) > 0 && &plain[0] != &body[0] {
		found = l.search(found, part+".body", plain)
	}
	return found
}

func (l *Linter) search(found []Leak, location string, v []byte) []Leak {
	for _, hit := range l.known.Search(v) {
		found = append(found, Leak{Location: location, Rule: knownSecret, Kind: redact.Secret.String(), Secret: hit.Line, Form: hit.Form})
	}
	return found
}

// Verdict is the error at the end: one with exit code 3 when something was found.
func (s *Linted) Verdict() error {
	if s.Leaks == 0 {
		return nil
	}
	var kinds []string
	for _, k := range slices.Sorted(maps.Keys(s.kinds)) {
		kinds = append(kinds, fmt.Sprintf("%s %d", k, s.kinds[k]))
	}
	return &fault.Error{
		What:  fmt.Sprintf("%s in %s", report.Count(s.Leaks, "value"), report.Count(s.Leaky, "exchange")) + " should have been redacted",
		Cause: strings.Join(kinds, ", "),
		Try:   "a rule for what is found, in the file of --rules of the tap; what is stored goes with the topic's retention",
		Code:  fault.Finding,
	}
}

// String tells how much was searched, and when nothing was found.
func (s *Linted) String() string {
	text := fmt.Sprintf("searched %s, %s", report.Count(s.Exchanges, "exchange"), size(s.Bytes))
	if s.Leaks == 0 {
		text += ": nothing found"
	}
	if s.Unread > 0 {
		text += fmt.Sprintf("; what cannot be looked into, for its content coding is not known or broken: %s", report.Count(s.Unread, "message"))
	}
	return text
}
