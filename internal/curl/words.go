package curl

import "strings"

// split cuts a command line into words as a shell does: by blanks, with '…', "…", $'…' and backslashes. Variables and
// commands in it stay as they are written.
func split(line string) (words []string, err error) {
	var word strings.Builder
	open := false // a word has begun, even if it is empty so far
words:
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\':
			if i++; i < len(line) && line[i] == '\r' {
				i++
			}
			if i < len(line) && line[i] != '\n' { // a line that goes on
				word.WriteByte(line[i])
				open = true
			}
		case c == '\'':
			end := strings.IndexByte(line[i+1:], '\'')
			if end < 0 {
				return nil, bad("a single quote is not closed", "")
			}
			word.WriteString(line[i+1 : i+1+end])
			i, open = i+1+end, true
		case c == '"' || c == '$' && i+1 < len(line) && line[i+1] == '\'':
			quote, from := byte('"'), i+1
			if c == '$' {
				quote, from = '\'', i+2
			}
			end := quoted(&word, line, from, quote)
			if end < 0 {
				return nil, bad("a quote is not closed", "")
			}
			i, open = end, true
		case c == '|' || !open && strings.IndexByte(";>&#", c) >= 0:
			break words // another command, or none
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			if open {
				words = append(words, word.String())
				word.Reset()
				open = false
			}
			if c == '\n' && len(words) > 0 {
				break words
			}
		default:
			word.WriteByte(c)
			open = true
		}
	}
	if open {
		words = append(words, word.String())
	}
	return words, nil
}

// quoted writes what is between quotes of the kind that knows escapes, and returns where it ends; -1: nowhere.
func quoted(word *strings.Builder, line string, from int, quote byte) (end int) {
	for i := from; i < len(line); i++ {
		c := line[i]
		switch {
		case c == quote:
			return i
		case c == '\\' && i+1 < len(line):
			i++
			if quote == '"' {
				if !strings.ContainsRune("\"\\$`\n", rune(line[i])) {
					word.WriteByte('\\')
				}
				if line[i] != '\n' {
					word.WriteByte(line[i])
				}
				continue
			}
			i += escape(word, line[i:]) - 1
		default:
			word.WriteByte(c)
		}
	}
	return -1
}

// escape writes what a backslash in $'…' stands for, and returns how many bytes behind it that takes, at least 1.
func escape(word *strings.Builder, s string) (n int) {
	if i := strings.IndexByte("nrtabfv0", s[0]); i >= 0 {
		word.WriteByte("\n\r\t\a\b\f\v\x00"[i])
		return 1
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[0]]
	var value rune
	for n = 1; n <= digits && n < len(s); n++ {
		d := strings.IndexByte("0123456789abcdef", s[n]|0x20)
		if d < 0 {
			break
		}
		value = value<<4 | rune(d)
	}
	switch {
	case digits == 0:
		word.WriteByte(s[0])
		return 1
	case s[0] == 'x':
		word.WriteByte(byte(value))
	default:
		word.WriteRune(value)
	}
	return n
}
