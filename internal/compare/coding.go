package compare

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"

	"github.com/reprise-io/reprise/internal/traffic"
)

// coding returns the content coding in lower case; empty for none.
func coding(fields []traffic.Field) string {
	v, _ := traffic.Get(fields, "Content-Encoding")
	c := strings.ToLower(strings.TrimSpace(string(v)))
	switch c {
	case "identity":
		return ""
	case "x-gzip":
		return "gzip"
	}
	return c
}

// decoded returns the body without its content coding, at most maxDecoded bytes of it, and whether it is cut. ok is
// false when the coding is not one of ours or the body is not what it says.
func decoded(r *traffic.Response, cut bool) (body []byte, isCut, ok bool) {
	switch coding(r.Headers) {
	case "":
		return r.Body, cut, true
	case "gzip":
	default:
		return nil, cut, false
	}
	if len(r.Body) == 0 {
		return r.Body, cut, true
	}
	z, err := gzip.NewReader(bytes.NewReader(r.Body))
	if err != nil {
		return nil, cut, false
	}
	body, err = io.ReadAll(io.LimitReader(z, maxDecoded+1))
	switch {
	case len(body) > maxDecoded:
		return body[:maxDecoded], true, true
	case err == nil:
		return body, cut, true
	case cut && errors.Is(err, io.ErrUnexpectedEOF):
		return body, true, true
	}
	return nil, cut, false
}
