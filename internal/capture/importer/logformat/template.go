// Package logformat reads lines of access logs by the format string that wrote them: nginx's log_format and Apache's
// LogFormat. It cuts a line into values and undoes their escaping; what a request looks like is its caller's affair.
package logformat

import "fmt"

// Kind is what a value of a line says.
type Kind uint8

// The kinds. Name and Unit of a Field say more where that is noted.
const (
	Other          Kind = iota // read over
	RequestLine                // "GET /a?b HTTP/1.1"
	Method                     //
	Target                     // as sent, with its query
	Path                       // decoded, without query
	PathAndQuery               // the same with "?" and the query, if there is one
	Query                      // without "?"
	MarkedQuery                // with "?", or empty
	Protocol                   // "HTTP/1.1"
	Status                     //
	BodyBytes                  // of the response body
	SentBytes                  // of the response with its head
	TimeText                   // Name: the layout for time.Parse; several pieces make one time
	TimeNumber                 // since 1970, in Units
	TimeFraction               // digits behind the second, in Units
	Duration                   // how long the request took, in Units
	ClientAddress              // without port
	ClientPort                 //
	ServerAddress              // without port
	ServerPort                 //
	Authority                  // the host that the client asked for
	ServerName                 // the virtual host that answered
	Scheme                     //
	HTTPS                      // "on", or nothing
	RequestHeader              // Name: such as "User-Agent"
	RequestCookie              // Name
	ResponseHeader             // Name
	RequestBody                //
	Connection                 // number of the connection
	ConnectionNext             // position on it, from 1
	ConnectionKept             // how many were before it on the connection
	Completion                 // nginx: "OK" or nothing; Apache: "X" when the client left
)

// Field is one value of a format.
type Field struct {
	Kind Kind
	Name string
	Unit int64 // ns
	End  bool  // of times: of the end of the request
	At   int   // where it stands in the format, in bytes from 1

	class  class
	quoted bool // between two double quotes
}

// class says which bytes an unquoted value may have.
type class uint8

const (
	free    class = iota
	token         // no white space
	digits        // of a number: also "-" and "."
	host          // a token without a slash
	domain        // a host with a letter in it, without a colon
	address       // a token, and not "-"
	list          // tokens with ", " or " : " between them
	stamp         // a time, perhaps with spaces in it; what is none shows when it is read
)

// Escape is how special characters are written.
type Escape uint8

// The ways of escaping.
const (
	Hex  Escape = iota // \xHH, also \" and \\ ; an absent value is "-"
	JSON               // as in a JSON string; an absent value is empty
	None               // not at all; an absent value is empty
)

// Template is a format that lines can be read by.
type Template struct {
	fields   []Field
	literals []string // one more than fields: before, between and behind them
	escape   Escape
}

// Fields returns the values in the order in which they stand.
func (t *Template) Fields() []Field { return t.fields }

// FormatError is about a format string that cannot be read, or by which lines cannot be.
type FormatError struct {
	At     int // byte in the format, from 1
	Reason string
}

func (e *FormatError) Error() string { return fmt.Sprintf("at position %d: %s", e.At, e.Reason) }

// builder collects the parts of a template.
type builder struct {
	Template
	text  []byte // literal under way
	names []string
}

func (b *builder) literal(c ...byte) { b.text = append(b.text, c...) }

func (b *builder) field(f Field, name string) {
	b.literals = append(b.literals, string(b.text))
	b.text = b.text[:0]
	b.fields = append(b.fields, f)
	b.names = append(b.names, name)
}

// finish joins what belongs together and refuses formats whose lines could be cut in more than one way.
func (b *builder) finish() (*Template, error) {
	b.literals = append(b.literals, string(b.text))
	b.mergePaths()
	for i := range b.fields {
		f := &b.fields[i]
		before, behind := b.literals[i], b.literals[i+1]
		f.quoted = before != "" && before[len(before)-1] == '"' && behind != "" && behind[0] == '"'
		if f.quoted && f.class != digits && f.class != stamp {
			f.class = free
		}
		if i == 0 {
			continue
		}
		p := &b.fields[i-1]
		switch {
		case before == "" && f.isPath() && p.class == host:
		case before == "":
			return nil, &FormatError{f.At, fmt.Sprintf("%s stands right behind %s: nothing tells where one ends", b.names[i], b.names[i-1])}
		case p.class == free && f.class == free && isBlank(before):
			return nil, &FormatError{f.At, fmt.Sprintf(
				"%s and %s may both have spaces in them, and only a space stands between them: put quotes around them", b.names[i-1], b.names[i],
			)}
		}
	}
	return &b.Template, b.complete()
}

// complete refuses formats without which there is no request.
func (b *builder) complete() error {
	has := func(kinds ...Kind) bool {
		for _, f := range b.fields {
			for _, k := range kinds {
				if f.Kind == k {
					return true
				}
			}
		}
		return false
	}
	end := 1
	if len(b.fields) > 0 {
		end = b.fields[len(b.fields)-1].At
	}
	switch {
	case !has(RequestLine) && !(has(Method) && has(Target, Path, PathAndQuery)):
		return &FormatError{end, "it has no request: $request, %r, or a method and a path"}
	case !has(TimeText, TimeNumber):
		return &FormatError{end, "it has no time: $time_local, $time_iso8601, $msec or %t"}
	}
	return nil
}

// mergePaths makes one field of a path and the query that stands right behind it.
func (b *builder) mergePaths() {
	for i := 0; i+1 < len(b.fields); i++ {
		if b.fields[i].Kind != Path || b.literals[i+1] != "" {
			continue
		}
		n := 0
		switch next := b.fields[i+1]; {
		case next.Kind == MarkedQuery && next.Name == "":
			n = 1
		case next.Kind == MarkedQuery && i+2 < len(b.fields) && b.fields[i+2].Kind == Query && b.literals[i+2] == "":
			n = 2
		default:
			continue
		}
		b.fields[i].Kind = PathAndQuery
		b.fields = append(b.fields[:i+1], b.fields[i+1+n:]...)
		b.names = append(b.names[:i+1], b.names[i+1+n:]...)
		b.literals = append(b.literals[:i+1], b.literals[i+1+n:]...)
	}
}

func (f *Field) isPath() bool { return f.Kind == Target || f.Kind == Path || f.Kind == PathAndQuery }

func isBlank(s string) bool {
	for i := range len(s) {
		if s[i] != ' ' && s[i] != '\t' && s[i] != ',' {
			return false
		}
	}
	return true
}
