package importer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/reprise-io/reprise/internal/capture/importer/logformat"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
)

// maxLine bounds what is held of one line of a log. nginx cuts header lines at 8 KiB, and bodies at its buffer's size.
const maxLine = 1 << 20

var (
	errLongLine   = fmt.Errorf("line is longer than %d KiB", maxLine>>10)
	errNoMatch    = errors.New("the line is not of the format")
	errCannotRead = errors.New("its time cannot be read")
)

// logReader turns the lines of an access log into exchanges.
type logReader struct {
	file      *File
	hash      [16]byte
	templates []*logformat.Template
	named     bool // the templates are well-known ones, not a format string of the user's
	latest    int  // index of the template that matched last: the next line is likely to be of it too
	stats     *Stats
	index     uint64 // of the last exchange
	line      int64  // number of the last line, from 1
	values    [][]byte
	first     error // why the first line that could not be read could not
	firstAt   int64
}

// logTemplates reads what --format says of a log. It is nil for other formats.
func logTemplates(asked string) ([]*logformat.Template, error) {
	kind, text, found := strings.Cut(asked, ":")
	compile := logformat.Nginx
	switch {
	case !found:
		templates, _ := logformat.Named(asked)
		return templates, nil
	case kind == "apache":
		compile = logformat.Apache
	case kind != "nginx":
		return nil, nil
	}
	if templates, ok := logformat.Named(text); ok {
		return templates, nil
	}
	t, err := compile(text)
	if err != nil {
		return nil, fault.BadUsage(fmt.Sprintf("bad --format %s:…", kind), err.Error(),
			"give the format string just as the server's configuration has it, in single quotes")
	}
	return []*logformat.Template{t}, nil
}

// isAccessLog reports whether one of the first lines is of a well-known format.
func isAccessLog(head []byte) bool {
	l := &logReader{named: true}
	l.templates, _ = logformat.Named(string(formatLog))
	for line := range bytes.Lines(head) { // the last is perhaps cut off
		if l.find(bytes.TrimRight(line, "\r\n")) != nil {
			return true
		}
	}
	return false
}

func (f *File) eachLine(ctx context.Context, stats *Stats, each func(*traffic.Exchange) error) error {
	l := &logReader{file: f, templates: f.templates, named: f.namedLog, stats: stats}
	var err error
	if l.hash, err = f.survey(ctx, nil); err != nil {
		return err
	}
	content, err := f.content(&f.read)
	if err != nil {
		return err
	}
	r := bufio.NewReaderSize(&contextReader{ctx, content}, 64<<10)
	for {
		line, err := readLine(r, maxLine)
		if err != nil && !errors.Is(err, errLongLine) {
			if errors.Is(err, io.EOF) {
				return l.verdict(nil)
			}
			return l.verdict(err)
		}
		l.line++
		if l.line == 1 {
			line = bytes.TrimPrefix(line, []byte(bom))
		}
		var x *traffic.Exchange
		if err == nil {
			line = bytes.TrimLeft(line, "\x00") // of a crash, or of a file that was truncated under its writer
			if len(bytes.TrimSpace(line)) == 0 {
				continue
			}
			x, err = l.exchange(line)
		}
		switch {
		case errors.Is(err, errNotHTTP):
			stats.Ignored++
		case err != nil:
			l.index++
			if stats.Broken++; l.first == nil {
				l.first, l.firstAt = err, l.line
			}
		default:
			if err := each(x); err != nil {
				return err
			}
		}
	}
}

// readLine returns the next line without its end, valid until the next call. errLongLine is about this line only; of
// other errors nothing was read.
func readLine(r *bufio.Reader, most int) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		long := bytes.Clone(line)
		for errors.Is(err, bufio.ErrBufferFull) {
			line, err = r.ReadSlice('\n')
			if len(long) <= most {
				long = append(long, line...)
			}
		}
		line = long
	}
	if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0) {
		return nil, err
	}
	line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	if len(line) > most {
		return nil, errLongLine
	}
	return line, nil
}

// match returns the template that a line is of and leaves its values in l; nil when there is none.
func (l *logReader) match(line []byte) *logformat.Template {
	var ok bool
	if l.values, ok = l.templates[l.latest].Match(line, l.values[:0]); ok && l.latest == 0 {
		return l.templates[0]
	}
	for i, t := range l.templates { // an earlier one says more
		if l.values, ok = t.Match(line, l.values[:0]); ok {
			l.latest = i
			return t
		}
	}
	return nil
}

// find is match for a line that may have something of its carrier's in front. A format that begins with a time may be
// the carrier's too.
func (l *logReader) find(line []byte) *logformat.Template {
	bare := withoutShipper(line)
	first, second := bare, line
	if kind := l.templates[0].Fields()[0].Kind; kind == logformat.TimeText || kind == logformat.TimeNumber {
		first, second = line, bare
	}
	if t := l.match(first); t != nil || len(bare) == len(line) {
		return t
	}
	return l.match(second)
}

func (l *logReader) exchange(line []byte) (*traffic.Exchange, error) {
	t := l.find(line)
	if t == nil {
		return nil, errNoMatch
	}
	e := logEntry{}
	for i, f := range t.Fields() {
		v := t.Value(l.values[i])
		if l.named && f.Name == "X-Forwarded-For" && !isForwarded(v) {
			v = nil // anything else that stands there is no header of the request
		}
		e.set(f, v)
	}
	x := &traffic.Exchange{}
	if err := e.fill(x, l.file.bodyMax); err != nil {
		return nil, err
	}
	l.index++
	with := l.file.newExchange(l.hash, l.index)
	x.ID, x.TimeSource, x.Source = with.ID, with.TimeSource, with.Source
	return x, nil
}

// verdict is the error at the end: nil when everything could be read.
func (l *logReader) verdict(err error) error {
	f := l.file
	switch {
	case err != nil:
		return f.incomplete(l.stats, fmt.Sprintf("broken off behind line %d", l.line), plainCause(err), err)
	case l.first != nil:
		return f.incomplete(l.stats, fmt.Sprintf("%s of %d could not be read, the first is line %d",
			counted(l.stats.Broken, "line"), l.line, l.firstAt), l.first.Error(), l.first)
	case l.stats.Exchanges == 0:
		return f.incomplete(l.stats, "there is no request in it", "none of its lines has one", nil)
	}
	return nil
}
