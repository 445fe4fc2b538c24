package rewrite

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	"github.com/reprise-io/reprise/internal/traffic"
)

// maxPlain bounds a body that is decoded, in bytes.
const maxPlain = 8 << 20

var (
	errCoding   = errors.New("its content coding is not gzip, deflate, br or zstd")
	errTooLarge = errors.New("it decodes to more than 8 MiB")
)

// coding returns the content coding of a message in lower case; empty for none. It is a list where there are several.
func coding(fields []traffic.Field) string {
	var all []string
	for i := range fields {
		if !traffic.EqualName(fields[i].Name, "Content-Encoding") {
			continue
		}
		for one := range strings.SplitSeq(strings.ToLower(string(fields[i].Value)), ",") {
			if one = strings.TrimSpace(one); one != "" && one != "identity" {
				all = append(all, one)
			}
		}
	}
	return strings.Join(all, ",")
}

// decode takes a content coding off a body.
func decode(coding string, body []byte) (plain []byte, err error) {
	var r io.Reader
	switch coding {
	case "":
		return body, nil
	case "gzip", "x-gzip":
		r, err = gzip.NewReader(bytes.NewReader(body))
	case "deflate":
		r, err = zlib.NewReader(bytes.NewReader(body))
	case "br":
		r = brotli.NewReader(bytes.NewReader(body))
	case "zstd":
		var z *zstd.Decoder
		if z, err = zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPlain),
			zstd.WithDecoderLowmem(true)); err == nil {
			defer z.Close()
		}
		r = z
	default:
		return nil, errCoding
	}
	if err != nil {
		return nil, err
	}
	plain, err = io.ReadAll(io.LimitReader(r, maxPlain+1))
	if len(plain) > maxPlain {
		return nil, errTooLarge
	}
	return plain, err
}

// encode puts it on again.
func encode(coding string, plain []byte) ([]byte, error) {
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch coding {
	case "":
		return plain, nil
	case "gzip", "x-gzip":
		w, err = gzip.NewWriterLevel(&out, gzip.BestSpeed)
	case "deflate":
		w, err = zlib.NewWriterLevel(&out, zlib.BestSpeed)
	case "br":
		w = brotli.NewWriterLevel(&out, brotli.BestSpeed)
	case "zstd":
		w, err = zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	default:
		return nil, errCoding
	}
	if err != nil {
		return nil, err
	}
	if _, err = w.Write(plain); err == nil {
		err = w.Close()
	}
	return out.Bytes(), err
}

// draft is a request that is being changed: the slices of the recorded one are never written to. Its body is decoded when somebody
// asks, and encoded again when somebody has changed it.
type draft struct {
	*traffic.Request
	owned   bool // the field list is ours
	changed bool // anything is

	opened  bool
	plain   []byte
	bodyErr error
	rewrote bool // the body is
}

// fields returns the field list, to be changed in place.
func (d *draft) fields() []traffic.Field {
	if !d.owned {
		d.Headers, d.owned = slices.Clone(d.Headers), true
	}
	return d.Headers
}

func (d *draft) setField(i int, value []byte) {
	d.fields()[i].Value = value
	d.changed = true
}

func (d *draft) setTarget(target []byte) { d.Target, d.changed = target, true }

// body returns the body without its content coding.
func (d *draft) body() ([]byte, error) {
	if !d.opened {
		d.opened = true
		d.plain, d.bodyErr = decode(coding(d.Headers), d.Body)
	}
	return d.plain, d.bodyErr
}

func (d *draft) setBody(plain []byte) { d.plain, d.rewrote, d.changed = plain, true, true }

// close writes the body back. What told of the bytes that it had is gone: there is nobody to sign the new ones.
func (d *draft) close() error {
	if !d.rewrote {
		return nil
	}
	body, err := encode(coding(d.Headers), d.plain)
	if err != nil {
		return err
	}
	d.Body, d.BodySize = body, int64(len(body))
	d.Headers = slices.DeleteFunc(d.fields(), func(f traffic.Field) bool {
		for _, name := range [...]string{"Content-MD5", "Digest", "Content-Digest", "Repr-Digest"} {
			if traffic.EqualName(f.Name, name) {
				return true
			}
		}
		return false
	})
	return nil
}

// kind tells what a body is: 'j' JSON, 'f' a form, 0 neither.
func (d *draft) kind() byte {
	media, _ := traffic.Get(d.Headers, "Content-Type")
	media, _, _ = bytes.Cut(media, []byte(";"))
	switch {
	case traffic.EqualName(bytes.TrimSpace(media), "application/x-www-form-urlencoded"):
		return 'f'
	case bytes.Contains(bytes.ToLower(media), []byte("json")):
		return 'j'
	}
	return 0
}
