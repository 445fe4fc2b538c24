package logformat

import "bytes"

// Bounds the work for one line, in bytes looked at: a line that fits in no way must not cost much more than one that does.
const (
	stepsPerByte = 32
	stepsAtLeast = 4096
)

// Match cuts a line, without its line end, into the values of the fields and appends them to values; they alias the line
// and are still escaped. It reports whether the line is of this format.
func (t *Template) Match(line []byte, values [][]byte) ([][]byte, bool) {
	m := matcher{t: t, line: line, values: values, steps: stepsAtLeast + stepsPerByte*len(line)}
	if !bytes.HasPrefix(line, []byte(t.literals[0])) {
		return values, false
	}
	ok := m.from(0, len(t.literals[0]))
	return m.values, ok
}

type matcher struct {
	t      *Template
	line   []byte
	values [][]byte
	steps  int // left
}

// from matches field i and everything behind it at pos. Of the ways in which a line could be cut it takes the one with
// the shortest values, the first ones first.
func (m *matcher) from(i, pos int) bool {
	if i == len(m.t.fields) {
		return pos == len(m.line)
	}
	f := &m.t.fields[i]
	behind := m.t.literals[i+1]
	last := i+1 == len(m.t.fields)
	path := i+1 < len(m.t.fields) && behind == "" // the next one begins with a slash
	for end := pos; end <= len(m.line); {
		if m.steps--; m.steps < 0 {
			return false
		}
		fits := false
		switch {
		case last && behind == "":
			fits = end == len(m.line)
		case path:
			fits = end < len(m.line) && m.line[end] == '/'
		default:
			fits = end+len(behind) <= len(m.line) && string(m.line[end:end+len(behind)]) == behind
		}
		if fits && f.class.whole(m.line[pos:end]) {
			m.values = append(m.values, m.line[pos:end])
			if m.from(i+1, end+len(behind)) {
				return true
			}
			m.values = m.values[:len(m.values)-1]
		}
		if end == len(m.line) || !f.class.has(m.line, end) {
			return false
		}
		if m.line[end] == '\\' && m.t.escape != None && end+1 < len(m.line) {
			end++
		}
		end++
	}
	return false
}

// has reports whether the byte at i may stand in a value of that class.
func (c class) has(line []byte, i int) bool {
	b := line[i]
	switch c {
	case token, address:
		return b != ' ' && b != '\t'
	case digits:
		return b >= '0' && b <= '9' || b == '-' || b == '.'
	case host:
		return b != ' ' && b != '\t' && b != '/'
	case domain:
		return b != ' ' && b != '\t' && b != '/' && b != ':' && b != ','
	case list:
		if b != ' ' {
			return b != '\t'
		}
		before := i > 0 && (line[i-1] == ',' || line[i-1] == ':')
		return before || i+1 < len(line) && line[i+1] == ':'
	}
	return true
}

// whole reports whether a value whose bytes all fit is one of that class.
func (c class) whole(value []byte) bool {
	switch c {
	case address:
		return string(value) != "-"
	case domain:
	default:
		return true
	}
	return bytes.ContainsFunc(value, func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' })
}

// Value undoes the escaping of a value that Match returned. It is nil when the line has none, and aliases the line where
// nothing was escaped.
func (t *Template) Value(raw []byte) []byte {
	if len(raw) == 0 || t.escape == Hex && string(raw) == "-" {
		return nil
	}
	if t.escape == None || bytes.IndexByte(raw, '\\') < 0 {
		return raw
	}
	value := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c != '\\' || i+1 == len(raw) {
			value = append(value, c)
			continue
		}
		i++
		switch c = raw[i]; c {
		case 'n', 'r', 't', 'b', 'f', 'v':
			value = append(value, "\n\r\t\b\f\v"[bytes.IndexByte([]byte("nrtbfv"), c)])
		case 'x':
			i = hex(&value, raw, i, 2)
		case 'u':
			i = hex(&value, raw, i, 4)
		case '"', '\\', '/':
			value = append(value, c)
		default:
			value = append(value, '\\', c)
		}
	}
	return value
}

// hex appends the character that n digits behind i name and returns the index of the last one; without digits it
// appends what stands there.
func hex(value *[]byte, raw []byte, i, n int) int {
	r := rune(0)
	for _, c := range raw[i+1 : min(i+1+n, len(raw))] {
		d := bytes.IndexByte([]byte("0123456789abcdef"), c|0x20)
		if d < 0 {
			break
		}
		r, n = r<<4|rune(d), n-1
	}
	if n > 0 {
		*value = append(*value, '\\', raw[i])
		return i
	}
	if raw[i] == 'x' {
		*value = append(*value, byte(r))
		return i + 2
	}
	*value = append(*value, string(r)...) // nginx writes only control characters so
	return i + 4
}
