package wire

import "bytes"

// Event is what a step of a Framer found.
type Event uint8

// The events, in the order in which a message brings them.
const (
	More         Event = iota // the bytes are used up, nothing new
	HeadSeen                  // Scratch.Head is a message's head
	DataSeen                  // Scratch.Data is a part of its body
	TrailersSeen              // Scratch.Head.Fields are its trailers; only when there are some, or Head.Doubtful
	EndSeen                   // the message is whole
	Failed                    // nothing further is read; Fault says why
)

// Fault is why a Framer reads no further.
type Fault uint8

// The faults.
const (
	NotHTTP    Fault = iota + 1 // the bytes are something else
	TLS                         // they begin like a TLS handshake
	HTTP2                       // HTTP/2 that cannot be followed: frames, header compression, or a preface behind requests
	Malformed                   // a start line that was meant to be HTTP/1.x, or a response's chunk
	TooLarge                    // a block of more than MaxHeader bytes or MaxFields lines
	Ambiguous                   // the message could be ended at several places
	Unexpected                  // bytes behind a request that closes, or that asked to switch and has no answer yet
	Switched                    // what follows is another protocol
	Cut                         // the connection ended inside the message
	NoMemory                    // a header block in several parts, and no budget for it
	Faults                      // how many there are, with the 0
)

// String returns a short name, fit for a metric label.
func (f Fault) String() string {
	names := [...]string{
		"none", "not_http", "tls", "http2", "malformed", "header_too_large", "ambiguous", "unexpected", "switched", "cut",
		"memory", "other",
	}
	return names[min(f, Faults)]
}

type state uint8

const (
	atStart    state = iota
	inHead           // the start line began
	inBody           // left bytes to go
	toClose          // the body ends with the connection
	chunkStart       // before a size
	chunkSize        // in its digits
	chunkPad         // blanks behind them
	chunkName        // before the name of an extension
	chunkExt         // in an extension
	chunkLF          // behind the CR of a size line
	chunkData        // left bytes to go
	chunkCR          // behind the data
	chunkEnd         // behind the CR behind the data
	inTrailers
	atEnd  // EndSeen is due
	held   // a request asked to switch protocols: what follows depends on the answer
	done   // the last request of the connection
	failed // with fault
)

// Framer finds the messages in one direction of a connection. It holds at most a header block that is not whole yet.
type Framer struct {
	buf      []byte // of a header block or trailer section, not whole yet
	line     int    // where buf's last line begins
	left     int64  // of the body, or of the chunk; in a size line: the size so far
	count    int    // characters of the size line
	state    state
	fault    Fault
	response bool
	lined    bool // the start line in buf was looked at
	closes   bool
	switches bool
	simple   bool // the next request may be HTTP/0.9's: a line, and nothing else on the connection
	doubtful bool // others end a message elsewhere, so whatever comes behind it may be none
}

// Requests returns a Framer for what clients send, Responses one for what servers send.
func Requests() Framer { return Framer{} }

// Responses returns a Framer for what servers send.
func Responses() Framer { return Framer{response: true} }

// Idle reports whether the Framer is between messages, with no byte of the next.
func (f *Framer) Idle() bool { return f.state == atStart }

// Fault is why it failed; 0 while it did not.
func (f *Framer) Fault() Fault { return f.fault }

// Doubtful reports whether the next message may begin elsewhere for others: a request had two lengths.
func (f *Framer) Doubtful() bool { return f.doubtful }

// Held is the memory it holds beside its own size.
func (f *Framer) Held() int { return cap(f.buf) }

// Resume goes on with requests after the answer to a switching request that was no switch.
func (f *Framer) Resume() {
	if f.state == held {
		f.state = atStart
		if f.closes {
			f.state = done
		}
	}
}

// Next reads from p until something is found, and returns how much of p it used and what it found. Call it until it
// returns More or Failed. to is the method of the request that the next response answers, for Responses.
func (f *Framer) Next(s *Scratch, p []byte, to Method) (n int, ev Event) {
	for {
		rest := p[n:]
		if len(rest) == 0 && f.state != atEnd && f.state != failed {
			return n, More
		}
		used := 0
		switch f.state {
		case atStart, done, held:
			if used = emptyLines(rest); used == len(rest) {
				break
			}
			if f.state != atStart {
				return n, f.fail(Unexpected)
			}
			f.state = inHead
		case inHead:
			if used, ev = f.head(s, rest, to); ev != More {
				return n + used, ev
			}
		case inTrailers:
			if used, ev = f.trailers(s, rest); ev != More {
				return n + used, ev
			}
		case inBody, chunkData:
			used = int(min(int64(len(rest)), f.left))
			f.left -= int64(used)
			s.Data = rest[:used]
			switch {
			case f.left > 0:
			case f.state == chunkData:
				f.state, f.count = chunkCR, 0
			default:
				f.state = atEnd
			}
			return n + used, DataSeen
		case toClose:
			s.Data = rest
			return len(p), DataSeen
		case atEnd:
			f.end()
			return n, EndSeen
		case failed:
			return n, Failed
		default:
			if used, ev = f.chunked(rest); ev != More {
				return n + used, ev
			}
		}
		n += used
	}
}

// EOF tells the Framer that the connection ended, and returns EndSeen, More (between messages) or Failed.
func (f *Framer) EOF() Event {
	switch f.state {
	case atStart, held, done:
		return More
	case toClose, atEnd:
		f.end()
		return EndSeen
	case failed:
		return Failed
	}
	return f.fail(Cut)
}

func (f *Framer) fail(fault Fault) Event {
	f.state, f.fault, f.buf = failed, fault, nil
	return Failed
}

// end goes on to what comes behind a message.
func (f *Framer) end() {
	switch {
	case f.response && f.switches:
		f.fail(Switched)
	case f.response:
		f.state = atStart
	case f.switches:
		f.state = held
	case f.closes:
		f.state = done
	default:
		f.state = atStart
	}
}

func emptyLines(p []byte) int {
	for i, c := range p {
		if c != '\r' && c != '\n' {
			return i
		}
	}
	return len(p)
}

// block returns the whole block that ends in p, from p itself or from the buffer, and how much of p belongs to it; nil
// while the block is not whole.
func (f *Framer) block(p []byte) (block []byte, used int, ev Event) {
	had := len(f.buf)
	take := p[:min(len(p), MaxHeader+1-had)]
	f.buf = append(f.buf, take...)
	for at := had; ; {
		i := bytes.IndexByte(f.buf[at:], '\n')
		if i < 0 {
			break
		}
		at += i + 1
		end := at - 1
		if end > f.line && f.buf[end-1] == '\r' {
			end--
		}
		if end == f.line { // an empty line
			return f.buf[:at], at - had, More
		}
		f.line = at
	}
	if len(f.buf) > MaxHeader {
		return nil, 0, f.fail(TooLarge)
	}
	return nil, len(p), More
}

// head reads a start line and its fields.
func (f *Framer) head(s *Scratch, p []byte, to Method) (int, Event) {
	h := &s.Head
	block, used, had := p, 0, len(f.buf)
	if f.buf != nil {
		var ev Event
		if block, used, ev = f.block(p); ev == Failed {
			return 0, ev
		}
		if block == nil {
			if f.lined {
				return used, More
			}
			if ev = f.firstLine(s, f.buf); !h.simple {
				return used, ev
			}
			block = f.buf
		}
	}
	h.reset(block)
	end, next := h.line(block, 0)
	if next != 0 {
		if fault := f.startLine(h, block, end); fault != 0 {
			return 0, f.fail(fault)
		}
		if h.simple {
			h.Block, used = block[:next], next-had
		} else {
			var tooLarge bool
			next, tooLarge = h.readFields(block, next, f.response)
			if tooLarge || next > MaxHeader {
				return 0, f.fail(TooLarge)
			}
		}
	}
	if next == 0 { // not whole: only where p was tried as it came
		f.line, f.lined = 0, false
		f.buf = make([]byte, 0, min(max(2*len(p), 512), MaxHeader+1))
		_, used, ev := f.block(p)
		if ev == More {
			ev = f.firstLine(s, f.buf)
		}
		return used, ev
	}
	if f.buf == nil {
		used = next
	}
	f.buf = nil // the block lives on in h
	f.settle(h, to)
	return used, HeadSeen
}

// firstLine looks at the part of a head that has come, so that what is no HTTP is not waited for.
func (f *Framer) firstLine(s *Scratch, buf []byte) Event {
	var fault Fault
	if s.Head.reset(buf); f.line > 0 {
		f.lined = true
		end, _ := s.Head.line(buf, 0)
		fault = f.startLine(&s.Head, buf, end)
	} else if f.response {
		if n := min(len(buf), len("HTTP/1.")); string(buf[:n]) != "HTTP/1."[:n] {
			fault = NotHTTP
		}
	} else {
		fault = unlikely(buf)
	}
	if fault != 0 {
		return f.fail(fault)
	}
	return More
}

func (f *Framer) startLine(h *Head, block []byte, end int) Fault {
	if f.response {
		return h.statusLine(block, end)
	}
	fault := h.requestLine(block, end)
	if fault == NotHTTP && f.simple && h.simpleLine(block[:end]) {
		return 0
	}
	return fault
}

// settle chooses the state behind a head.
func (f *Framer) settle(h *Head, to Method) {
	if f.response {
		h.settleResponse(to)
	} else {
		h.settleRequest()
	}
	h.Doubtful = h.Doubtful || f.doubtful
	f.doubtful = f.doubtful || !f.response && h.Chunked && h.length.seen
	f.closes, f.switches, f.simple = h.Close, h.Switch, false
	f.left = h.Length
	switch {
	case h.Ambiguous:
		f.fail(Ambiguous)
	case h.Chunked:
		f.state = chunkStart
	case h.Length < 0:
		f.state = toClose
	case h.Length == 0:
		f.state = atEnd
	default:
		f.state = inBody
	}
}
