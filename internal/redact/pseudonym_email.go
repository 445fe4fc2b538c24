package redact

import "bytes"

// email keeps the shape of the local part and moves to a reserved domain of the same length: letters.example, or
// letters.test where that is too long. Domains shorter than 6 bytes only keep their dots.
func (p *pseudonyms) email(dst, value []byte, attempt byte) {
	at, sign := atSign(value)
	if at < 0 {
		p.start(Email.String(), value, attempt)
		p.likeness(dst, value)
		return
	}
	if behind := at + len(sign); len(sign) == 1 {
		p.start(Email.String(), value, attempt)
	} else { // equal to the address that is not escaped
		p.start(Email.String(), append(append(append(make([]byte, 0, len(value)), value[:at]...), '@'), value[behind:]...), attempt)
	}
	p.likeness(dst[:at], value[:at])
	copy(dst[at:], sign)
	domain, was := dst[at+len(sign):], value[at+len(sign):]
	suffix := ".example"
	if len(domain) < len(suffix)+1 {
		suffix = ".test"
	}
	if len(domain) < len(suffix)+1 {
		suffix = ""
	}
	n := len(domain) - len(suffix)
	for i := range n {
		domain[i] = 'a' + byte(p.below(26))
		if suffix == "" && was[i] == '.' {
			domain[i] = '.'
		}
	}
	copy(domain[n:], suffix)
}

// atSign returns the last @ of an address, as it is or escaped; -1 when there is none.
func atSign(value []byte) (at int, sign []byte) {
	if at = bytes.LastIndexByte(value, '@'); at >= 0 {
		return at, value[at : at+1]
	}
	for _, escaped := range [...]string{"%40", `\u0040`} {
		if at = bytes.LastIndex(value, []byte(escaped)); at >= 0 {
			return at, value[at : at+len(escaped)]
		}
	}
	return -1, nil
}
