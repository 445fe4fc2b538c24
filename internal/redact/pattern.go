package redact

import "bytes"

// Bounds of patterns. RE2 takes time in proportion to the body.
const (
	maxPatternBody = 1 << 20 // bytes of a body that are searched; a longer one is not stored where a pattern is for it
	maxMatches     = 1000    // of a body
)

// taken is a span of a body that a pattern has had.
type taken struct{ from, to int }

// patterns redacts a body by its structure, then by patterns. What the record says a pattern has had stays as it is.
func (p *pass) patterns(b []byte, contentType []byte) []byte {
	if len(b) > maxPatternBody {
		p.err = errTooLarge
		return nil
	}
	spared := p.spared(b)
	p.content(b, 0, contentType)
	if p.err != nil {
		return nil
	}
	if len(spared) > 0 {
		p.spare(spared)
	}
	b = p.apply(b)
	p.push(scope{kind: inPattern, index: -1})
	defer p.pop()
	for _, s := range p.chosen.body {
		for found := 0; ; { // what is dropped may have been between the parts of another match
			all := s.matches(b)
			if found += len(all); found > maxMatches {
				p.err = errTooMany
			}
			if p.err != nil {
				return nil
			}
			p.matched(s, b, all)
			if s.Action != Drop || len(p.edits) == 0 {
				break
			}
			b = p.apply(b)
		}
		b = p.apply(b)
	}
	return b
}

// matched does to the matches of a pattern what its rule says.
func (p *pass) matched(s *selector, b []byte, all []taken) {
	mark := ""
	if s.Action == Drop {
		mark = dropped
	}
	for _, m := range all {
		switch {
		case !p.claim(s.Name, mark, p.stored(m.from, 0)):
		case s.Action == Drop:
			p.put(m.from, m.to, nil)
		default:
			p.treat(&s.rule, b[m.from:m.to], m.from)
		}
	}
}

// matches are the spans that a pattern is for: its first group, or all of it.
func (s *selector) matches(b []byte) (all []taken) {
	for _, m := range s.pattern.FindAllSubmatchIndex(b, maxMatches+1) {
		from, to := m[0], m[1]
		if len(m) > 2 {
			from, to = m[2], m[3]
		}
		if from >= 0 && len(bytes.TrimSpace(b[from:to])) > 0 && (len(all) == 0 || from >= all[len(all)-1].to) {
			all = append(all, taken{from, to})
		}
	}
	return all
}

// spared are the matches that the record lists.
func (p *pass) spared(b []byte) (all []taken) {
	p.push(scope{kind: inPattern, index: -1})
	defer p.pop()
	for _, s := range p.chosen.body {
		for _, m := range s.matches(b) {
			p.locate("", m.from)
			if pl, ok := p.places[string(p.loc)]; ok && pl.listed == p.number {
				all = append(all, m)
			}
		}
	}
	return all
}

// spare takes back the edits that touch one of the spans.
func (p *pass) spare(spans []taken) {
	kept := p.edits[:0]
	for _, e := range p.edits {
		touches := false
		for _, s := range spans {
			touches = touches || e.from < s.to && s.from < e.to
		}
		if !touches {
			kept = append(kept, e)
		}
	}
	p.edits = kept
}
