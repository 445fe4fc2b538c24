package wire

import (
	"bytes"

	"github.com/reprise-io/reprise/internal/traffic"
)

// Span is a part of a block: the bytes from From to before To.
type Span struct{ From, To uint32 }

// Of returns the part of block.
func (s Span) Of(block []byte) []byte { return block[s.From:s.To:s.To] }

// FieldSpan is a field of a block.
type FieldSpan struct{ Name, Value Span }

// Head is a start line with its header fields, or a trailer section (fields only). The spans are parts of Block.
type Head struct {
	Block    []byte // as it stood on the wire, with the empty line
	Method   Span   // requests
	Target   Span   // requests
	Protocol Span
	Status   int // responses
	Fields   []FieldSpan

	Scheme, Authority Span // requests of HTTP/2; empty: not given

	Length    int64 // of the body as announced; -1: not known beforehand
	Chunked   bool
	Close     bool // the sender will close, or wants the connection closed, after this message
	Switch    bool // request: CONNECT, or asks for an upgrade; response: what follows is no HTTP
	Ambiguous bool // a request whose end is not known: no body follows. Malformed lines are left out of Fields
	Doubtful  bool // a request, or its trailers, whose end is known, but that others read otherwise or refuse

	folded bool
	simple bool // the whole request is a line of HTTP/0.9
	http10 bool
	lf     int // lines that end in LF alone
	crlf   int
	hosts  int
	length lengthField
	coding codingField
	tokens connectionTokens
}

// Scratch holds the result of a Framer's last step. One serves any number of Framers, one step at a time.
type Scratch struct {
	Head Head   // after HeadSeen and TrailersSeen
	Data []byte // after DataSeen
}

// AppendFields appends the fields with their bytes taken from block: h.Block, or a copy of it.
func (h *Head) AppendFields(dst []traffic.Field, block []byte) []traffic.Field {
	for i := range h.Fields {
		f := &h.Fields[i]
		value := f.Value.Of(block)
		if h.folded {
			value = unfold(value)
		}
		dst = append(dst, traffic.Field{Name: f.Name.Of(block), Value: value})
	}
	return dst
}

// Get returns the first value of a field, named in lower case, and whether there is one.
func (h *Head) Get(name string) ([]byte, bool) {
	for i := range h.Fields {
		f := &h.Fields[i]
		if int(f.Name.To-f.Name.From) == len(name) && equalFold(f.Name.Of(h.Block), name) {
			return f.Value.Of(h.Block), true
		}
	}
	return nil, false
}

// unfold joins the lines of a folded value with a space each.
func unfold(value []byte) []byte {
	if bytes.IndexByte(value, '\n') < 0 {
		return value
	}
	var joined []byte
	for line := range bytes.SplitSeq(value, []byte{'\n'}) {
		line = bytes.Trim(line, " \t\r")
		if len(joined) > 0 && len(line) > 0 {
			joined = append(joined, ' ')
		}
		joined = append(joined, line...)
	}
	return joined
}

func (h *Head) reset(block []byte) {
	*h = Head{Block: block, Fields: h.Fields[:0]}
}

// line cuts the line at block[at:] and returns where its content ends and where the next begins; next is 0 when the
// line is not whole.
func (h *Head) line(block []byte, at int) (end, next int) {
	i := bytes.IndexByte(block[at:], '\n')
	if i < 0 {
		return 0, 0
	}
	end, next = at+i, at+i+1
	if end > at && block[end-1] == '\r' {
		h.crlf++
		return end - 1, next
	}
	h.lf++
	return end, next
}

// readFields reads the lines from block[at:] up to the empty one and returns what is behind it; 0 when there is no empty
// line. What is malformed only sets Ambiguous. More than MaxFields lines: tooLarge.
func (h *Head) readFields(block []byte, at int, response bool) (end int, tooLarge bool) {
	for {
		from := at
		to, next := h.line(block, at)
		if next == 0 {
			return 0, false
		}
		if to == from {
			h.Block = block[:next]
			return next, false
		}
		if h.crlf+h.lf > MaxFields {
			return next, true
		}
		at = next
		if isBlank(block[from]) {
			h.fold(block, from, to, response)
			continue
		}
		h.field(block, from, to, response)
	}
}

// field reads one field line.
func (h *Head) field(block []byte, from, to int, response bool) {
	colon := from + tokenLength(block[from:to])
	name := Span{uint32(from), uint32(colon)}
	if response { // RFC 9112 5.1: spaces before a response's colon are taken away
		for colon < to && isBlank(block[colon]) {
			colon++
		}
	}
	if name.From == name.To || colon == to || block[colon] != ':' {
		if !response {
			h.odd(block[from:to])
		}
		return
	}
	valueFrom, valueTo := trim(block, colon+1, to)
	value := block[valueFrom:valueTo]
	if !response && hasControl(value) {
		h.Ambiguous = true
		return
	}
	if !response && hidesFraming(value) {
		h.Ambiguous = true
	}
	h.Fields = append(h.Fields, FieldSpan{Name: name, Value: Span{uint32(valueFrom), uint32(valueTo)}})
	h.framing(name.Of(block), value)
}

// odd takes note of a line that is no field. Some servers leave it out and go on; where it may set a length, or end the
// header, for one of them, the message's end is not known.
func (h *Head) odd(line []byte) {
	if hasControl(line) || bytes.Contains(bytes.ToLower(line), []byte("length")) || bytes.Contains(bytes.ToLower(line), []byte("encoding")) {
		h.Ambiguous = true
	}
	h.Doubtful = true
}

// fold adds a line that begins with a blank to the value before it.
func (h *Head) fold(block []byte, from, to int, response bool) {
	if len(h.Fields) == 0 {
		h.Ambiguous = h.Ambiguous || !response
		return
	}
	f := &h.Fields[len(h.Fields)-1]
	_, valueTo := trim(block, from, to)
	if !response && (hasControl(block[from:to]) || hidesFraming(block[from:to]) || isFraming(f.Name.Of(block))) {
		h.Ambiguous = true
		return
	}
	if uint32(valueTo) > f.Value.To {
		f.Value.To = uint32(valueTo)
		h.folded = true
	}
}
