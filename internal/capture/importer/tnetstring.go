package importer

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// mitmproxy writes its flows as tnetstrings: LENGTH:DATA and a byte that tells the type. Values are read here as nil,
// bool, int64, float64, []byte (for bytes and text alike), []any and tnetDict; what is []byte aliases the input.
type tnetDict map[string]any

// tnetDepth bounds the nesting; a flow has four levels.
const tnetDepth = 32

var (
	errTnetLength = errors.New("a value does not begin with its length")
	errTnetType   = errors.New("a value has no type that is known")
	errTnetDepth  = fmt.Errorf("values are nested deeper than %d", tnetDepth)
	errTnetShort  = errors.New("a value is longer than what holds it")
	errTnetKey    = errors.New("a key is no text")
)

// readTnet reads the data of the next value and its type. Larger ones than most are skipped: then data is nil.
func readTnet(r *bufio.Reader, most int64) (data []byte, kind byte, err error) {
	var length int64
	for digits := 0; ; digits++ {
		c, err := r.ReadByte()
		switch {
		case err != nil && digits > 0:
			return nil, 0, io.ErrUnexpectedEOF
		case err != nil:
			return nil, 0, err
		case c == ':' && digits > 0:
		case c < '0' || c > '9' || digits == 12:
			return nil, 0, errTnetLength
		default:
			length = 10*length + int64(c-'0')
			continue
		}
		break
	}
	if length > most {
		if n, err := io.CopyN(io.Discard, r, length); err != nil {
			_ = n
			return nil, 0, unexpected(err)
		}
	} else {
		data = make([]byte, length)
		if _, err := io.ReadFull(r, data); err != nil {
			return nil, 0, unexpected(err)
		}
	}
	kind, err = r.ReadByte()
	return data, kind, unexpected(err)
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// cutTnet reads the value at the beginning of b and returns what is behind it.
func cutTnet(b []byte, depth int) (value any, rest []byte, err error) {
	n := 0
	i := 0
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		if n = 10*n + int(b[i]-'0'); n > len(b) {
			return nil, nil, errTnetShort
		}
	}
	switch {
	case i == 0 || i == len(b) || b[i] != ':':
		return nil, nil, errTnetLength
	case len(b)-i-1 <= n:
		return nil, nil, errTnetShort
	}
	data := b[i+1 : i+1+n]
	value, err = tnetValue(data, b[i+1+n], depth)
	return value, b[i+n+2:], err
}

func tnetValue(data []byte, kind byte, depth int) (any, error) {
	if depth > tnetDepth {
		return nil, errTnetDepth
	}
	switch kind {
	case ',', ';':
		return data, nil
	case '#':
		return strconv.ParseInt(string(data), 10, 64)
	case '^':
		return strconv.ParseFloat(string(data), 64)
	case '!':
		return string(data) == "true", nil
	case '~':
		return nil, nil
	case ']':
		var list []any
		for len(data) > 0 {
			v, rest, err := cutTnet(data, depth+1)
			if err != nil {
				return nil, err
			}
			list, data = append(list, v), rest
		}
		return list, nil
	case '}':
		dict := make(tnetDict)
		for len(data) > 0 {
			key, rest, err := cutTnet(data, depth+1)
			if err != nil {
				return nil, err
			}
			name, ok := key.([]byte)
			if !ok {
				return nil, errTnetKey
			}
			if dict[string(name)], data, err = cutTnet(rest, depth+1); err != nil {
				return nil, err
			}
		}
		return dict, nil
	}
	return nil, errTnetType
}

// The values of a dict, as far as they are of that type.

func (d tnetDict) bytes(key string) []byte { v, _ := d[key].([]byte); return v }

func (d tnetDict) dict(key string) tnetDict {
	v, _ := d[key].(tnetDict)
	return v
}

func (d tnetDict) number(key string) float64 {
	switch v := d[key].(type) {
	case int64:
		return float64(v)
	case float64:
		return v
	}
	return 0
}
