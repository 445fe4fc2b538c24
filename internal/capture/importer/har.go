package importer

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/reprise-io/reprise/internal/traffic"
)

// harReader walks through a HAR and takes its entries one by one, so that only one is held at a time.
type harReader struct {
	file    *File
	dec     *json.Decoder
	entries *entryReader
	stats   *Stats
	each    func(*traffic.Exchange) error

	count   int64 // entries begun
	first   error // why the first entry that could not be read could not
	firstAt int64
	hasLog  bool
	hasList bool
}

func (f *File) eachHAR(ctx context.Context, stats *Stats, each func(*traffic.Exchange) error) error {
	hash, err := f.survey(ctx, nil)
	if err != nil {
		return err
	}
	content, err := f.content(&f.read)
	if err != nil {
		return err
	}
	text := bufio.NewReaderSize(&contextReader{ctx, content}, 64<<10)
	if head, _ := text.Peek(len(bom)); string(head) == bom {
		_, _ = text.Discard(len(bom))
	}
	h := &harReader{
		file: f, dec: json.NewDecoder(&longStrings{src: text, most: max(longString, 8*f.bodyMax)}), stats: stats, each: each,
		entries: &entryReader{file: f, hash: hash, last: f.modTime},
	}
	err = h.document()
	if _, ok := errors.AsType[stopped](err); ok {
		return err
	}
	return h.verdict(err)
}

// document reads the one object that a HAR is.
func (h *harReader) document() error {
	err := h.object(func(key string) error {
		if key != "log" {
			return h.skip()
		}
		h.hasLog = true
		return h.object(func(key string) error {
			if key != "entries" {
				return h.skip()
			}
			h.hasList = true
			return h.list()
		})
	})
	if err != nil {
		return err
	}
	if _, err := h.dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something behind the end of the HAR")
	}
	return nil
}

// object calls each for every key of the object that comes next; each reads the value.
func (h *harReader) object(each func(key string) error) error {
	token, err := h.token()
	if err != nil {
		return err
	}
	if token != json.Delim('{') {
		return fmt.Errorf("a %s stands where an object should", kindOf(token))
	}
	for h.dec.More() {
		key, err := h.token()
		if err != nil {
			return err
		}
		name, _ := key.(string)
		if err := each(name); err != nil {
			return err
		}
	}
	_, err = h.token()
	return err
}

// list reads the entries.
func (h *harReader) list() error {
	token, err := h.token()
	if err != nil {
		return err
	}
	if token == nil {
		return nil // null: a creator without requests
	}
	if token != json.Delim('[') {
		return fmt.Errorf("entries is a %s, not a list", kindOf(token))
	}
	for h.dec.More() {
		h.count++
		if err := h.entry(); err != nil {
			return err
		}
	}
	_, err = h.token()
	return err
}

func (h *harReader) entry() error {
	var e harEntry
	err := h.dec.Decode(&e)
	if err != nil && !isShape(err) {
		return noEOF(err)
	}
	var x *traffic.Exchange
	if err == nil {
		x, err = h.entries.exchange(&e)
	} else {
		h.entries.index++
	}
	switch {
	case errors.Is(err, errNotHTTP):
		h.stats.Ignored++
		return nil
	case err != nil:
		if h.stats.Broken++; h.first == nil {
			h.first, h.firstAt = plainShape(err), h.count
		}
		return nil
	}
	return h.each(x)
}

// isShape reports whether an entry was JSON but not what an entry is, so that the next one can be read.
func isShape(err error) bool {
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return true
	}
	_, ok := errors.AsType[*shapeError](err)
	return ok
}

// plainShape says of a value of the wrong kind what it is, without words of Go.
func plainShape(err error) error {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return &fieldError{field: e.Field, got: e.Value, err: err}
	}
	return err
}

// fieldError is about a list or object where the other, or a plain value, should be.
type fieldError struct {
	field, got string
	err        error
}

func (e *fieldError) Error() string {
	return fmt.Sprintf("its %s is of another kind than in a HAR: %s", cmp.Or(e.field, "value"), e.got)
}

func (e *fieldError) Unwrap() error { return e.err }

// skip reads over the value that comes next without holding it.
func (h *harReader) skip() error {
	for depth := 0; ; {
		token, err := h.token()
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

func (h *harReader) token() (json.Token, error) {
	token, err := h.dec.Token()
	return token, noEOF(err)
}

// noEOF says what it means when the JSON ends too early.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the file ends before the JSON does")
	}
	return err
}

func kindOf(token json.Token) string {
	switch token.(type) {
	case nil:
		return "null"
	case string:
		return "string"
	case bool:
		return "boolean"
	case json.Delim:
		return "list or object"
	}
	return "number"
}

// verdict is the error at the end: nil when everything could be read.
func (h *harReader) verdict(err error) error {
	f := h.file
	switch {
	case err != nil && h.count > 0:
		return f.incomplete(h.stats, fmt.Sprintf("broken off at entry %d, byte %d", h.count, h.dec.InputOffset()), err.Error(), err)
	case err != nil && h.hasLog:
		return f.incomplete(h.stats, fmt.Sprintf("broken off at byte %d", h.dec.InputOffset()), err.Error(), err)
	case err != nil:
		return f.incomplete(h.stats, "this is no HAR", err.Error(), err)
	case !h.hasLog:
		return f.incomplete(h.stats, "this is no HAR", `the JSON has no "log" at its top`, nil)
	case !h.hasList:
		return f.incomplete(h.stats, "this is no HAR", `its "log" has no "entries"`, nil)
	case h.first != nil:
		return f.incomplete(h.stats, fmt.Sprintf("%d of %d entries could not be read, the first is entry %d",
			h.stats.Broken, h.count, h.firstAt), h.first.Error(), h.first)
	}
	return nil
}
