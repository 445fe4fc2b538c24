// Package importer reads recorded HTTP traffic from files: GoReplay .gor, HAR 1.2, packet captures, access logs of nginx and
// Apache, mitmproxy's flows and exports of the OpenSearch traffic capture, each also compressed with gzip. It yields one exchange
// after another and holds only what lies between a request and its response. What a file does not say is left out or
// flagged, never guessed. It knows nothing of redaction and Kafka.
//
// A file is read twice: once for the hash that the ids are made of, so that a second import repeats them, and once for
// the exchanges.
package importer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/reprise-io/reprise/internal/capture/importer/logformat"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
)

// DefaultBodyMax is how many bytes of a body are kept when Options does not say.
const DefaultBodyMax = 256 << 10

// Options says how a file is read. The zero value is usable.
type Options struct {
	Format  string // a name of Formats, or nginx:FORMAT or apache:FORMAT; empty: told by the content
	BodyMax int    // bytes kept of each body; 0: DefaultBodyMax
}

// Stats counts what a file held.
type Stats struct {
	Exchanges int64 // handed over
	Answered  int64 // of these, with a response
	Broken    int64 // requests, responses or entries that could not be read; but for packet captures the error tells of the first
	Orphans   int64 // responses whose request is not in the file
	Packets   int64 // of a packet capture
	Cut       int64 // of these, not whole: the capture kept their beginnings only (snaplen)
	Gaps      int64 // places at which the streams of a packet capture lack bytes
	Ignored   int64 // what is no request to be kept: replayed responses, data: URLs, lines of a log without a request

	First, Last time.Time // earliest and latest capture time; zero without exchanges
}

func (s *Stats) add(x *traffic.Exchange) {
	s.Exchanges++
	if x.Response != nil {
		s.Answered++
	}
	if s.First.IsZero() || x.CaptureTime.Before(s.First) {
		s.First = x.CaptureTime
	}
	if x.CaptureTime.After(s.Last) {
		s.Last = x.CaptureTime
	}
}

// File is an opened recording.
type File struct {
	name    string // base name
	file    *os.File
	format  format
	size    int64
	modTime time.Time
	bodyMax int
	read    atomic.Int64 // for exchanges
	hashed  atomic.Int64

	templates []*logformat.Template // of an access log
	namedLog  bool                  // they are well-known ones
}

// Open opens a file and tells its format. Errors are *fault.Error.
func Open(path string, o Options) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, &fault.Error{
			What: fmt.Sprintf("cannot open %s", path), Cause: plainCause(err), Try: "ls -l tells whether it is there, and who may read it", Err: err,
		}
	}
	f, err := open(file, path, o)
	if err != nil {
		file.Close()
		return nil, err
	}
	return f, nil
}

func open(file *os.File, path string, o Options) (*File, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fault.New(fmt.Sprintf("%s is not a regular file", path),
			"an import reads its file twice, the first time for the ids", "save it to a file and import that")
	}
	f := &File{
		name: filepath.Base(path), file: file, size: info.Size(), modTime: info.ModTime(), bodyMax: o.BodyMax,
	}
	if f.bodyMax <= 0 {
		f.bodyMax = DefaultBodyMax
	}
	if f.format, err = f.detect(o.Format); err == nil && f.format == formatLog && f.templates == nil {
		f.templates, _ = logformat.Named(string(formatLog))
	}
	f.namedLog = !strings.Contains(o.Format, ":")
	return f, err
}

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

// Name returns the base name of the file.
func (f *File) Name() string { return f.name }

// Format returns the name of the format, of Formats.
func (f *File) Format() string { return string(f.format) }

// Size returns the size of the file on disk in bytes.
func (f *File) Size() int64 { return f.size }

// Progress returns how much of its work Each has done, from 0 to 1; it may be called while Each runs.
func (f *File) Progress() float64 {
	if f.size == 0 {
		return 1
	}
	const hashing = 0.25 // of the work
	return (hashing*float64(f.hashed.Load()) + (1-hashing)*float64(f.read.Load())) / float64(f.size)
}

// Each calls put for every exchange: in file order of the requests, which need not be the order of their times. An
// exchange belongs to put. An error of put, or the end of ctx, ends it.
//
// What can be skipped is (a payload between two separators, an entry of the wrong shape) and the rest is read; the
// returned *fault.Error then has code Incomplete and says how much and where first. It has code Failure when nothing was
// read at all. The statistics are right in any case.
func (f *File) Each(ctx context.Context, put func(*traffic.Exchange) error) (Stats, error) {
	f.read.Store(0)
	f.hashed.Store(0)
	var stats Stats
	each := func(x *traffic.Exchange) error {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		stats.add(x)
		if err := put(x); err != nil {
			return stopped{err}
		}
		return nil
	}
	err := f.reader()(ctx, &stats, each)
	if s, ok := errors.AsType[stopped](err); ok {
		return stats, s.err
	}
	if ctx.Err() != nil {
		return stats, context.Cause(ctx)
	}
	return stats, err
}

// reader returns what reads the file's format.
func (f *File) reader() func(context.Context, *Stats, func(*traffic.Exchange) error) error {
	switch f.format {
	case formatGor:
		return f.eachGor
	case formatHAR:
		return f.eachHAR
	case formatPcap:
		return f.eachPacket
	case formatMitmproxy:
		return f.eachFlow
	case formatOpenSearch:
		return f.eachStream
	default:
		return f.eachLine
	}
}

// stopped carries an error of the caller's put past everything that judges errors of the file.
type stopped struct{ err error }

func (s stopped) Error() string { return s.err.Error() }

// newExchange has what is the same for every exchange of a file.
func (f *File) newExchange(hash [16]byte, index uint64) *traffic.Exchange {
	return &traffic.Exchange{
		ID:         traffic.MakeID(hash, index),
		TimeSource: traffic.LogTime,
		Source:     f.source(),
	}
}

func (f *File) source() traffic.Source {
	return traffic.Source{Kind: traffic.Import, Name: []byte(f.name)}
}

// incomplete is the error of a file of which a part could not be read.
func (f *File) incomplete(stats *Stats, what, cause string, err error) error {
	e := &fault.Error{What: f.name + ": " + what, Cause: cause, Err: err, Code: fault.Incomplete}
	if stats.Exchanges == 0 {
		e.Code, e.Try = fault.Failure, "files that can be imported: "+supported+"; logs of other formats, JSON too, with --format 'nginx:…'"
		return e
	}
	e.Try = fmt.Sprintf("the %d exchanges that could be read are imported; ids repeat, so a repaired file can be imported again",
		stats.Exchanges)
	return e
}

// counted returns "1 payload" or "3 payloads".
func counted(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func plainCause(err error) string {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}
