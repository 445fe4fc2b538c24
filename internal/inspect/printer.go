package inspect

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/yamlfile"
)

// Form is how exchanges are written.
type Form string

// The forms. JSON of several exchanges is one array, YAML a document each, Raw the protobuf value of the record as it is in Kafka.
const (
	Table  Form = "table"
	NDJSON Form = "ndjson"
	JSON   Form = "json"
	YAML   Form = "yaml"
	Raw    Form = "raw"
)

// Printer writes exchanges, one after another. A table of them never shows bodies.
type Printer struct {
	w      *bufio.Writer
	form   Form
	width  int // of the terminal; 0: lines of any length
	bodies *Bodies
	line   []byte
	count  int
	host   int // widest authority so far
	day    string
}

// NewPrinter writes to w. width is that of the terminal for tables, 0 for lines of any length.
func NewPrinter(w io.Writer, form Form, width int, bodies *Bodies) *Printer {
	return &Printer{w: bufio.NewWriterSize(w, 64<<10), form: form, width: width, bodies: bodies}
}

// Bodies says whether bodies are shown. A record in the form Raw has them always.
type Bodies struct {
	Show  bool
	Shown func() // called once, before the first body is written; may be nil
	told  bool
}

// shows tells that the bodies of e are going to be written, if it has any. It returns true.
func (b *Bodies) shows(e Entry) bool {
	x := e.Exchange
	if !b.told && (len(x.Request.Body) > 0 || x.Response != nil && len(x.Response.Body) > 0) {
		b.told = true
		if b.Shown != nil {
			b.Shown()
		}
	}
	return true
}

// Tell is to be called when an exchange is going to be written elsewhere, with its bodies.
func (b *Bodies) Tell(e Entry) { b.shows(e) }

// Print writes one exchange.
func (p *Printer) Print(e Entry) error {
	p.count++
	p.line = p.line[:0]
	switch p.form {
	case NDJSON:
		p.line = append(appendJSON(p.line, e, p.bodies), '\n')
	case JSON:
		p.line = append(p.line, ",\n"...)
		if p.count == 1 {
			p.line = append(p.line[:0], "[\n"...)
		}
		p.line = appendJSON(p.line, e, p.bodies)
	case YAML:
		b, err := yamlfile.FromJSON(appendJSON(nil, e, p.bodies))
		if err != nil {
			return err
		}
		p.line = append(append(p.line, "---\n"...), b...)
	case Raw:
		p.bodies.shows(e)
		p.line = append(p.line, e.Record.Value...)
	default:
		p.row(e)
	}
	_, err := p.w.Write(p.line)
	return err
}

// Flush hands over what is buffered.
func (p *Printer) Flush() error { return p.w.Flush() }

// Close ends the output and flushes it.
func (p *Printer) Close() error {
	if p.form == JSON {
		end := "\n]\n"
		if p.count == 0 {
			end = "[]\n"
		}
		if _, err := p.w.WriteString(end); err != nil {
			return err
		}
	}
	return p.w.Flush()
}

// PrintOne writes the one exchange that was asked for: in the form JSON as an indented object, as a table in full.
func PrintOne(w io.Writer, form Form, bodies *Bodies, e Entry) error {
	var b []byte
	switch form {
	case Table:
		b = []byte(view(e, bodies.Show && bodies.shows(e)))
	case Raw:
		bodies.shows(e)
		b = e.Record.Value
	case JSON:
		var out bytes.Buffer
		if err := json.Indent(&out, appendJSON(nil, e, bodies), "", "  "); err != nil {
			return err
		}
		out.WriteByte('\n')
		b = out.Bytes()
	case YAML:
		var err error
		if b, err = yamlfile.FromJSON(appendJSON(nil, e, bodies)); err != nil {
			return err
		}
	default:
		b = append(appendJSON(nil, e, bodies), '\n')
	}
	_, err := w.Write(b)
	return err
}

func appendJSON(b []byte, e Entry, bodies *Bodies) []byte {
	return traffic.AppendJSON(b, e.Exchange, traffic.JSONOptions{
		Bodies: bodies.Show && bodies.shows(e), Redactions: true, HasKafka: true, Partition: e.Record.Partition, Offset: e.Record.Offset,
	})
}

// Widths of the table's columns, in characters.
const (
	methodWidth   = 6
	durationWidth = 8
	hostWidth     = 28 // at most
	targetWidth   = 40 // at least
	leastTarget   = 16 // on a narrow terminal
)

// row writes one line of the table:
//
//	13:42:10.119  POST    201      9 ms  shop.example.com  /cart                  1.2 kB  id 9f3c…:18a3
func (p *Printer) row(e Entry) {
	x := e.Exchange
	at := x.CaptureTime.UTC()
	if day := at.Format(time.DateOnly); day != p.day {
		p.day = day
		p.line = append(append(p.line, day...), " UTC\n"...)
	}
	host := fit(printable(x.Request.Authority), hostWidth)
	p.host = max(p.host, utf8.RuneCountInString(host))

	head := strings.Join([]string{
		at.Format("15:04:05.000"), left(fit(printable(x.Request.Method), 12), methodWidth), right(status(x), 3),
		right(taken(x), durationWidth), left(host, p.host),
	}, "  ")
	tail := "id " + x.ID.Short()
	if n := x.Request.BodySize; n > 0 {
		tail = size(n) + "  " + tail
	}
	if x.Flags != 0 {
		tail = strings.ToLower(strings.ReplaceAll(x.Flags.String(), "_", " ")) + "  " + tail
	}
	room, target := targetWidth, printable(x.Request.Target)
	if p.width > 0 {
		room = max(leastTarget, p.width-utf8.RuneCountInString(head)-utf8.RuneCountInString(tail)-4)
		target = fit(target, room)
	}
	p.line = append(append(append(p.line, head...), "  "...), left(target, room)...)
	p.line = append(append(append(p.line, "  "...), tail...), '\n')
}

func status(x *traffic.Exchange) string {
	if x.Response == nil || x.Response.Status == 0 {
		return "–"
	}
	return strconv.Itoa(x.Response.Status)
}

func taken(x *traffic.Exchange) string {
	if x.Response == nil {
		return "–"
	}
	return duration(x.Response.Duration)
}

// WriteJSON writes v as one line, indented in the form JSON, or as YAML.
func WriteJSON(w io.Writer, form Form, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if form == YAML {
		if b, err = yamlfile.FromJSON(b); err == nil {
			_, err = w.Write(b)
		}
		return err
	}
	if form == JSON {
		var out bytes.Buffer
		if err := json.Indent(&out, b, "", "  "); err != nil {
			return err
		}
		b = out.Bytes()
	}
	_, err = w.Write(append(b, '\n'))
	return err
}
