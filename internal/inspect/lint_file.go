package inspect

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/traffic"
)

// mostLine bounds a line of a file, and a file that is one record.
const mostLine = 64 << 20

// File searches exchanges of a file: as inspect prints them, one a line or in an array, or the protobuf value of one record. Lines that
// are none are told to note and make the whole Incomplete.
func (l *Linter) File(r io.Reader, name string, choice *FileChoice, note func(string)) error {
	in := bufio.NewReaderSize(r, 64<<10)
	head, err := in.Peek(64)
	if err != nil && !errors.Is(err, io.EOF) {
		return fault.New("cannot read "+name, err.Error(), "")
	}
	var x traffic.Exchange
	if first := bytes.TrimLeft(head, " \t\r\n"); len(first) > 0 && first[0] != '{' && first[0] != '[' {
		return l.value(in, name, choice, &x)
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, mostLine)
	bad, firstBad := 0, ""
	for n := int64(1); lines.Scan(); n++ {
		text := bytes.Trim(lines.Bytes(), " \t\r,")
		if len(text) == 0 || string(text) == "[" || string(text) == "]" || string(text) == "[]" {
			continue
		}
		l.sum.Bytes += int64(len(text))
		if err := traffic.ParseJSON(text, &x); err != nil {
			if bad++; bad == 1 {
				firstBad = fmt.Sprintf("line %d: %v", n, err)
				note(name + ": " + firstBad)
			}
			continue
		}
		if ok, err := choice.wants(&x); err != nil {
			return err
		} else if !ok {
			continue
		}
		if err := l.exchange(Leak{Line: n}, &x, nil); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fault.New("cannot read "+name, err.Error(), "one exchange a line, as inspect cat -o ndjson writes them")
	}
	if bad > 0 {
		return &fault.Error{
			What: fmt.Sprintf("%s of %s could not be read and were left out", report.Count(int64(bad), "line"), name), Cause: firstBad,
			Try: "one exchange a line, as inspect cat -o ndjson writes them", Code: fault.Incomplete,
		}
	}
	return nil
}

func (l *Linter) value(in io.Reader, name string, choice *FileChoice, x *traffic.Exchange) error {
	b, err := io.ReadAll(io.LimitReader(in, mostLine+1))
	if err != nil {
		return fault.New("cannot read "+name, err.Error(), "")
	}
	const try = "lines of inspect cat -o ndjson, or the value that inspect get -o raw writes"
	if len(b) > mostLine {
		return fault.New(name+" is no record", "it is too long for one", try)
	}
	if err := new(traffic.Decoder).Decode(b, x); err != nil {
		return fault.New("cannot read "+name, err.Error(), try)
	}
	l.sum.Bytes += int64(len(b))
	if ok, err := choice.wants(x); err != nil || !ok {
		return err
	}
	return l.exchange(Leak{}, x, nil)
}

// FileChoice tells which exchanges of a file a Query wants.
type FileChoice struct{ c *choice }

// NewFileChoice compiles a Query; its partition and limit mean nothing here.
func NewFileChoice(q Query) *FileChoice { return &FileChoice{newChoice(q)} }

func (f *FileChoice) wants(x *traffic.Exchange) (bool, error) {
	if !f.c.inside(x.CaptureTime) {
		return false, nil
	}
	for _, list := range [][]*filter.Filter{f.c.byHeader, f.c.byValue} {
		for _, one := range list {
			if ok, err := one.Match(x); err != nil || !ok {
				return false, filterError(one, nil, err)
			}
		}
	}
	return true, nil
}
