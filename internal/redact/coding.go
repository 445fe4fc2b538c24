package redact

import (
	"bytes"
	"errors"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	"github.com/reprise-io/reprise/internal/traffic"
)

// coding is a content coding that can be taken off and put on again.
type coding uint8

const (
	identity coding = iota
	gzipped
	zlibbed
	deflated
	zstandard
	brotlied
)

// maxCodings bounds codings on top of each other.
const maxCodings = 3

// A body may decode to maxPlain bytes, and to no more than slack + maxRatio times its size.
const (
	maxPlain = 8 << 20
	maxRatio = 256
	slack    = 64 << 10
)

// brotliLevel is quick; what br takes more than gzip it takes above it.
const brotliLevel = 2

var errTooLarge = errors.New("decodes to too much")

// codecs keeps decoders and encoders for reuse.
type codecs struct {
	unzip    *gzip.Reader
	zip      *gzip.Writer
	unbrotli *brotli.Reader
	plain    bytes.Buffer
}

// contentCodings returns the codings of a body in the order in which they were put on. known is false for one that cannot
// be taken off here, and for more than maxCodings.
func contentCodings(headers []traffic.Field) (all []coding, known bool) {
	for i := range headers {
		if !traffic.EqualName(headers[i].Name, "Content-Encoding") {
			continue
		}
		for token := range bytes.SplitSeq(headers[i].Value, []byte(",")) {
			c, ok := codingOf(token)
			if !ok || len(all) == maxCodings {
				return nil, false
			}
			if c != identity {
				all = append(all, c)
			}
		}
	}
	return all, true
}

// codingOf returns the coding of a name.
func codingOf(name []byte) (c coding, known bool) {
	name = bytes.TrimSpace(name)
	switch {
	case len(name) == 0, traffic.EqualName(name, "identity"), traffic.EqualName(name, "none"):
		return identity, true
	case traffic.EqualName(name, "gzip"), traffic.EqualName(name, "x-gzip"):
		return gzipped, true
	case traffic.EqualName(name, "deflate"):
		return zlibbed, true
	case traffic.EqualName(name, "zstd"):
		return zstandard, true
	case traffic.EqualName(name, "br"):
		return brotlied, true
	}
	return identity, false
}

// sniffCoding knows compressed content that no header declares: an uploaded file.
func sniffCoding(b []byte) coding {
	switch {
	case bytes.HasPrefix(b, []byte("\x1f\x8b\x08")):
		return gzipped
	case bytes.HasPrefix(b, []byte("\x28\xb5\x2f\xfd")):
		return zstandard
	}
	return identity
}

// undo returns a body without its codings, valid until the next call, and these, in the order in which they were put on. One
// that no header declares is taken off too, where it can be.
func (c *codecs) undo(b []byte, headers []traffic.Field) (plain []byte, codings []coding, err error) {
	codings, known := contentCodings(headers)
	if !known {
		return nil, nil, errCoding
	}
	declared := len(codings) > 0
	if undeclared := sniffCoding(b); !declared && undeclared != identity {
		codings = append(codings, undeclared)
	}
	plain = b
	for i := len(codings) - 1; i >= 0; i-- {
		out, as, err := c.decode(codings[i], plain)
		if err != nil && !declared {
			return b, nil, nil // it only looked compressed
		}
		if err != nil {
			return nil, nil, err
		}
		if plain, codings[i] = out, as; i > 0 { // the next one needs the buffer
			plain = bytes.Clone(out)
		}
	}
	return plain, codings, nil
}

// decode returns the decoded body, valid until the next call, and the coding that it really had. A body that was cut
// gives what can be decoded of it.
func (c *codecs) decode(k coding, b []byte) (plain []byte, as coding, err error) {
	var r io.Reader
	switch k {
	case gzipped:
		if c.unzip == nil {
			c.unzip = new(gzip.Reader)
		}
		r, err = c.unzip, c.unzip.Reset(bytes.NewReader(b))
	case zlibbed: // "deflate" is zlib, but some send it raw
		if r, err = zlib.NewReader(bytes.NewReader(b)); errors.Is(err, zlib.ErrHeader) {
			k, r, err = deflated, flate.NewReader(bytes.NewReader(b)), nil
		}
	case zstandard:
		var z *zstd.Decoder
		z, err = zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPlain),
			zstd.WithDecoderMaxWindow(maxPlain), zstd.WithDecoderLowmem(true))
		if err == nil {
			defer z.Close()
			r = z
		}
	case brotlied:
		if c.unbrotli == nil {
			c.unbrotli = new(brotli.Reader)
		}
		r, err = c.unbrotli, c.unbrotli.Reset(bytes.NewReader(b))
	}
	if err != nil {
		return nil, k, err
	}
	limit := min(maxPlain, slack+maxRatio*len(b))
	c.plain.Reset()
	n, err := c.plain.ReadFrom(io.LimitReader(r, int64(limit)+1))
	if n > int64(limit) {
		return nil, k, errTooLarge
	}
	if err != nil && !(errors.Is(err, io.ErrUnexpectedEOF) && n > 0) {
		return nil, k, err
	}
	return c.plain.Bytes(), k, nil
}

// encode puts a coding on.
func (c *codecs) encode(k coding, plain []byte) ([]byte, error) {
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch k {
	case gzipped:
		if c.zip == nil {
			c.zip, err = gzip.NewWriterLevel(&out, gzip.BestSpeed)
		} else {
			c.zip.Reset(&out)
		}
		w = c.zip
	case zlibbed:
		w, err = zlib.NewWriterLevel(&out, zlib.BestSpeed)
	case deflated:
		w, err = flate.NewWriter(&out, flate.BestSpeed)
	case zstandard:
		w, err = zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	case brotlied:
		w = brotli.NewWriterLevel(&out, brotliLevel)
	}
	if err != nil {
		return nil, err
	}
	if _, err = w.Write(plain); err == nil {
		err = w.Close()
	}
	return out.Bytes(), err
}
