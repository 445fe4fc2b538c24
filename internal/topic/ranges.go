package topic

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
)

// Range is a span of offsets [Start, End).
type Range struct{ Start, End int64 }

// Ranges are spans of finished offsets, ascending and apart.
type Ranges []Range

// maxRanges bounds the text of Ledger.Ranges; Kafka keeps 4 KiB of metadata with a commit.
const maxRanges = 3 << 10

// rangesMark starts the text, so that a later form can be told from this one, and both from a foreign client's metadata.
const rangesMark = "r1."

// The text is the mark and, in base64, pairs of uvarints: the distance from the end of the range before (from 0 for the
// first) and the length.
type rangeWriter struct {
	raw []byte
	end int64
}

func newRangeWriter() *rangeWriter { return &rangeWriter{raw: make([]byte, 0, 256)} }

// add reports whether r fitted.
func (w *rangeWriter) add(r Range) bool {
	mark := len(w.raw)
	w.raw = binary.AppendUvarint(w.raw, uint64(r.Start-w.end))
	w.raw = binary.AppendUvarint(w.raw, uint64(r.End-r.Start))
	if len(rangesMark)+base64.RawURLEncoding.EncodedLen(len(w.raw)) > maxRanges {
		w.raw = w.raw[:mark]
		return false
	}
	w.end = r.End
	return true
}

func (w *rangeWriter) String() string {
	if len(w.raw) == 0 {
		return ""
	}
	return rangesMark + base64.RawURLEncoding.EncodeToString(w.raw)
}

// ParseRanges reads what Ledger.Ranges wrote. Empty text, or metadata that another client wrote, is no range; damaged text
// is an error.
func ParseRanges(s string) (Ranges, error) {
	text, ok := strings.CutPrefix(s, rangesMark)
	if !ok {
		return nil, nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("finished ranges %.40q: %w", s, err)
	}
	var ranges Ranges
	var end uint64
	for len(raw) > 0 {
		gap, n := binary.Uvarint(raw)
		length, m := binary.Uvarint(raw[max(n, 0):])
		switch {
		case n <= 0 || m <= 0:
			return nil, fmt.Errorf("finished ranges %.40q: a number is cut off or too large", s)
		case gap > math.MaxInt64-end || length == 0 || length > math.MaxInt64-end-gap || gap == 0 && len(ranges) > 0:
			return nil, fmt.Errorf("finished ranges %.40q: range %d is empty, touches the one before or ends beyond the last offset",
				s, len(ranges))
		}
		end += gap + length
		ranges = append(ranges, Range{int64(end - length), int64(end)})
		raw = raw[n+m:]
	}
	return ranges, nil
}

// from returns what of them is not below an offset.
func (r Ranges) from(offset int64) Ranges {
	i := sort.Search(len(r), func(i int) bool { return r[i].End > offset })
	if i == len(r) {
		return nil
	}
	r = slices.Clone(r[i:])
	r[0].Start = max(r[0].Start, offset)
	return r
}

// Contains reports whether offset lies in a range.
func (r Ranges) Contains(offset int64) bool {
	i := sort.Search(len(r), func(i int) bool { return r[i].End > offset })
	return i < len(r) && r[i].Start <= offset
}
