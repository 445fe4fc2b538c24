package redact

import (
	"bytes"

	"github.com/reprise-io/reprise/internal/traffic"
)

// multipart redacts each part by its own name and type. A body that was cut is redacted as far as it goes.
func (p *pass) multipart(b []byte, base int, boundary []byte) {
	if len(boundary) == 0 || len(boundary) > 200 || p.depth >= maxNesting {
		p.err = errMultipart
		return
	}
	delimiter := append(append(p.take(2 + len(boundary))[:0], "--"...), boundary...)
	at := nextDelimiter(b, 0, delimiter)
	if at < 0 {
		p.err = errMultipart
		return
	}
	p.depth++
	p.text(b[:at], base)
	for n := 0; p.err == nil; {
		start := at
		at += len(delimiter)
		if bytes.HasPrefix(b[at:], []byte("--")) {
			p.text(b[at:], base+at)
			break
		}
		line := bytes.IndexByte(b[at:], '\n')
		if line < 0 {
			break
		}
		at += line + 1
		next := nextDelimiter(b, at, delimiter)
		end := next
		if next < 0 {
			end = len(b)
		}
		if p.part(b[at:end], base+at, n) {
			n++
		} else {
			p.put(base+start, base+end, nil) // with the delimiter before it
		}
		if at = next; next < 0 {
			break
		}
	}
	p.depth--
}

// nextDelimiter finds a delimiter at the start of a line.
func nextDelimiter(b []byte, from int, delimiter []byte) int {
	for at := from; at < len(b); {
		i := bytes.Index(b[at:], delimiter)
		if i < 0 {
			return -1
		}
		at += i
		if at == 0 || b[at-1] == '\n' {
			return at
		}
		at++
	}
	return -1
}

// part redacts one part: header lines, an empty line, content. Content that is encoded once more cannot be read. keep is
// false when a rule drops the part.
func (p *pass) part(b []byte, base, n int) (keep bool) {
	head, content := b, b[len(b):]
	if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
		head, content = b[:i], b[i+4:]
	} else if i := bytes.Index(b, []byte("\n\n")); i >= 0 {
		head, content = b[:i], b[i+2:]
	}
	mark := len(p.edits)
	p.push(scope{kind: inPartHead, index: n})
	p.scan(head, base)
	p.pop()
	if len(p.edits) > mark { // the name is shown as it is stored
		head = append(p.take(len(head))[:0], head...)
		for _, e := range p.edits[mark:] {
			copy(head[e.from-base:], e.with)
		}
	}
	if encoding := partHeader(head, "content-transfer-encoding"); len(encoding) > 0 &&
		!traffic.EqualName(encoding, "binary") && !traffic.EqualName(encoding, "8bit") && !traffic.EqualName(encoding, "7bit") {
		p.err = errHidden
		return true
	}
	_, params, _ := bytes.Cut(partHeader(head, "content-disposition"), []byte(";"))
	name := mediaParam(params, "name")
	base += len(b) - len(content)
	content = bytes.TrimSuffix(bytes.TrimSuffix(content, []byte("\n")), []byte("\r"))
	p.push(scope{kind: inPart, name: name, index: n})
	defer p.pop()
	hit := p.r.keys.match(name)
	if rule := named(p.chosen.multipart, name); rule != nil {
		hit = keyHit{rule: rule}
	}
	switch {
	case hit.drops() && p.claim(hit.rule.Name, dropped, -1):
		return false
	case hit.rule != nil && !hit.drops():
		p.secret(hit, content, base)
	case !p.strange(content, base):
		p.content(content, base, partHeader(head, "content-type"))
	}
	return true
}

// partHeader returns the value of a header line.
func partHeader(head []byte, name string) []byte {
	for len(head) > 0 {
		var line []byte
		line, head, _ = bytes.Cut(head, []byte("\n"))
		if field, value, ok := bytes.Cut(line, []byte(":")); ok && traffic.EqualName(bytes.TrimSpace(field), name) {
			return bytes.TrimSpace(value)
		}
	}
	return nil
}

// eventStream redacts every line of a text/event-stream; data is JSON more often than not.
func (p *pass) eventStream(b []byte, base int) {
	for n := 0; len(b) > 0; n++ {
		line, rest, _ := bytes.Cut(b, []byte("\n"))
		at := 0
		if i := bytes.IndexByte(line, ':'); i >= 0 && i < 8 {
			at = i + 1
		}
		for at < len(line) && line[at] == ' ' {
			at++
		}
		p.push(scope{kind: inLine, index: n})
		if data := line[at:]; len(data) > 0 && (data[0] == '{' || data[0] == '[' || data[0] == '"') {
			p.json(data, base+at, keyHit{})
		} else {
			p.value(data, base+at)
		}
		p.pop()
		base += len(b) - len(rest)
		b = rest
	}
}
