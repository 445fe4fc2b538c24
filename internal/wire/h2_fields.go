package wire

import "golang.org/x/net/http2/hpack"

// defaultTable is the dynamic table that HPACK starts with, maxTable the largest that is followed. Both in bytes as
// RFC 7541 4.1 counts them.
const (
	defaultTable = 4 << 10
	maxTable     = 64 << 10
)

// fieldReader decodes the header blocks of HTTP/2 connections into a Head, one at a time.
type fieldReader struct {
	head     *Head
	block    []byte // what head's spans are parts of
	decoder  *hpack.Decoder
	regular  bool // a regular field was seen: no pseudo field may follow
	bad      bool // the message is malformed (RFC 9113 8.1.1), whatever head.Ambiguous says in the end
	tooLarge bool
	protocol bool // the request has :protocol
}

const protocolOfH2 = "HTTP/2.0"

// read decodes a whole block into h, whose spans are parts of memory that the next call uses again. tooLarge: the fields
// are more than MaxHeader bytes or MaxFields, and not in h; the decoder has kept up all the same. An error means that it
// has not: nothing that follows can be decoded. d gives the fields to request or response.
func (r *fieldReader) read(h *Head, d *hpack.Decoder, block []byte) (tooLarge bool, err error) {
	h.reset(nil)
	h.Length = -1
	*r = fieldReader{head: h, decoder: d, block: append(r.block[:0], protocolOfH2...)}
	h.Protocol = Span{0, uint32(len(protocolOfH2))}
	for len(block) > 0 && block[0]&0xe0 == 0x20 { // sizes: the decoder wants each by itself
		n := 1
		for block[0]&0x1f == 0x1f && n < len(block) && block[n]&0x80 != 0 {
			n++
		}
		if block[0]&0x1f == 0x1f {
			n = min(n+1, len(block))
		}
		if _, err = d.Write(block[:n]); err == nil {
			err = d.Close()
		}
		if err != nil {
			return false, err
		}
		block = block[n:]
	}
	if _, err = d.Write(block); err == nil {
		err = d.Close()
	}
	d.SetEmitEnabled(true)
	h.Block = r.block
	if h.length.seen && !h.length.bad {
		h.Length = h.length.value
	}
	h.Ambiguous = r.bad
	return r.tooLarge, err
}

// add keeps a field's bytes.
func (r *fieldReader) add(f hpack.HeaderField) (name, value Span) {
	if len(r.block)+len(f.Name)+len(f.Value) > MaxHeader || len(r.head.Fields) == MaxFields {
		r.tooLarge = true
		r.decoder.SetEmitEnabled(false)
		return Span{}, Span{}
	}
	from := uint32(len(r.block))
	r.block = append(append(r.block, f.Name...), f.Value...)
	middle := from + uint32(len(f.Name))
	return Span{from, middle}, Span{middle, uint32(len(r.block))}
}

// request takes a field of a request's header or trailers.
func (r *fieldReader) request(f hpack.HeaderField) {
	name, value := r.add(f)
	if r.tooLarge {
		return
	}
	if f.IsPseudo() {
		r.pseudo(f.Name, value)
		return
	}
	r.regular = true
	h, text := r.head, value.Of(r.block)
	switch {
	case !isLowerToken(f.Name), hasControl(text):
		r.bad = true
		return
	case f.Name == "connection", f.Name == "proxy-connection", f.Name == "keep-alive", f.Name == "transfer-encoding",
		f.Name == "upgrade", f.Name == "te" && f.Value != "trailers":
		r.bad = true
	case f.Name == "content-length":
		h.length.add(text)
		r.bad = r.bad || h.length.bad
	}
	h.Fields = append(h.Fields, FieldSpan{name, value})
}

// pseudo takes a field whose name begins with a colon. It may stand once, and before all others.
func (r *fieldReader) pseudo(name string, value Span) {
	h, text := r.head, value.Of(r.block)
	var to *Span
	switch name {
	case ":method":
		to = &h.Method
		r.bad = r.bad || tokenLength(text) < len(text)
	case ":scheme":
		to = &h.Scheme
	case ":authority":
		to = &h.Authority
	case ":path":
		to = &h.Target
		for _, c := range text {
			r.bad = r.bad || c == ' ' || c == '\t'
		}
	case ":protocol":
		r.bad = r.bad || r.protocol
		r.protocol = true
	default:
		r.bad = true
		return
	}
	r.bad = r.bad || r.regular || hasControl(text) || to != nil && to.To > 0
	if to != nil {
		*to = value
	}
}

// response takes a field of an answer's header or trailers: leniently, as answers are only compared.
func (r *fieldReader) response(f hpack.HeaderField) {
	name, value := r.add(f)
	h := r.head
	switch {
	case r.tooLarge:
	case f.Name == ":status":
		if n, ok := digits(value.Of(r.block)); ok && n >= 100 && n <= 999 {
			h.Status = int(n)
		}
	case tokenLength(name.Of(r.block)) < len(f.Name), f.Name == "":
	default:
		if f.Name == "content-length" {
			h.length.add(value.Of(r.block))
		}
		h.Fields = append(h.Fields, FieldSpan{name, value})
	}
}

// isLowerToken reports whether a name is one that HTTP/2 allows.
func isLowerToken(name string) bool {
	for i := range len(name) {
		if c := name[i]; !isToken(c) || 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return name != ""
}
