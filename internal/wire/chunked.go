package wire

// chunked reads chunk framing: everything but the data. Requests keep to the grammar of RFC 9112 7.1 to the letter, as
// every leniency here was used to smuggle; responses may have blanks behind a size.
func (f *Framer) chunked(p []byte) (int, Event) {
	for i, c := range p {
		switch f.state {
		case chunkStart, chunkSize:
			digit := hexDigit(c)
			if f.state == chunkStart {
				f.left, f.count = 0, 0
				if digit < 0 {
					return i, f.fail(f.badChunk())
				}
				f.state = chunkSize
			}
			switch {
			case digit >= 0 && f.left <= maxLength>>4:
				f.left = f.left<<4 | int64(digit)
			case digit >= 0:
				return i, f.fail(f.badChunk())
			case c == '\r':
				f.state = chunkLF
			case c == ';':
				f.state = chunkName
			case isBlank(c):
				f.state = chunkPad
			default:
				return i, f.fail(f.badChunk())
			}
		case chunkPad:
			switch {
			case isBlank(c):
			case c == ';':
				f.state = chunkName
			case c == '\r' && f.response:
				f.state = chunkLF
			default:
				return i, f.fail(f.badChunk())
			}
		case chunkName:
			switch {
			case isBlank(c):
			case f.response && c == '\r':
				f.state = chunkLF
			case isToken(c), f.response && c > ' ' && c != 0x7f:
				f.state = chunkExt
			default:
				return i, f.fail(f.badChunk())
			}
		case chunkExt:
			switch {
			case c == '\r':
				f.state = chunkLF
			case c < ' ' && c != '\t' || c == 0x7f:
				return i, f.fail(f.badChunk())
			}
		case chunkLF:
			switch {
			case c != '\n':
				return i, f.fail(f.badChunk())
			case f.left == 0:
				f.state, f.line, f.buf = inTrailers, 0, nil
			default:
				f.state = chunkData
			}
			return i + 1, More
		case chunkCR:
			if c != '\r' {
				return i, f.fail(f.badChunk())
			}
			f.state = chunkEnd
		case chunkEnd:
			if c != '\n' {
				return i, f.fail(f.badChunk())
			}
			f.state = chunkStart
		}
		if f.count++; f.count > maxChunkLine {
			return i, f.fail(f.badChunk())
		}
	}
	return len(p), More
}

func (f *Framer) badChunk() Fault {
	if f.response {
		return Malformed
	}
	return Ambiguous
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// trailers reads the fields behind the last chunk, up to the empty line.
func (f *Framer) trailers(s *Scratch, p []byte) (int, Event) {
	block, used := p, 2
	if f.buf != nil || len(p) < 2 || p[0] != '\r' || p[1] != '\n' { // not simply none
		var ev Event
		if block, used, ev = f.block(p); block == nil {
			return used, ev
		}
	}
	h := &s.Head
	h.reset(block)
	if _, tooLarge := h.readFields(block, 0, f.response); tooLarge {
		return 0, f.fail(TooLarge)
	}
	f.buf = nil
	if !f.response && (h.Ambiguous || h.lf > 0 || h.length.seen || h.coding.seen) {
		return used, f.fail(Ambiguous)
	}
	f.state = atEnd
	h.Doubtful = h.Doubtful || !f.response && h.hasForbiddenTrailer()
	if len(h.Fields) == 0 && !h.Doubtful {
		return used, More
	}
	return used, TrailersSeen
}
