package fire

import (
	"bytes"
	"time"
)

const (
	continues = "100-continue" // the one expectation that there is

	// continueWait is how long a body waits for the target to ask for it. Most clients wait for a second: curl and net/http do.
	continueWait = time.Second
)

// now are the bytes that are written without waiting for anything.
func (shot *Shot) now() []byte {
	if shot.expects {
		return shot.bytes[:shot.headTo]
	}
	return shot.bytes
}

// ask writes what is left of the head and waits until the target wants the body, or says what it thinks of the head alone, or
// nothing for continueWait. have is how much it has said, in f.buf. refused: it has answered, and the body is not sent.
func (f *flight) ask(c *conn, written int) (_ int, have int, refused bool, err error) {
	if written < f.shot.headTo {
		n, err := c.Write(f.shot.bytes[written:f.shot.headTo])
		if written += n; err != nil {
			return written, 0, false, err
		}
	}
	if err := c.SetReadDeadline(time.Now().Add(continueWait)); err != nil {
		return written, 0, false, err
	}
	if err := f.Err(); err != nil { // as in exchange: from here on the watch ends it
		return written, 0, false, err
	}
	have, err = c.Read(f.buf)
	if have > 0 || timedOut(err) {
		err = c.SetReadDeadline(c.deadline)
	}
	if err == nil {
		err = f.Err() // the watch's deadline may be the one that has just been replaced
	}
	return written, have, final(f.buf[:have]), err
}

// final reports whether an answer that begins so is not one of the 1xx. What is too short to tell counts as one of them.
func final(answer []byte) bool {
	const version = "HTTP/1.1 "
	return len(answer) > len(version) && bytes.HasPrefix(answer, []byte("HTTP/1.")) && answer[len(version)] != '1'
}
