package redact

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// Bounds of an address in bytes (RFC 5321).
const (
	maxLocal  = 64
	maxDomain = 253
)

// emailAt knows an address whose @, of that many bytes, stands at at. What RFC 5321 would not deliver is none: two dots in a row,
// a dot before the @, a domain without a top level. Of the names that are no domains, those of files count: icon@2x.png.
func emailAt(v []byte, floor, at, width int) (span, bool) {
	from := localStart(v, floor, at)
	if from < 0 {
		return span{}, false
	}
	to := domainEnd(v, at+width)
	if to < 0 {
		return span{}, false
	}
	return span{Email, from, to}, true
}

// emailAround knows the address of which a number that was found is the beginning or a part.
func emailAround(v []byte, floor int, s span) (span, bool) {
	j := s.to
	for j < len(v) && j-s.to < maxLocal && isLocal(v[j]) && escapedAt(v, j) == 0 {
		j++
	}
	width := 1
	if j == len(v) {
		return span{}, false
	}
	if v[j] != '@' {
		if width = escapedAt(v, j); width == 0 {
			return span{}, false
		}
	}
	address, ok := emailAt(v, floor, j, width)
	return address, ok && address.from <= s.from
}

// escapedAt returns the length of an escaped @ at j, else 0.
func escapedAt(v []byte, j int) int {
	switch {
	case v[j] == '%' && bytes.HasPrefix(v[j:], []byte("%40")):
		return len("%40")
	case v[j] == '\\' && bytes.HasPrefix(v[j:], []byte(`\u0040`)):
		return len(`\u0040`)
	}
	return 0
}

// localStart returns where the part before the @ begins, -1 for none. It is of ASCII, quoted, or has other letters between (m端ller); what
// is in front of it in a script without spaces is none of it.
func localStart(v []byte, floor, at int) int {
	if at-1 >= floor && v[at-1] == '"' {
		return quotedStart(v, floor, at)
	}
	j, ascii, first := at, true, -1
	for j > floor && at-j <= maxLocal {
		c := v[j-1]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeLastRune(v[floor:j])
			if unicode.IsSpace(r) || unicode.IsPunct(r) {
				break
			}
			ascii = false
			j -= n
			continue
		}
		if !isLocal(c) || escapeBegins(v, j-1) {
			break
		}
		if isLetter(c) || isDigit(c) || c == '_' {
			first = j - 1
		}
		if c == '.' && (j == at || v[j] == '.') {
			if j < at && j-2 >= floor && v[j-2] == '.' { // an ellipsis
				break
			}
			return -1
		}
		j--
	}
	if j > floor { // %20name@ and \u0020name@
		if n := escapeTail(v, j); n > 0 && j+n < at {
			first = max(first, j+n)
		}
	}
	switch {
	case at-j > maxLocal && ascii:
		return -1
	case at-j > maxLocal: // more than an address holds: only what directly precedes
		for j = at; j > floor && v[j-1] < utf8.RuneSelf; j-- {
			if isLetter(v[j-1]) || isDigit(v[j-1]) {
				first = j - 1
			}
		}
		if j == at {
			return -1
		}
	case first < 0 && !ascii && j < at:
		return j
	}
	return first
}

// escapeTail returns how much of an escape, whose first byte is in front of j, stands from j on.
func escapeTail(v []byte, j int) int {
	switch {
	case escapeBegins(v, j-1):
		return 2
	case v[j-1] != '\\' || j == len(v):
	case v[j] == 'u' && hex4(v[j+1:]) >= 0:
		return 5
	case v[j] == 'n', v[j] == 'r', v[j] == 't':
		return 1
	}
	return 0
}

// escapeBegins reports whether %XX stands at j.
func escapeBegins(v []byte, j int) bool { return v[j] == '%' && percentAt(v, j) }

func quotedStart(v []byte, floor, at int) int {
	for j := at - 2; j >= floor && at-j <= maxLocal; j-- {
		switch {
		case v[j] == '\n':
			return -1
		case v[j] == '"' && (j == 0 || v[j-1] != '\\'):
			if j == at-2 || j > floor && (isLocal(v[j-1]) || v[j-1] >= utf8.RuneSelf) {
				return -1
			}
			return j
		}
	}
	return -1
}

// isLocal knows what a part before the @ is made of in practice. / = ? & { } ` may be, and separate things in what is read here.
func isLocal(c byte) bool {
	if isLetter(c) || isDigit(c) {
		return true
	}
	switch c {
	case '.', '_', '-', '+', '%', '\'', '!', '#', '$', '*', '^', '~', '|':
		return true
	}
	return false
}

// domainEnd returns where the domain that begins at i ends, -1 for none.
func domainEnd(v []byte, start int) int {
	best := -1
	for label := start; label < len(v) && label-start <= maxDomain; {
		if c := v[label]; !isLetter(c) && !isDigit(c) && c < utf8.RuneSelf {
			break // a dot in front of it ends a sentence
		}
		end := labelEnd(v, label, label > start)
		if end < 0 {
			break
		}
		if label > start {
			if top := topLevelEnd(v, start, label); top >= 0 || v[label] < utf8.RuneSelf {
				best = top
			}
		}
		if end == len(v) || v[end] != '.' {
			break
		}
		label = end + 1
	}
	return best
}

// labelEnd returns where the label ends that begins at i, i when there is none, -1 where no domain can go on. later is true for all but the
// first label: behind one that can be the last of a domain, text without spaces ends it.
func labelEnd(v []byte, i int, later bool) int {
	j := i
	for j < len(v) {
		c := v[j]
		if isLetter(c) || isDigit(c) || c == '-' && j > i {
			j++
			continue
		}
		if c < utf8.RuneSelf {
			break
		}
		r, n := utf8.DecodeRune(v[j:])
		switch {
		case later && j-i >= 2 && endsDomain(r, v[j+n:]):
			return j
		case r == utf8.RuneError || !unicode.IsLetter(r) || r >= 0xff00 && r <= 0xffef:
			return -1
		}
		j += n
	}
	return j
}

// endsDomain reports whether r behind a top level is no part of the word: punctuation and scripts without spaces. A space that is none of
// ASCII and has a letter behind it is in the middle of a word that is no address.
func endsDomain(r rune, rest []byte) bool {
	switch {
	case r == 0xa0, r == 0x3000, r >= 0x200b && r <= 0x200f, r == 0xfeff:
		return true
	case unicode.IsSpace(r):
		return len(rest) == 0 || !isLetter(rest[0])
	case r == utf8.RuneError:
		return false
	}
	return unicode.IsPunct(r) || r >= 0x2e80
}

// topLevelEnd checks the last label of a domain and returns where that ends.
func topLevelEnd(v []byte, start, last int) int {
	end := last
	for end < len(v) && isLetter(v[end]) {
		end++
	}
	if end-last == 2 && v[last]|0x20 == 'x' && v[last+1]|0x20 == 'n' && end+1 < len(v) && v[end] == '-' && v[end+1] == '-' {
		for end < len(v) && (isLetter(v[end]) || isDigit(v[end]) || v[end] == '-') {
			end++
		}
		return end
	}
	if end == last { // a top level in letters of its own
		for end < len(v) && v[end] >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(v[end:])
			if !unicode.IsLetter(r) {
				break
			}
			end += n
		}
		if end-last < 4 {
			return -1
		}
		return end
	}
	if end-last < 2 || end-last > 24 || end < len(v) && isDigit(v[end]) || isFileExtension(v[last:end]) {
		return -1
	}
	if v[start+1]|0x20 == 'x' && isDigit(v[start]) && last == start+3 { // icon@2x.…, whatever the type
		return -1
	}
	return end
}

// isFileExtension knows those that are no top-level domains.
func isFileExtension(label []byte) bool {
	switch string(label) {
	case "png", "jpg", "jpeg", "gif", "webp", "svg", "avif", "bmp", "ico", "tiff", "css", "scss", "js", "mjs", "cjs", "jsx", "tsx", "vue",
		"json", "html", "htm", "php", "asp", "aspx", "jsp", "xml", "txt", "map", "woff", "ttf", "eot", "pdf", "swf", "wasm", "tgz", "jar", "dll", "exe":
		return true
	}
	return false
}
