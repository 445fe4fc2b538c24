// Package wire reads HTTP/1.x and HTTP/2 in clear text as they are seen from outside, by somebody who only listens: from bytes as they come, in
// any slices, to messages with their fields in order, case and duplicates. It does no I/O, never panics on input, and
// bounds what it holds.
//
// Framer reads one direction of an HTTP/1.x connection, Recorder and Dialog pair two of them into exchanges, Answer and
// the Parse functions read a single message. A Dialog goes over to HTTP/2 when its client begins with the preface, its
// server with SETTINGS, or both agree on an upgrade.
//
// # Strictness
//
// Requests are read strictly, since what is read here is sent again. A request that two servers could end at different
// places is flagged AMBIGUOUS_FRAMING and nothing behind it on that connection is read, so that a smuggled request is
// never taken for a real one. Ambiguous are:
//   - Content-Lengths that differ, one that is not plain digits
//   - Transfer-Encoding in HTTP/1.0, one whose last and only last coding is not chunked, or with unknown codings
//   - a line that is no field, because it has no colon, a space before it, or a character in its name that is none of a
//     token, and that has "length", "encoding" or a control character in it
//   - a control character (NUL, a bare CR and so on; not a tab) in a field
//   - a value that holds a framing field itself ("X: y Content-Length: 5")
//   - a folded line right behind the start line, or of Content-Length, Transfer-Encoding, Connection or Upgrade
//   - line ends that mix CRLF and LF; a chunked body under LF line ends
//   - chunk framing that is not exactly by the grammar (a space behind the size, a bare LF, a missing CRLF, a sign, an
//     extension without a name …)
//   - Content-Length or Transfer-Encoding among the trailers
//
// A request whose end is known, but that another server may take for another one, is read and flagged in the same way:
//   - Content-Length beside a Transfer-Encoding that is chunked: RFC 9112 6.3 goes by the latter. What comes behind it on
//     the connection is read and flagged too, since for others it may begin elsewhere
//   - any other line that is no field: it is left out
//   - several Hosts, be they the same (RFC 9112 3.2)
//   - trailers that say where the message goes, who sent it or how its body is coded (RFC 9110 6.5.1)
//   - a line of HTTP/0.9 ("GET /x"), which is read where it is the first thing on a connection
//
// Accepted all the same: any token as method, any target without spaces and controls, a missing Host, a Host that is not
// the one of an absolute target, X-Forwarded fields that contradict each other, Content-Length lines that repeat the same
// digits, header blocks that end every line with LF alone, folded lines of other fields (joined with a space, as RFC 9112
// 5.2 says), empty lines before a request. Bytes behind a request that closes the connection are not read, unless they
// begin like a request in a piece of their own; such a request is flagged AMBIGUOUS_FRAMING where the one before it has no
// answer. Quoting inside chunk extensions is not checked.
//
// Responses are read leniently, since they are only compared: Transfer-Encoding wins over Content-Length, lines may
// end in LF alone, folded lines are joined, malformed field lines are left out. Where a response cannot be framed, its
// head is kept without a body and no further response on that connection is read.
//
// # HTTP/2
//
// Frames say where messages end, so what is wrong with one message costs that one. A request that RFC 9113 calls
// malformed is kept and flagged AMBIGUOUS_FRAMING, since as HTTP/1.1 it could become another one, or two:
//   - a name that is no token in lower case, or a control character (not a tab) in a value
//   - Connection, Proxy-Connection, Keep-Alive, Transfer-Encoding, Upgrade, or a TE other than trailers
//   - a Content-Length that is not plain digits, that another one or the body contradicts, or that is a trailer
//   - a pseudo field that is unknown, repeated, behind a regular one or among trailers; no :scheme; :protocol without
//     CONNECT; a method that is no token, a path with a space or control character
//   - a header block in the middle of a body
//   - several Hosts, one that is not :authority (but for the port of the scheme), or the trailers from above
//
// A request without a method or target is counted as malformed. Accepted all the same: blanks around values, any
// method and path otherwise, frames of unknown types and of any length, windows and stream states that nobody keeps to,
// frames of streams that are over. Of responses, fields whose name is no token are left out.
//
// Frames or header blocks that cannot be followed end the reading of that direction: a first frame that is not SETTINGS,
// broken lengths or padding, another frame inside a header block, a stream with an even number by a client, a block that
// is no HPACK or uses more of a table than was agreed on (and acknowledged) or than 64 KiB. Blocks beyond MaxHeader end it
// when they are that long on the wire, and cost their stream alone when they only decode to that much. One connection has
// at most 1000 unfinished exchanges; further ones are lost and counted. Pushed responses are no exchanges, the bytes of
// tunnels no body.
package wire

// Bounds of what a Framer holds or returns.
const (
	MaxHeader = 64 << 10 // bytes of a header block or trailer section
	MaxFields = 2000     // lines in it

	maxMethod    = 64       // bytes of a method
	maxChunkLine = 16 << 10 // bytes of a chunk's size line
)
