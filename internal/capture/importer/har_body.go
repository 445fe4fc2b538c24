package importer

import (
	"bytes"
	"encoding/base64"
	"mime"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/reprise-io/reprise/internal/traffic"
)

// bytes returns a body as it was before any content coding, and whether the file has it. sizes are what the entry says
// of its length; 0 is unknown.
//
// A HAR holds text. Where it is not base64, the creator made text of bytes, by the charset or byte for byte (U+0000 to
// U+00FF, also for what never was text). Which of the two it was is told by the length, else by the media type.
func (b *harBody) bytes(mediaType string, sizes ...int64) ([]byte, bool) {
	text := b.Text.text
	if b.isBase64() {
		text = strings.NewReplacer("\n", "", "\r", "", " ", "", "-", "+", "_", "/").Replace(text)
		if b.Text.cut {
			text = text[:len(text)/4*4]
		}
		body, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
		return body, err == nil
	}
	chars := int64(utf8.RuneCountInString(text))
	whole := int64(len(text))
	switch {
	case chars == whole || strings.ContainsFunc(text, func(r rune) bool { return r > 0xff }):
	case slices.Contains(sizes, whole):
	case slices.Contains(sizes, chars), isByteForByte(mediaType):
		body := make([]byte, 0, chars)
		for _, r := range text {
			body = append(body, byte(r))
		}
		return body, true
	}
	return []byte(text), true
}

func (b *harBody) isBase64() bool {
	return strings.EqualFold(b.Encoding.text, "base64") || strings.EqualFold(b.Encoding2.text, "base64")
}

// mediaType returns what the body itself or its headers say.
func (b *harBody) mediaType(headers []traffic.Field) string {
	if b.MediaType.text != "" {
		return b.MediaType.text
	}
	value, _ := traffic.Get(headers, "Content-Type")
	return string(value)
}

// isByteForByte reports whether text of that type is likely to have one character for each byte.
func isByteForByte(mediaType string) bool {
	name, params, _ := mime.ParseMediaType(mediaType)
	if charset := strings.ToLower(params["charset"]); charset != "" {
		return charset == "iso-8859-1" || charset == "latin1" || charset == "latin-1"
	}
	if name == "" || strings.HasPrefix(name, "text/") || strings.HasPrefix(name, "multipart/") {
		return false
	}
	for _, text := range [...]string{"json", "xml", "javascript", "ecmascript", "urlencoded", "graphql", "yaml"} {
		if strings.Contains(name, text) {
			return false
		}
	}
	return true
}

// withoutCoding takes Content-Encoding off the headers of a body, and Content-Length, which is that of the coded bytes:
// a HAR has the decoded body. One that still begins as its coding does is left alone, and so are bytes that are just as
// many as went over the wire, bodySize where the headers do not say: brotli and deflate begin like nothing.
func (b *harBody) withoutCoding(headers []traffic.Field, body []byte, bodySize int64) []traffic.Field {
	_, coded := traffic.Get(headers, "Content-Encoding")
	if !coded || bytes.HasPrefix(body, []byte("\x1f\x8b")) || bytes.HasPrefix(body, []byte("\x28\xb5\x2f\xfd")) {
		return headers
	}
	sent := contentLength(headers)
	if sent == 0 {
		sent = bodySize
	}
	if n := int64(len(body)); b.isBase64() && sent == n && b.Size.size() != n {
		return headers
	}
	return slices.DeleteFunc(headers, func(h traffic.Field) bool {
		return traffic.EqualName(h.Name, "Content-Encoding") || traffic.EqualName(h.Name, "Content-Length")
	})
}

// uncodedLength returns Content-Length when it is that of the decoded body; 0 when it is not, or absent.
func uncodedLength(headers []traffic.Field) int64 {
	if _, coded := traffic.Get(headers, "Content-Encoding"); coded {
		return 0
	}
	return contentLength(headers)
}

func contentLength(headers []traffic.Field) int64 {
	value, _ := traffic.Get(headers, "Content-Length")
	var n int64
	for _, c := range value {
		if c < '0' || c > '9' || n > 1<<50 {
			return 0
		}
		n = 10*n + int64(c-'0')
	}
	return n
}
