package inspect

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/reprise-io/reprise/internal/report"
)

// LeakPrinter writes leaks as they are found.
type LeakPrinter struct {
	objects
	last string
}

// NewLeakPrinter writes to w, as Table, NDJSON, JSON or YAML.
func NewLeakPrinter(w io.Writer, form Form) *LeakPrinter {
	return &LeakPrinter{objects: objects{w: bufio.NewWriter(w), form: form}}
}

// Print writes one leak: as a table, a line for its exchange when that is another, and one for where it stands there:
//
//	partition 3 offset 44  id 9f3c000000000000000000000000000000000000000018a3
//	    cn-mobile    request.path#1~@0  (rule cn-mobile)
func (p *LeakPrinter) Print(l *Leak) error {
	if p.form != Table {
		return p.add(l)
	}
	var b strings.Builder
	where := "id " + l.ID
	switch {
	case l.Partition != nil:
		where = fmt.Sprintf("partition %d offset %d  %s", *l.Partition, *l.Offset, where)
	case l.Line > 0:
		where = fmt.Sprintf("line %d  %s", l.Line, where)
	}
	if where != p.last {
		p.last = where
		b.WriteString(where + "\n")
	}
	by := "rule " + l.Rule
	if l.Rule == knownSecret {
		by = fmt.Sprintf("known, line %d of the secrets, %s", l.Secret, l.Form)
	}
	fmt.Fprintf(&b, "    %-12s %s  (%s)\n", l.Kind, report.Printable(l.Location), by)
	_, err := p.w.WriteString(b.String())
	return err
}

// Flush hands over what is buffered.
func (p *LeakPrinter) Flush() error { return p.w.Flush() }

// Close ends the output and flushes it.
func (p *LeakPrinter) Close() error { return p.close() }
