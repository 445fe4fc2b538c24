package redact

// span is a value that a detector found.
type span struct {
	kind     Kind
	from, to int
}

// shortest is the length of the shortest value that a detector knows: a@b.cn.
const shortest = 6

// trigger says what a byte may be part of. In ordinary text few bytes are any, so that most cost one look into a table.
type trigger uint8

const (
	quiet        trigger = iota
	onDigit              // a number of any kind, or an IBAN whose two letters are behind
	onAt                 // the @ of an address
	onEscape             // %40 or \u0040
	onJ                  // eyJ, the beginning of a token
	onDash               // glpat-, xoxb-, sk-, -----BEGIN
	onUnderscore         // ghp_, sk_live_, npm_
	onI                  // AKIA, AIza, LTAI
	onG                  // SG.
	onK                  // SK
	onB                  // Bearer
)

// detector finds values of some kinds.
type detector struct {
	kinds kindSet
	on    *[256]trigger
	keys  *keyTable // nil without APIKey
}

// kindSet has bit k for Kind k.
type kindSet uint32

func (s kindSet) has(k Kind) bool { return s>>k&1 != 0 }

func newDetector(kinds []Kind) detector {
	d := detector{on: new([256]trigger)}
	for _, k := range kinds {
		d.kinds |= 1 << k
		switch k {
		case Mobile, IDNumber, Card, Landline, IBAN, Passport, PassportShape:
			for c := '0'; c <= '9'; c++ {
				d.on[c] = onDigit
			}
		case Email:
			d.on['@'], d.on['%'], d.on['\\'] = onAt, onEscape, onEscape
		case JWT:
			d.on['J'] = onJ
		case APIKey:
			d.keys = newKeyTable()
			d.on['-'], d.on['_'], d.on['I'], d.on['G'], d.on['K'] = onDash, onUnderscore, onI, onG, onK
		case PrivateKey:
			d.on['-'] = onDash
		case Bearer:
			d.on['B'], d.on['b'] = onB, onB
		}
	}
	return d
}

// next returns the first value in v that begins at or after i. ok is false when there is none.
func (d detector) next(v []byte, i int) (s span, ok bool) {
	on := d.on
	for j := i; j < len(v); j++ {
		for j+4 < len(v) { // most of most text is quiet
			w := v[j : j+4 : j+4]
			if a, b, c := on[w[0]], on[w[1]], on[w[2]]; a|b|c|on[w[3]] != quiet {
				switch {
				case a != quiet:
				case b != quiet:
					j++
				case c != quiet:
					j += 2
				default:
					j += 3
				}
				break
			}
			j += 4
		}
		t := on[v[j]]
		if t == quiet {
			continue
		}
		switch t {
		case onDigit:
			to := digits(v, j+1)
			if to-j > 1 && !lone(v, j, to) {
				if s, ok = d.number(v, i, j, to); ok {
					return s, true
				}
			}
			j = to - 1
		case onB:
			if j+1 < len(v) && v[j+1]|0x20 == 'e' {
				if s, ok = bearerAt(v, j); ok {
					return s, true
				}
			}
		case onDash:
			if j > 0 && isDigit(v[j-1]) && (j+1 == len(v) || v[j+1] != '-') { // a date
				continue
			}
			fallthrough
		default:
			if s, ok = d.word(t, v, i, j); ok {
				return s, true
			}
		}
	}
	return span{}, false
}

// lone reports whether a run of digits, v[from:to], stands by itself and is shorter than any value, as most numbers: no letter
// is in front of it and no group behind it.
func lone(v []byte, from, to int) bool {
	return to-from < 7 && (to == len(v) || !goesOn(v[to])) && (from == 0 || !isLetter(v[from-1]))
}

// number tries what a run of two digits or more, v[from:to], may be or begin; floor is where an earlier value ended.
func (d detector) number(v []byte, floor, from, to int) (span, bool) {
	if d.kinds.has(IBAN) && from-floor >= 2 && isLetter(v[from-1]) && isLetter(v[from-2]) {
		if s, ok := ibanAt(v, floor, from); ok {
			return s, true
		}
	}
	if n := to - from; n < 11 && n != 7 && n != 8 && !groups(v, from, to) {
		return span{}, false
	}
	s, ok := d.group(v, from, to)
	if !ok && to-from > 2 {
		if skip := escapeEnd(v, from); skip > from && skip < to {
			s, ok = d.group(v, skip, to)
		}
	}
	if ok && d.kinds.has(Email) { // 13812345678@163.com
		if address, is := emailAround(v, floor, s); is {
			return address, true
		}
	}
	return s, ok
}

// groups reports whether v[from:to] may be the first group of a number. Before a dot, as decimal numbers have it, a short one is
// only that of a mobile number, and its last three digits are the network.
func groups(v []byte, from, to int) bool {
	if to == len(v) || !goesOn(v[to]) {
		return false
	}
	return v[to] != '.' || to-from > 6 || to-from > 2 && strictMobile(v[to-3:])
}

// goesOn reports whether a number in groups may go on behind c.
func goesOn(c byte) bool { return isSeparator(c) || c == ')' }

// group tries the kinds of number.
func (d detector) group(v []byte, from, to int) (span, bool) {
	n := to - from
	if n == 2 { // +86-10-12345678
		if from < 4 || v[from-2] != '6' || v[from-3] != '8' || !d.kinds.has(Landline) {
			return span{}, false
		}
		return landlineAt(v, from, to)
	}
	if d.kinds.has(Mobile) {
		if s, ok := mobileAt(v, from, to); ok && bounded(v, s) {
			return s, true
		}
	}
	if d.kinds.has(IDNumber) && n >= 6 {
		if s, ok := idAt(v, from, to); ok && bounded(v, s) {
			return s, true
		}
	}
	if d.kinds.has(Card) && (n == 4 || n == 6 || n >= 13) {
		if s, ok := cardAt(v, from, to); ok && bounded(v, s) {
			return s, true
		}
	}
	switch {
	case n == 15 && d.kinds.has(IDNumber) && oldID(v[from:to]):
		s := span{IDNumber, from, to}
		return s, bounded(v, s)
	case n <= 4 && d.kinds.has(Landline):
		return landlineAt(v, from, to)
	case n == 7 || n == 8:
		return d.passport(v, from, to)
	}
	return span{}, false
}

// word tries what the byte at j may be part of; floor is where an earlier value ended.
func (d detector) word(t trigger, v []byte, floor, j int) (span, bool) {
	switch t {
	case onAt:
		return emailAt(v, floor, j, 1)
	case onEscape:
		if n := escapedAt(v, j); n > 0 {
			return emailAt(v, floor, j, n)
		}
	case onJ:
		return jwtAt(v, floor, j)
	case onDash:
		if d.kinds.has(PrivateKey) && j+2 < len(v) && v[j+1] == '-' && v[j+2] == '-' {
			return privateKeyAt(v, j)
		}
		if d.keys != nil {
			return d.keys.at(v, floor, j)
		}
	case onUnderscore:
		return d.keys.at(v, floor, j)
	case onI, onG, onK:
		return capitalKeyAt(v, floor, j)
	}
	return span{}, false
}
