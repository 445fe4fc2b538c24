package logformat

import (
	"strings"
	"time"
)

// The formats that come with Apache; nginx's own "combined" looks the same.
const (
	CommonFormat        = `%h %l %u %t "%r" %>s %b`
	CombinedFormat      = CommonFormat + ` "%{Referer}i" "%{User-Agent}i"`
	VhostCombinedFormat = `%v:%p %h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i"`
)

// Apache reads the string of a LogFormat directive, with its quotes escaped or not; the whole directive may be given as
// well.
func Apache(format string) (*Template, error) {
	var b builder
	begin, end := 0, len(format)
	if rest, ok := strings.CutPrefix(format, "LogFormat "); ok {
		text := strings.TrimLeft(rest, " \t")
		begin = len(format) - len(text)
		last := strings.LastIndexByte(format, '"')
		if !strings.HasPrefix(text, `"`) || last <= begin {
			return nil, &FormatError{begin + 1, "a LogFormat directive has its format in double quotes"}
		}
		begin, end = begin+1, last
	}
	for i := begin; i < end; {
		switch c := format[i]; {
		case c == '\\' && i+1 < end:
			if next := format[i+1]; next == 't' || next == 'n' {
				b.literal(map[byte]byte{'t': '\t', 'n': '\n'}[next])
			} else {
				b.literal(next)
			}
			i += 2
		case c == '%' && i+1 < end && format[i+1] == '%':
			b.literal('%')
			i += 2
		case c == '%':
			n, err := b.directive(format[i:end], i+1)
			if err != nil {
				return nil, err
			}
			i += n
		default:
			b.literal(c)
			i++
		}
	}
	return b.finish()
}

// directive reads what begins with a % and returns how long it is.
func (b *builder) directive(text string, at int) (n int, err error) {
	i := 1
	for i < len(text) && strings.IndexByte("!<>,0123456789", text[i]) >= 0 {
		i++
	}
	param, hasParam := "", false
	if i < len(text) && text[i] == '{' {
		length := strings.IndexByte(text[i:], '}')
		if length < 0 {
			return 0, &FormatError{at, "a { without its }"}
		}
		param, hasParam = text[i+1:i+length], true
		i += length + 1
	}
	if i == len(text) {
		return 0, &FormatError{at, "a % without its letter"}
	}
	n = i + 1
	if text[i] == '^' {
		n = min(i+3, len(text))
	}
	f, ok := apacheField(text[i], param)
	switch {
	case !ok && hasParam:
		return 0, &FormatError{at, "%{" + param + "}" + text[i:n] + " is not known"}
	case !ok:
		return 0, &FormatError{at, "%" + text[i:n] + " is not known"}
	}
	f.At = at
	if text[i] == 't' && !hasParam { // %t brings its brackets
		b.literal('[')
		defer b.literal(']')
	}
	b.field(f, text[:n])
	return n, nil
}

// apacheField tells what a directive says. Apache's time is that of the request's beginning unless told otherwise.
func apacheField(letter byte, param string) (Field, bool) {
	switch letter {
	case 'a':
		return Field{Kind: onlyOf(ClientAddress, param == ""), class: token}, true
	case 'h':
		return Field{Kind: ClientAddress, class: address}, true
	case 'A':
		return Field{Kind: ServerAddress, class: token}, true
	case 'B', 'b':
		return Field{Kind: BodyBytes, class: digits}, true
	case 'O':
		return Field{Kind: SentBytes, class: digits}, true
	case 'C':
		return Field{Kind: RequestCookie, Name: param}, param != ""
	case 'i':
		f := Field{Kind: RequestHeader, Name: param}
		switch strings.ToLower(param) {
		case "host":
			f.class = host
		case "x-forwarded-for":
			f.class = list
		}
		return f, param != ""
	case 'o':
		return Field{Kind: ResponseHeader, Name: param}, param != ""
	case 'D':
		return Field{Kind: Duration, Unit: int64(time.Microsecond), class: digits}, true
	case 'T':
		units := map[string]time.Duration{"": time.Second, "s": time.Second, "ms": time.Millisecond, "us": time.Microsecond}
		return Field{Kind: Duration, Unit: int64(units[param]), class: digits}, units[param] != 0
	case 'H':
		return Field{Kind: Protocol, class: token}, true
	case 'm':
		return Field{Kind: Method, class: token}, true
	case 'r':
		return Field{Kind: RequestLine}, true
	case 's':
		return Field{Kind: Status, class: digits}, true
	case 't':
		return apacheTime(param)
	case 'U':
		return Field{Kind: Path}, true
	case 'q':
		return Field{Kind: MarkedQuery, class: token}, true
	case 'v', 'V':
		if param == "domain" { // ours: not an address
			return Field{Kind: ServerName, class: domain}, true
		}
		return Field{Kind: ServerName, class: host}, true
	case 'p':
		return Field{Kind: onlyOf(ServerPort, param != "remote"), class: digits}, true
	case 'k':
		return Field{Kind: ConnectionKept, class: digits}, true
	case 'X':
		return Field{Kind: Completion, class: token}, true
	case 'l', 'L', 'P', 'R', 'I', 'S', '^', 'x', 'c': // x and c: mod_ssl
		return Field{class: token}, true
	case 'e', 'f', 'n', 'u':
		return Field{}, true
	}
	return Field{}, false
}

// apacheTime reads the parameter of %t: what it is the time of, and how it is written.
func apacheTime(param string) (Field, bool) {
	f := Field{Kind: TimeNumber, class: digits}
	param = strings.TrimPrefix(param, "begin:")
	param, f.End = strings.CutPrefix(param, "end:")
	switch param {
	case "":
		f.Kind, f.Name, f.class = TimeText, "02/Jan/2006:15:04:05 -0700", stamp
	case "sec", "%s":
		f.Unit = second
	case "msec":
		f.Unit = int64(time.Millisecond)
	case "usec":
		f.Unit = int64(time.Microsecond)
	case "msec_frac":
		f.Kind, f.Unit = TimeFraction, int64(time.Millisecond)
	case "usec_frac":
		f.Kind, f.Unit = TimeFraction, int64(time.Microsecond)
	default:
		layout, ok := strftime(param)
		f.Kind, f.Name, f.class = TimeText, layout, stamp
		if !strings.ContainsAny(layout, " \t") {
			f.class = token
		}
		return f, ok
	}
	return f, true
}

// strftime writes a C time format as a layout of time.Parse.
func strftime(format string) (layout string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		part, known := map[byte]string{
			'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'e': "_2", 'j': "002", 'b': "Jan", 'h': "Jan", 'B': "January",
			'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM", 'a': "Mon", 'A': "Monday", 'z': "-0700", 'Z': "MST",
			'T': "15:04:05", 'R': "15:04", 'F': "2006-01-02", 'D': "01/02/06", 'n': "\n", 't': "\t", '%': "%",
		}[format[i]]
		if !known {
			return "", false
		}
		b.WriteString(part)
	}
	return b.String(), true
}
