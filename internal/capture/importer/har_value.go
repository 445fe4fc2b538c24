package importer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// What a HAR has, as far as an exchange needs it. Creators differ in what they leave out, give as null, or write as
// text where a number should be: the types below read all of that. Everything else is skipped, custom fields too.
type harEntry struct {
	Started    harText  `json:"startedDateTime"`
	Time       harReal  `json:"time"` // ms
	Server     harText  `json:"serverIPAddress"`
	Connection harText  `json:"connection"`
	FromCache  harText  `json:"_fromCache"` // Chrome: "memory" or "disk"
	Request    *harSent `json:"request"`
	Response   *harGot  `json:"response"`
	Timings    *struct {
		Wait harReal `json:"wait"` // ms
	} `json:"timings"`
}

type harSent struct {
	Method   harText    `json:"method"`
	URL      harText    `json:"url"`
	Version  harText    `json:"httpVersion"`
	Headers  []harField `json:"headers"`
	BodySize harReal    `json:"bodySize"`
	Body     *harBody   `json:"postData"`
}

type harGot struct {
	Status   harReal    `json:"status"`
	Version  harText    `json:"httpVersion"`
	Headers  []harField `json:"headers"`
	BodySize harReal    `json:"bodySize"`
	Content  *harBody   `json:"content"`
}

type harField struct {
	Name  harText `json:"name"`
	Value harText `json:"value"`
}

// harBody is postData or content.
type harBody struct {
	MediaType harText `json:"mimeType"`
	Text      harText `json:"text"`
	Encoding  harText `json:"encoding"`
	Encoding2 harText `json:"_encoding"`
	Size      harReal `json:"size"`
	Params    harSome `json:"params"`
}

// harSome tells whether there is anything.
type harSome bool

func (s *harSome) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "null", "[]", "{}", `""`:
	default:
		*s = true
	}
	return nil
}

// harText is a string; a number or a boolean gives its spelling, null and absence the zero value.
type harText struct {
	text string
	has  bool
	cut  bool // it was longer, see longStrings
}

// shapeError is about a value that is JSON but cannot be what it should be.
type shapeError struct{ want, got string }

func (e *shapeError) Error() string {
	return fmt.Sprintf("a %s stands where a %s should", e.got, e.want)
}

func shapeOf(b []byte) string {
	if b[0] == '[' {
		return "list"
	}
	return "object"
}

func (t *harText) UnmarshalJSON(b []byte) error {
	switch b[0] {
	case '"':
		t.has = true
		err := json.Unmarshal(b, &t.text)
		t.text, t.cut = strings.CutSuffix(t.text, cutMark)
		return err
	case 'n':
		return nil
	case '{', '[':
		return &shapeError{"string", shapeOf(b)}
	}
	t.text, t.has = string(b), true
	return nil
}

// harReal is a number, also as text; null, absence and text that is no number give the zero value.
type harReal struct {
	number float64
	has    bool
}

func (r *harReal) UnmarshalJSON(b []byte) error {
	switch b[0] {
	case '{', '[':
		return &shapeError{"number", shapeOf(b)}
	}
	n, err := strconv.ParseFloat(string(bytes.Trim(b, `" `)), 64)
	if err == nil && !math.IsNaN(n) {
		r.number, r.has = n, true
	}
	return nil
}

// size is a number of bytes; 0 when it is absent or, as -1, unknown.
func (r harReal) size() int64 {
	if !(r.number > 0) || r.number > 1<<53 {
		return 0
	}
	return int64(r.number)
}

// milliseconds is a duration; 0 when it is absent or unknown.
func (r harReal) milliseconds() time.Duration {
	if !(r.number > 0) || r.number > 1e12 {
		return 0
	}
	return time.Duration(r.number * float64(time.Millisecond))
}

// harTime reads startedDateTime. A time without a zone is taken as UTC, a number as milliseconds since 1970, or seconds
// where it would be in 1970 else.
func harTime(s string) (time.Time, bool) {
	s = strings.Replace(strings.TrimSpace(s), " ", "T", 1)
	for _, layout := range [...]string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04:05.999999999"} {
		if t, err := time.Parse(layout, s); err == nil && t.Year() >= 1970 && t.Year() < 2262 {
			return t.UTC(), true
		}
	}
	const year = 365 * 24 * 3600 * 1000
	n, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil || !(n > 0) || n > 200*year:
		return time.Time{}, false
	case n < year:
		n *= 1000
	}
	return time.UnixMicro(int64(n * 1000)).UTC(), true
}
