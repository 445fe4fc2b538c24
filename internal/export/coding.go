package export

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/reprise-io/reprise/internal/traffic"
)

// mostDecoded bounds what a coded body may become.
const mostDecoded = 8 << 20

// decoded takes the content coding off a whole body. What is not coded, or cannot be decoded whole, is returned as it is.
func decoded(fields []traffic.Field, body []byte) []byte {
	coding, _ := traffic.Get(fields, "Content-Encoding")
	var r io.Reader
	switch strings.ToLower(strings.TrimSpace(string(coding))) {
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return body
		}
		r = z
	case "deflate":
		z, err := zlib.NewReader(bytes.NewReader(body))
		if err != nil {
			return body
		}
		r = z
	case "br":
		r = brotli.NewReader(bytes.NewReader(body))
	case "zstd":
		z, err := zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(mostDecoded))
		if err != nil {
			return body
		}
		defer z.Close()
		r = z
	default:
		return body
	}
	plain, err := io.ReadAll(io.LimitReader(r, mostDecoded+1))
	if err != nil || len(plain) > mostDecoded {
		return body
	}
	return plain
}
