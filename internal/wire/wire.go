// Package wire reads HTTP/1.x as it is seen from outside, by somebody who only listens: from bytes as they come, in
// any slices, to messages with their fields in order, case and duplicates. It does no I/O, never panics on input, and
// bounds what it holds.
//
// Framer reads one direction of a connection, Recorder and Dialog pair two of them into exchanges, Answer and the
// Parse functions read a single message.
//
// # Strictness
//
// Requests are read strictly, since what is read here is sent again. A request that two servers could end at different
// places is flagged AMBIGUOUS_FRAMING and nothing behind it on that connection is read, so that a smuggled request is
// never taken for a real one. Ambiguous are:
//   - Content-Length beside Transfer-Encoding, Content-Lengths that differ, one that is not plain digits
//   - Transfer-Encoding in HTTP/1.0, one whose last and only last coding is not chunked, or with unknown codings
//   - a field line without a colon, with a space before it, or with a character in its name that is none of a token
//   - a control character (NUL, a bare CR and so on; not a tab) in a field
//   - a value that holds a framing field itself ("X: y Content-Length: 5")
//   - a folded line right behind the start line, or of Content-Length, Transfer-Encoding, Connection or Upgrade
//   - line ends that mix CRLF and LF; a chunked body under LF line ends
//   - chunk framing that is not exactly by the grammar (a space behind the size, a bare LF, a missing CRLF, a sign …)
//   - Content-Length or Transfer-Encoding among the trailers
//
// Accepted all the same: any token as method, any target without spaces and controls, a missing or repeated Host,
// Content-Length lines that repeat the same digits, header blocks that end every line with LF alone, folded lines of
// other fields (joined with a space, as RFC 9112 5.2 says), empty lines before a request. Bytes behind a request that
// closes the connection are not read. Quoting inside chunk extensions is not checked.
//
// Responses are read leniently, since they are only compared: Transfer-Encoding wins over Content-Length, lines may
// end in LF alone, folded lines are joined, malformed field lines are left out. Where a response cannot be framed, its
// head is kept without a body and no further response on that connection is read.
package wire

// Bounds of what a Framer holds or returns.
const (
	MaxHeader = 64 << 10 // bytes of a header block or trailer section
	MaxFields = 2000     // lines in it

	maxMethod    = 64       // bytes of a method
	maxChunkLine = 16 << 10 // bytes of a chunk's size line
)
