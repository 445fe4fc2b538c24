package importer

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"io"
	"sync/atomic"

	"github.com/reprise-io/reprise/internal/fault"
)

const bom = "\xef\xbb\xbf"

// content reads the file from its beginning, decompressed. read, if not nil, counts the bytes on disk.
func (f *File) content(read *atomic.Int64) (io.Reader, error) {
	if _, err := f.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(&countingReader{f.file, read}, 256<<10)
	if magic, _ := r.Peek(2); string(magic) != "\x1f\x8b" {
		return r, nil
	}
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, fault.New(f.name+" is not whole", "its gzip header: "+err.Error(), "copy it again; gzip -t tells whether it is whole")
	}
	return z, nil
}

type countingReader struct {
	r io.Reader
	n *atomic.Int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.n != nil {
		c.n.Add(int64(n))
	}
	return n, err
}

// survey reads the whole content once and returns the first half of its SHA-256: of the decompressed content, so that a
// recording and its compressed copy have the same ids. A content that breaks off is hashed as far as it goes: the same
// error comes again where it is reported. look, if not nil, sees the content go by and must read it to its end.
func (f *File) survey(ctx context.Context, look func(io.Reader)) (hash [16]byte, err error) {
	r, err := f.content(&f.hashed)
	if err != nil {
		return hash, err
	}
	sum := sha256.New()
	r = &contextReader{ctx, io.TeeReader(r, sum)}
	if look != nil {
		look(r)
	}
	_, _ = io.Copy(io.Discard, r)
	copy(hash[:], sum.Sum(nil))
	return hash, context.Cause(ctx)
}

// contextReader ends reading with ctx.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}
