package passive

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"time"

	"github.com/reprise-io/reprise/internal/packet"
	"github.com/reprise-io/reprise/internal/wire"
)

// conversation is what is known of a connection.
type conversation struct {
	dialog   wire.Dialog
	client   packet.Side
	role     role
	seeking  bool   // it began with something else, such as SOCKS
	alone    bool   // no packet of the server was seen
	quiet    bool   // nothing that the server sent was read
	odd      bool   // its first request has a method that nobody knows
	foreign  int    // bytes of what it began with
	lead     []byte // what leadFrom sent last while seeking, if a request may begin so; nil else
	leadFrom packet.Side
}

// role is the client's side, or opaque.
type role uint8

const opaque role = 2 // nothing more is read

// seekFor is for how many bytes a first request is looked for behind something else.
const seekFor = 16 << 10

// leadMost is how many bytes of a request that comes in pieces are kept until it is seen to be one.
const leadMost = 16

// Data reads what a side sent.
func (r *Reader) Data(c *packet.Conn, from packet.Side, p []byte, at time.Time) {
	v, _ := c.User.(*conversation)
	if v == nil {
		if v = r.meet(c, from, p, at); v == nil {
			return
		}
		if from == v.client {
			p = withoutProxyHeader(p)
		}
	}
	if v.alone && c.Seen(v.client.Other()) {
		v.alone = false
		v.dialog.OneSided(false)
	}
	if v.seeking {
		p = v.seek(c, from, p)
	}
	switch v.role {
	case opaque:
		return
	case role(from):
		r.Recorder.Requests(&v.dialog, p, at)
	default:
		if v.quiet && c.Begins(from) && v.isForeign(p) {
			r.Recorder.NotHTTP(&v.dialog, at)
		}
		v.quiet = false
		r.Recorder.Responses(&v.dialog, p, at)
	}
	switch {
	case !v.dialog.Opaque():
	case v.dialog.EnterTunnel(): // through which HTTP may go in clear text too
		v.seeking, v.foreign = true, 0
	default:
		v.role = opaque
	}
}

// seek looks for a first request from either side, and gives up a connection that shows none for long. It returns p, with
// what was left of it in the segment before when a request began there with a part of its method.
func (v *conversation) seek(c *packet.Conn, from packet.Side, p []byte) []byte {
	v.foreign += len(p)
	whole := p
	if v.leadFrom == from {
		whole = append(v.lead, p...)
	}
	v.lead = nil
	switch {
	case wire.BeginsRequest(whole):
		p = whole
		v.seeking = false
		if from != v.client {
			v.client, v.role = from, role(from)
			v.startMidway(v.dialog.ID, c)
		}
	case v.foreign > seekFor:
		v.role = opaque
	case len(whole) <= leadMost && wire.UsualMethod(whole):
		v.lead, v.leadFrom = bytes.Clone(whole), from
	}
	return p
}

// isForeign reports that the first bytes of a server are no answer to HTTP: the greeting of another protocol, or anything
// to a method that nobody knows. What is left may be HTTP/0.9.
func (v *conversation) isForeign(p []byte) bool {
	return v.odd && !wire.BeginsResponse(p) || bytes.HasPrefix(p, []byte("SSH-"))
}

// Gap passes on what is missing. Where nothing of a side is captured at all, that is no gap.
func (r *Reader) Gap(c *packet.Conn, from packet.Side, n int64, at time.Time) {
	if !c.Seen(from) {
		return
	}
	v, _ := c.User.(*conversation)
	if v == nil && c.Opened {
		v = r.begin(c, c.Client, at)
	}
	switch {
	case v == nil, v.role == opaque:
	case v.role == role(from):
		r.Recorder.RequestsGap(&v.dialog, n, at)
	default:
		r.Recorder.ResponsesGap(&v.dialog, n, at)
	}
}

// Ended tells that a side sends nothing more.
func (r *Reader) Ended(c *packet.Conn, from packet.Side, at time.Time) {
	if v, _ := c.User.(*conversation); v != nil {
		r.ended(v, from, at)
	}
}

func (r *Reader) ended(v *conversation, from packet.Side, at time.Time) {
	switch v.role {
	case opaque:
	case role(from):
		r.Recorder.ClientDone(&v.dialog, at)
	default:
		r.Recorder.ServerDone(&v.dialog, at)
	}
}

// Closed finishes everything of a connection.
func (r *Reader) Closed(c *packet.Conn, why packet.Closing, at time.Time) {
	v, _ := c.User.(*conversation)
	if v == nil {
		return
	}
	if v.alone && c.Seen(v.client.Other()) {
		v.dialog.OneSided(false)
	}
	r.Recorder.Close(&v.dialog, why.Reset && why.By == v.client, at)
}

// meet makes up its mind who is the client, when a side sends the first bytes; nil while nobody can know.
func (r *Reader) meet(c *packet.Conn, from packet.Side, p []byte, at time.Time) *conversation {
	client, request := c.Client, wire.BeginsRequest(p)
	switch {
	case request: // also from the side that was called
		client = from
	case c.Opened:
	case wire.BeginsResponse(p):
		client = from.Other()
	default:
		return nil
	}
	v := r.begin(c, client, at)
	switch {
	case v.dialog.Lost():
	case from != client && isSettings(p): // of HTTP/2, from a server that does not wait for the client's preface
	case !request && isPrelude(p):
		v.startMidway(v.dialog.ID, c)
		v.seeking = true
	default:
		v.odd = from == client && !wire.UsualMethod(p)
	}
	return v
}

// begin makes a conversation with that client.
func (r *Reader) begin(c *packet.Conn, client packet.Side, at time.Time) *conversation {
	r.serial++
	v := &conversation{client: client, role: role(client), quiet: true, alone: !c.Seen(client.Other())}
	c.User = v
	id := strconv.AppendUint(append([]byte(nil), r.prefix...), r.serial, 10)
	v.dialog.Start(id, []byte(c.Ends[client].String()), []byte(c.Ends[client.Other()].String()))
	if !c.Begins(client) || !c.Begins(client.Other()) && !v.alone {
		v.startMidway(id, c)
	}
	v.dialog.OneSided(v.alone)
	for side := range c.Ends {
		if c.Over(packet.Side(side)) {
			r.ended(v, packet.Side(side), at)
		}
	}
	return v
}

func (v *conversation) startMidway(id []byte, c *packet.Conn) {
	v.dialog.StartMidway(id, []byte(c.Ends[v.client].String()), []byte(c.Ends[v.client.Other()].String()))
	v.dialog.OneSided(v.alone)
}

// isSettings reports that p begins as a SETTINGS frame does, as far as it goes.
func isSettings(p []byte) bool { return p[0] == 0 && (len(p) < 4 || p[3] == 4) }

// isPrelude reports that a connection begins with neither text nor TLS, but something after which HTTP may come: SOCKS,
// or a proxy's header in a segment of its own.
func isPrelude(p []byte) bool {
	const tls, look = 0x16, 32
	if p[0] == tls {
		return false
	}
	rest := withoutProxyHeader(p)
	for _, c := range rest[:min(len(rest), look)] {
		if c < ' ' && c != '\t' && c != '\r' && c != '\n' || c > '~' {
			return true
		}
	}
	return len(rest) == 0
}

// withoutProxyHeader takes the PROXY protocol's header, version 1 or 2, off the first bytes of a client.
func withoutProxyHeader(p []byte) []byte {
	const text, binaryMagic = "PROXY ", "\r\n\r\n\x00\r\nQUIT\n"
	switch {
	case bytes.HasPrefix(p, []byte(text)):
		if end := bytes.Index(p[:min(len(p), 107)], []byte("\r\n")); end >= 0 {
			return p[end+2:]
		}
	case len(p) >= 16 && bytes.HasPrefix(p, []byte(binaryMagic)):
		if n := 16 + int(binary.BigEndian.Uint16(p[14:])); n <= len(p) {
			return p[n:]
		}
	}
	return p
}
