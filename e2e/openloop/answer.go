package openloop

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// answer reads one response as it comes. The zero value waits for its first byte.
type answer struct {
	head   []byte // as far as it has come
	inBody bool
	left   int // bytes of the body that have not come
	status int
	closes bool // the server closes the connection behind it
}

const headMax = 64 << 10

var (
	errMore    = errors.New("more came than the answer")
	errHead    = fmt.Errorf("an answer's head is larger than %d bytes", headMax)
	errStatus  = errors.New("an answer has no status line")
	errNoFrame = errors.New("an answer has no Content-Length")
)

// take reads what came next; done: the answer is whole.
func (a *answer) take(data []byte) (done bool, err error) {
	for !a.inBody {
		had := len(a.head)
		a.head = append(a.head, data[:min(len(data), headMax-had)]...)
		from := max(0, had-3) // the empty line may have begun there
		end := bytes.Index(a.head[from:], []byte("\r\n\r\n"))
		if end < 0 {
			if len(a.head) == headMax {
				return false, errHead
			}
			return false, nil
		}
		end += from + 4
		data = data[end-had:]
		if err := a.parse(a.head[:end]); err != nil {
			return false, err
		}
		a.head = a.head[:0]
	}
	if len(data) > a.left {
		return false, errMore
	}
	a.left -= len(data)
	return a.left == 0, nil
}

// parse reads a head. Behind one with a status of 1xx comes another.
func (a *answer) parse(head []byte) error {
	line, fields, _ := bytes.Cut(head, []byte("\r\n"))
	version, rest, _ := bytes.Cut(line, []byte(" "))
	if !bytes.HasPrefix(version, []byte("HTTP/1.")) || len(rest) < 3 {
		return errStatus
	}
	var err error
	if a.status, err = strconv.Atoi(string(rest[:3])); err != nil || a.status < 100 {
		return errStatus
	}
	if a.status < 200 {
		return nil
	}
	a.inBody, a.left = true, -1
	for len(fields) > 0 {
		line, fields, _ = bytes.Cut(fields, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if a.left, err = strconv.Atoi(string(value)); err != nil || a.left < 0 {
				return fmt.Errorf("an answer's Content-Length is %.20q", value)
			}
		case bytes.EqualFold(name, []byte("Connection")):
			a.closes = bytes.EqualFold(value, []byte("close"))
		}
	}
	if a.status == 204 || a.status == 304 {
		a.left = 0
	}
	if a.left < 0 {
		return errNoFrame
	}
	return nil
}
