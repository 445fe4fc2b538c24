package importer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strconv"
	"time"

	"github.com/reprise-io/reprise/internal/traffic"
)

// maxFlow bounds what is held of one flow.
const maxFlow = 64 << 20

var (
	errLongFlow   = fmt.Errorf("flow is longer than %d MiB", maxFlow>>20)
	errNoFlow     = errors.New("flow is no dictionary")
	errOldFlow    = errors.New("flow of mitmproxy before 1.0: convert it with a newer mitmdump -r OLD -w NEW")
	errFlowNoTime = errors.New("request has no time")
)

// flowReader turns the flows of mitmproxy into exchanges.
type flowReader struct {
	file    *File
	hash    [16]byte
	stats   *Stats
	index   uint64
	count   int64 // flows begun
	first   error // why the first flow that could not be read could not
	firstAt int64
}

// isFlowHead reports whether a file begins as a dump of flows does: with a dictionary of that length, whose first key is
// short text.
func isFlowHead(head []byte) bool {
	length, rest, ok := bytes.Cut(head[:min(len(head), 16)], []byte(":"))
	n, err := strconv.Atoi(string(length))
	if !ok || err != nil || n < 8 {
		return false
	}
	key := head[len(head[:min(len(head), 16)])-len(rest):]
	v, _, err := cutTnet(key[:min(len(key), 64)], 0)
	_, isText := v.([]byte)
	return err == nil && isText
}

func (f *File) eachFlow(ctx context.Context, stats *Stats, each func(*traffic.Exchange) error) error {
	g := &flowReader{file: f, stats: stats}
	var err error
	if g.hash, err = f.survey(ctx, nil); err != nil {
		return err
	}
	content, err := f.content(&f.read)
	if err != nil {
		return err
	}
	r := bufio.NewReaderSize(&contextReader{ctx, content}, 64<<10)
	for {
		data, kind, err := readTnet(r, maxFlow)
		switch {
		case errors.Is(err, io.EOF):
			return g.verdict(nil)
		case err != nil:
			return g.verdict(err)
		}
		g.count++
		x, err := g.exchange(data, kind)
		switch {
		case errors.Is(err, errNotHTTP):
			stats.Ignored++
			continue
		case err != nil:
			g.index++
			if stats.Broken++; g.first == nil {
				g.first, g.firstAt = err, g.count
			}
			continue
		}
		if err := each(x); err != nil {
			return err
		}
	}
}

func (g *flowReader) exchange(data []byte, kind byte) (*traffic.Exchange, error) {
	if data == nil {
		return nil, errLongFlow
	}
	v, err := tnetValue(data, kind, 0)
	if err != nil {
		return nil, err
	}
	flow, ok := v.(tnetDict)
	if !ok {
		return nil, errNoFlow
	}
	if version, _ := flow["version"].([]any); len(version) > 0 && version[0] == int64(0) {
		return nil, errOldFlow
	}
	if string(flow.bytes("type")) != "http" || flow.dict("request") == nil {
		return nil, errNotHTTP // tcp, udp, dns, and websocket before version 7
	}
	g.index++
	x := g.file.newExchange(g.hash, g.index)
	if err := g.request(x, flow.dict("request")); err != nil {
		g.index-- // it is counted where it is judged
		return nil, err
	}
	if reply, _ := flow["is_replay"].([]byte); string(reply) == "response" {
		x.Flags |= traffic.LocalReply
	}
	if err := g.response(x, flow); err != nil {
		g.index--
		return nil, err
	}
	client, server := flow.dict("client_conn"), flow.dict("server_conn")
	x.Connection = traffic.Connection{
		ID: bytes.Clone(client.bytes("id")), Client: flowAddress(client, "peername", "address"),
		Server: flowAddress(server, "peername", "ip_address", "address"),
	}
	if flow["websocket"] != nil {
		x.Flags |= traffic.Upgraded // its messages are not kept
	}
	return x, nil
}

func (g *flowReader) request(x *traffic.Exchange, d tnetDict) error {
	q := &x.Request
	q.Method = d.bytes("method")
	if !isToken(q.Method) {
		return errNoMethod
	}
	at, ok := flowTime(d.number("timestamp_start"))
	if !ok {
		return errFlowNoTime
	}
	x.CaptureTime = at
	q.Scheme, q.Target = d.bytes("scheme"), d.bytes("path")
	q.Protocol = flowVersion(d.bytes("http_version"))
	q.Headers, q.Trailers = flowFields(d["headers"]), flowFields(d["trailers"])
	q.Authority = flowAuthority(d, q.Headers)
	if string(q.Method) == "CONNECT" {
		x.Flags |= traffic.Connect
		q.Target = q.Authority
	}
	if q.HostInDoubt() {
		x.Flags |= traffic.AmbiguousFraming
	}
	if !isTarget(q.Method, q.Target) {
		return fmt.Errorf("request has path %q", clip(q.Target))
	}
	body, known := d["content"].([]byte)
	q.Body, q.BodySize = body[:min(len(body), g.file.bodyMax)], int64(len(body))
	if !known {
		q.BodySize = contentLength(q.Headers) // streamed, or taken away
	}
	if int64(len(q.Body)) < q.BodySize {
		x.Flags |= traffic.TruncatedRequest
	}
	own(q.Headers, q.Trailers, &q.Method, &q.Scheme, &q.Authority, &q.Target, &q.Protocol, &q.Body)
	return nil
}

func (g *flowReader) response(x *traffic.Exchange, flow tnetDict) error {
	d := flow.dict("response")
	if d == nil {
		if message := flow.dict("error").bytes("msg"); bytes.Contains(message, []byte("lient disconnected")) {
			x.Flags |= traffic.ClientAborted
		}
		x.Flags |= traffic.NoResponse
		return nil
	}
	status := d.number("status_code")
	if status < 100 || status > 999 {
		return fmt.Errorf("response has status %v", status)
	}
	r := &traffic.Response{
		Status: int(status), Protocol: flowVersion(d.bytes("http_version")),
		Headers: flowFields(d["headers"]), Trailers: flowFields(d["trailers"]),
	}
	x.Response = r
	if r.Status == 101 {
		x.Flags |= traffic.Upgraded
	}
	r.TTFB, r.Duration = since(x.CaptureTime, d.number("timestamp_start")), since(x.CaptureTime, d.number("timestamp_end"))
	body, known := d["content"].([]byte)
	r.Body, r.BodySize = body[:min(len(body), g.file.bodyMax)], int64(len(body))
	if !known && string(x.Request.Method) != "HEAD" {
		r.BodySize = contentLength(r.Headers)
		x.Flags |= traffic.TruncatedResponse
	}
	if int64(len(r.Body)) < r.BodySize {
		x.Flags |= traffic.TruncatedResponse
	}
	own(r.Headers, r.Trailers, &r.Protocol, &r.Body)
	return nil
}

// verdict is the error at the end: nil when everything could be read.
func (g *flowReader) verdict(err error) error {
	f := g.file
	switch {
	case err != nil:
		return f.incomplete(g.stats, fmt.Sprintf("broken off behind flow %d", g.count), plainCause(err), err)
	case g.first != nil:
		return f.incomplete(g.stats, fmt.Sprintf("%d of %d flows could not be read, the first is flow %d", g.stats.Broken, g.count, g.firstAt),
			g.first.Error(), g.first)
	case g.stats.Exchanges == 0:
		return f.incomplete(g.stats, "there is no HTTP flow in it", fmt.Sprintf("it has %s of other kinds", counted(g.stats.Ignored, "flow")), nil)
	}
	return nil
}

// flowAuthority is what the client named: by :authority, else by Host, else the server of a proxied request.
func flowAuthority(d tnetDict, headers []traffic.Field) []byte {
	if authority := d.bytes("authority"); len(authority) > 0 {
		return authority
	}
	if host, ok := traffic.Get(headers, "Host"); ok {
		return host
	}
	host, port := d.bytes("host"), int(d.number("port"))
	usual := map[string]int{"http": 80, "https": 443}[string(d.bytes("scheme"))]
	if port == 0 || port == usual || len(host) == 0 {
		return host
	}
	return []byte(net.JoinHostPort(string(host), strconv.Itoa(port)))
}

// flowFields reads a list of pairs. Pseudo headers are left out: the request has them.
func flowFields(v any) []traffic.Field {
	list, _ := v.([]any)
	fields := make([]traffic.Field, 0, len(list))
	for _, pair := range list {
		p, _ := pair.([]any)
		if len(p) != 2 {
			continue
		}
		name, _ := p[0].([]byte)
		value, _ := p[1].([]byte)
		if len(name) == 0 || name[0] == ':' {
			continue
		}
		fields = append(fields, traffic.Field{Name: name, Value: value})
	}
	return fields
}

// flowVersion writes the version as it is elsewhere.
func flowVersion(v []byte) []byte {
	if p := protocol(string(v)); p != nil {
		return p
	}
	return v
}

// flowAddress reads the first of the keys that has an address: [HOST, PORT], with more behind in IPv6; up to version 2 within
// a dictionary.
func flowAddress(conn tnetDict, keys ...string) []byte {
	for _, key := range keys {
		list, _ := conn[key].([]any)
		if d := conn.dict(key); d != nil {
			list, _ = d["address"].([]any)
		}
		if len(list) < 2 {
			continue
		}
		ip, _ := list[0].([]byte)
		port, _ := list[1].(int64)
		if len(ip) > 0 {
			return []byte(net.JoinHostPort(string(ip), strconv.FormatInt(port, 10)))
		}
	}
	return nil
}

// flowTime reads seconds since 1970; they have microseconds.
func flowTime(seconds float64) (time.Time, bool) {
	if !(seconds > 0) || seconds > 9e9 {
		return time.Time{}, false
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(math.Round(fraction*1e6))*1000).UTC(), true
}

func since(start time.Time, seconds float64) time.Duration {
	t, ok := flowTime(seconds)
	if !ok || t.Before(start) {
		return 0
	}
	return t.Sub(start)
}
