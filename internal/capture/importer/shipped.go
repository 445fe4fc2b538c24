package importer

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"time"
)

// dockerLog begins every line of the files in which Docker keeps what containers write. A HAR's log is an object.
const dockerLog = `{"log":"`

// withoutShipper takes off a line what carries logs has put around it: syslog, containerd (the files of Kubernetes), Docker's
// own files, kubectl logs --prefix, docker logs -t and docker compose logs. Taken for a part of the line, it would be a
// client or a header that nobody sent.
func withoutShipper(line []byte) []byte {
	switch rest := line; {
	case bytes.HasPrefix(line, []byte(dockerLog)):
		var entry struct {
			Log string `json:"log"`
		}
		if json.Unmarshal(line, &entry) != nil {
			return line
		}
		return bytes.TrimRight([]byte(entry.Log), "\r\n")
	case bytes.HasPrefix(line, []byte("[pod/")):
		if _, behind, ok := bytes.Cut(line, []byte("] ")); ok {
			rest = behind
		}
		return withoutStamp(rest)
	case bytes.HasPrefix(line, []byte("<")):
		if digits, behind, ok := bytes.Cut(line[1:], []byte(">")); ok && len(digits) > 0 && len(digits) < 4 && isDigits(digits) {
			return withoutStamp(behind)
		}
		return line
	}
	if name, behind, ok := bytes.Cut(line, []byte("| ")); ok && isComposeName(name) {
		return withoutStamp(behind)
	}
	return withoutStamp(line)
}

// withoutStamp takes off a time and what syslog or containerd write behind one.
func withoutStamp(line []byte) []byte {
	version, numbered := bytes.CutPrefix(line, []byte("1 ")) // RFC 5424
	if numbered {
		if stamp, rest := word(version); isStamp(stamp) {
			for range 4 { // host, application, process, message
				_, rest = word(rest)
			}
			end := "- "
			if bytes.HasPrefix(rest, []byte("[")) { // structured data
				end = "] "
			}
			if _, behind, ok := bytes.Cut(rest, []byte(end)); ok {
				return bytes.TrimPrefix(behind, []byte(bom))
			}
		}
		return line
	}
	if n := len(time.Stamp); len(line) > n && line[n] == ' ' && line[n-3] == ':' { // RFC 3164
		if _, err := time.Parse(time.Stamp, string(line[:n])); err == nil {
			return withoutTag(line[n+1:], line)
		}
	}
	stamp, rest := word(line)
	if !isStamp(stamp) {
		return line
	}
	stream, behind := word(rest)
	if name := string(stream); name == "stdout" || name == "stderr" {
		if _, behind = word(behind); len(behind) > 0 { // F or P, and tags
			return behind
		}
		return line
	}
	return withoutTag(rest, rest)
}

// withoutTag takes off a host and what logged there, as in "web1 nginx[12]: ", and returns other where there is none.
func withoutTag(line, other []byte) []byte {
	_, rest := word(line)
	if tag, behind := word(rest); len(tag) > 1 && tag[len(tag)-1] == ':' {
		return behind
	}
	return other
}

func word(line []byte) (first, rest []byte) {
	first, rest, _ = bytes.Cut(line, []byte(" "))
	return first, rest
}

// isStamp reports whether a word is a time of RFC 3339, with or without a fraction.
func isStamp(word []byte) bool {
	if len(word) < len("2006-01-02T15:04:05Z") || word[4] != '-' || word[10] != 'T' {
		return false
	}
	_, err := time.Parse(time.RFC3339, string(word))
	return err == nil
}

// isComposeName reports whether p is the name of a container, filled up with blanks.
func isComposeName(p []byte) bool {
	name := bytes.TrimRight(p, " ")
	return len(name) > 0 && len(name) < len(p) && !bytes.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == '.')
	})
}

func isDigits(p []byte) bool { return len(bytes.Trim(p, "0123456789")) == 0 }

// isForwarded reports whether a value is one that proxies write into X-Forwarded-For.
func isForwarded(value []byte) bool {
	for node := range strings.SplitSeq(string(value), ",") {
		switch node = strings.TrimSpace(node); {
		case node == "", node == "-", strings.EqualFold(node, "unknown"), node[0] == '_':
			continue
		}
		_, err := netip.ParseAddr(strings.Trim(node, "[]"))
		if _, errPort := netip.ParseAddrPort(node); err != nil && errPort != nil {
			return false
		}
	}
	return true
}
