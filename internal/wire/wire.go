// Package wire reads HTTP/1.x as it is seen from outside, by somebody who only listens: from bytes as they come, in
// any slices, to messages with their fields in order, case and duplicates. It does no I/O, never panics on input, and
// bounds what it holds. It does not decide what a server would do with a message that can be read in two ways: such a
// message is flagged AMBIGUOUS_FRAMING and nothing behind it on that connection is read.
package wire
