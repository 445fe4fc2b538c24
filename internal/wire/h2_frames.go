package wire

import "encoding/binary"

// preface is what a client of HTTP/2 says first; its first line looks like a request.
const (
	preface     = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	prefaceLine = len("PRI * HTTP/2.0\r\n")
)

// The frame types that are looked into, and their flags.
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	frameReset        = 0x3
	frameSettings     = 0x4
	framePush         = 0x5
	frameGoAway       = 0x7
	frameContinuation = 0x9

	flagAck        = 0x1
	flagEndStream  = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20

	frameHead = 9 // bytes before a payload

	settingTableSize = 0x1
)

// frameEvent is what a step of frames found.
type frameEvent uint8

const (
	frameMore     frameEvent = iota // the bytes are used up, nothing new
	framePassed                     // a frame is over, or a part of it is, that says nothing
	blockSeen                       // block is a whole header block
	dataSeen                        // data is a part of a stream's body
	streamEnded                     // the sender's half of the stream
	streamReset                     // by the sender
	settingsSeen                    // tableSize is what it allows the other side to use, if sized
	settingsTaken                   // the other side's are acknowledged
	goingAway                       // streams above last are not served
	framesFailed                    // nothing further is read; fault says why
)

type frameState uint8

const (
	inPreface frameState = iota
	inFrameHead
	inFixed // the numbers that a payload begins with
	inPayload
	inPadding
)

// frames finds the frames in one direction of an HTTP/2 connection. It holds at most a header block that is not whole yet.
type frames struct {
	state  frameState
	fault  Fault
	begun  bool // the first frame, which has to be SETTINGS, was seen
	open   bool // a header block is not whole: nothing but CONTINUATION may come
	pushed bool // the block is a promise's, not the stream's
	ends   bool // END_STREAM of the block's first frame
	sized  bool

	kind, flags uint8
	got, want   uint8
	fixed       [frameHead]byte // a frame's head, then the numbers
	padding     uint32
	left        uint32 // of the payload
	stream      uint32

	tableSize uint32
	last      uint32 // of GOAWAY
	buf       []byte // of the header block
	block     []byte // valid until the next step, as data
	data      []byte
}

// between reports whether the next byte begins a frame that could begin an exchange.
func (f *frames) between() bool { return f.state == inFrameHead && f.got == 0 && !f.open }

func (f *frames) fail(fault Fault) frameEvent {
	f.fault, f.buf, f.block, f.data = fault, nil, nil, nil
	return framesFailed
}

// next reads from p until something is found, and returns how much of p it used. Call it until it returns frameMore or
// framesFailed.
func (f *frames) next(p []byte) (n int, ev frameEvent) {
	if f.block != nil {
		f.block, f.buf = nil, nil
	}
	if f.fault != 0 {
		return 0, framesFailed
	}
	switch f.state {
	case inPreface:
		for _, c := range p {
			if c != preface[f.got] {
				return n, f.fail(NotHTTP)
			}
			n++
			if f.got++; int(f.got) == len(preface) {
				f.state, f.got = inFrameHead, 0
				return n, framePassed
			}
		}
		return n, frameMore
	case inFrameHead:
		n = copy(f.fixed[f.got:], p)
		if f.got += uint8(n); f.got < frameHead {
			return n, frameMore
		}
		return n, f.begin()
	case inFixed:
		n = copy(f.fixed[f.got:f.want], p)
		f.got += uint8(n)
		f.left -= uint32(n)
		if f.got < f.want {
			return n, frameMore
		}
		return n, f.numbers()
	case inPayload:
		return f.payload(p)
	default: // inPadding
		n = int(min(uint32(len(p)), f.padding))
		f.padding -= uint32(n)
		if f.padding > 0 {
			return n, frameMore
		}
		return n, f.over()
	}
}

// begin reads a frame's head.
func (f *frames) begin() frameEvent {
	f.left = binary.BigEndian.Uint32(f.fixed[:4]) >> 8
	f.kind, f.flags = f.fixed[3], f.fixed[4]
	stream := binary.BigEndian.Uint32(f.fixed[5:]) &^ (1 << 31)
	f.got, f.want, f.padding = 0, 0, 0
	if !f.begun && f.kind != frameSettings { // an acknowledgement of the other side's may be in front of its own
		return f.fail(HTTP2)
	}
	f.begun = true
	if f.open != (f.kind == frameContinuation) || f.open && stream != f.stream {
		return f.fail(HTTP2)
	}
	f.stream = stream
	ok := stream != 0
	switch f.kind {
	case frameData:
		f.want = f.padLength()
	case frameHeaders:
		f.open, f.pushed, f.ends = true, false, f.flags&flagEndStream != 0
		if f.want = f.padLength(); f.flags&flagPriority != 0 {
			f.want += 5
		}
	case framePush:
		f.open, f.pushed = true, true
		f.want = f.padLength() + 4
	case frameContinuation:
	case frameReset:
		ok = ok && f.left == 4
	case frameSettings:
		f.sized = false
		ok = stream == 0 && f.left%6 == 0
		if f.flags&flagAck != 0 {
			ok = ok && f.left == 0
		} else if f.left > 0 {
			f.want = 6
		}
	case frameGoAway:
		f.want = 8
		ok = stream == 0
	default:
		ok = true
	}
	if !ok || uint32(f.want) > f.left {
		return f.fail(HTTP2)
	}
	if f.state = inPayload; f.want > 0 {
		f.state = inFixed
		return framePassed
	}
	return f.start()
}

func (f *frames) padLength() uint8 {
	if f.flags&flagPadded != 0 {
		return 1
	}
	return 0
}

// numbers reads what the payload begins with.
func (f *frames) numbers() frameEvent {
	f.got = 0
	switch f.kind {
	case frameSettings:
		if binary.BigEndian.Uint16(f.fixed[:]) == settingTableSize {
			f.sized, f.tableSize = true, binary.BigEndian.Uint32(f.fixed[2:])
		}
		if f.left > 0 {
			return framePassed // the next of them
		}
	case frameGoAway:
		f.last = binary.BigEndian.Uint32(f.fixed[:]) &^ (1 << 31)
	default:
		if f.flags&flagPadded != 0 {
			f.padding = uint32(f.fixed[0])
		}
		if f.padding > f.left {
			return f.fail(HTTP2)
		}
		f.left -= f.padding
	}
	f.state = inPayload
	return f.start()
}

// start begins the payload: one that is empty is over at once.
func (f *frames) start() frameEvent {
	if f.left > 0 {
		return framePassed
	}
	if ev := f.whole(); ev != framePassed || f.padding > 0 {
		f.state = inPadding
		return ev
	}
	return f.over()
}

// payload reads what is behind the numbers and before the padding.
func (f *frames) payload(p []byte) (int, frameEvent) {
	n := int(min(uint32(len(p)), f.left))
	if n == 0 {
		return 0, frameMore
	}
	f.left -= uint32(n)
	if f.left == 0 {
		f.state = inPadding
	}
	switch f.kind {
	case frameData:
		f.data = p[:n]
		return n, dataSeen
	case frameHeaders, framePush, frameContinuation:
		if len(f.buf)+n > MaxHeader {
			return 0, f.fail(TooLarge)
		}
		if f.left == 0 && f.buf == nil && f.flags&flagEndHeaders != 0 {
			f.open, f.block = false, p[:n] // the usual case, without a copy
			return n, blockSeen
		}
		f.buf = append(f.buf, p[:n]...)
	}
	if f.left > 0 {
		return n, framePassed
	}
	return n, f.whole()
}

// whole is called when a payload has been seen but its padding.
func (f *frames) whole() frameEvent {
	switch f.kind {
	case frameHeaders, framePush, frameContinuation:
		if f.flags&flagEndHeaders == 0 {
			return framePassed
		}
		if f.open, f.block = false, f.buf; f.block == nil {
			f.block = []byte{}
		}
		return blockSeen
	case frameReset:
		return streamReset
	case frameSettings:
		if f.flags&flagAck != 0 {
			return settingsTaken
		}
		return settingsSeen
	case frameGoAway:
		return goingAway
	}
	return framePassed
}

// over goes on to the next frame.
func (f *frames) over() frameEvent {
	f.state, f.got, f.want = inFrameHead, 0, 0
	if f.kind == frameData && f.flags&flagEndStream != 0 {
		return streamEnded
	}
	return framePassed
}
