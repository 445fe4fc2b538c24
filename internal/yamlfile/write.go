package yamlfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// FromJSON writes one JSON value as YAML, with its members in their order: a member a line, and lists of scalars in one line.
// Every string is quoted, so that none is taken for something else, and control characters are escaped, which a terminal would obey:
// libraries write them as they are.
func FromJSON(text []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	v, err := read(dec)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	var b []byte
	switch {
	case isBlock(v):
		b = block(b, v, 0)
	default:
		b = append(flow(b, v), '\n')
	}
	return b, nil
}

// member is one of an object, which keeps its order.
type member struct {
	name  string
	value any
}

// read returns a []member, []any, string, json.Number, bool or nil.
func read(dec *json.Decoder) (any, error) {
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		object := []member{}
		for dec.More() {
			name, err := dec.Token()
			if err != nil {
				return nil, err
			}
			value, err := read(dec)
			if err != nil {
				return nil, err
			}
			object = append(object, member{fmt.Sprint(name), value})
		}
		_, err = dec.Token()
		return object, err
	case json.Delim('['):
		list := []any{}
		for dec.More() {
			value, err := read(dec)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		_, err = dec.Token()
		return list, err
	}
	return t, nil
}

// isBlock reports whether a value takes several lines.
func isBlock(v any) bool {
	switch v := v.(type) {
	case []member:
		return len(v) > 0
	case []any:
		return slices.ContainsFunc(v, func(e any) bool {
			switch e.(type) {
			case []member, []any:
				return true
			}
			return false
		})
	}
	return false
}

// block writes lines of an indent, each with a line end.
func block(b []byte, v any, indent int) []byte {
	margin := strings.Repeat("  ", indent)
	switch v := v.(type) {
	case []member:
		for _, m := range v {
			b = append(append(b, margin...), name(m.name)...)
			b = append(b, ':')
			if isBlock(m.value) {
				b = block(append(b, '\n'), m.value, indent+1)
				continue
			}
			b = append(flow(append(b, ' '), m.value), '\n')
		}
	case []any:
		for _, e := range v {
			b = append(append(b, margin...), '-', ' ')
			if !isBlock(e) {
				b = append(flow(b, e), '\n')
				continue
			}
			// Its first line stands behind the dash.
			b = append(b, bytes.TrimLeft(block(nil, e, indent+1), " ")...)
		}
	}
	return b
}

// flow writes a value in one line.
func flow(b []byte, v any) []byte {
	switch v := v.(type) {
	case []member:
		return append(b, "{}"...) // others are blocks
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = flow(b, e)
		}
		return append(b, ']')
	case string:
		return strconv.AppendQuote(b, v) // its escapes are YAML's too
	case nil:
		return append(b, "null"...)
	}
	return fmt.Append(b, v)
}

// words that YAML, or an older version of it, takes for something else than text.
var words = []string{"null", "true", "false", "yes", "no", "on", "off", "y", "n"} //nolint:gochecknoglobals // constant

func name(s string) string {
	plain := s != "" && !slices.Contains(words, strings.ToLower(s))
	for i, c := range []byte(s) {
		plain = plain && (c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || i > 0 && (c == '-' || c >= '0' && c <= '9'))
	}
	if plain {
		return s
	}
	return strconv.Quote(s)
}
