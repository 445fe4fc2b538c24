package redact

import (
	"bytes"

	"github.com/reprise-io/reprise/internal/traffic"
)

// SessionCookie returns the value of the first cookie of x's request whose name looks like a session's, else of the first that its
// answer sets: a log-in belongs to the session that it begins. Read it before Exchange, and keep only its pseudonym:
// Pseudonym("session", value).
func SessionCookie(x *traffic.Exchange) ([]byte, bool) {
	for i := range x.Request.Headers {
		f := &x.Request.Headers[i]
		if !traffic.EqualName(f.Name, "Cookie") {
			continue
		}
		for pair := range bytes.SplitSeq(f.Value, []byte(";")) {
			if value, ok := sessionIn(pair); ok {
				return value, true
			}
		}
	}
	if x.Response == nil {
		return nil, false
	}
	for i := range x.Response.Headers {
		f := &x.Response.Headers[i]
		if !traffic.EqualName(f.Name, "Set-Cookie") {
			continue
		}
		pair, _, _ := bytes.Cut(f.Value, []byte(";"))
		if value, ok := sessionIn(pair); ok {
			return value, true
		}
	}
	return nil, false
}

// sessionIn returns the value of name=value when the name looks like a session's.
func sessionIn(pair []byte) ([]byte, bool) {
	name, value, ok := bytes.Cut(pair, []byte("="))
	value = bytes.TrimSpace(value)
	return value, ok && len(value) > 0 && IsSessionCookie(bytes.TrimSpace(name))
}

// IsSessionCookie knows JSESSIONID, PHPSESSID, ASP.NET_SessionId, laravel_session, connect.sid, session_id, SID and the like.
func IsSessionCookie(name []byte) bool {
	for i := range name {
		if name[i]|0x20 != 's' {
			continue
		}
		if hasWord(name[i:], "sess") {
			return true
		}
		if len(name)-i == 3 && hasWord(name[i:], "sid") && (i == 0 || !isLetter(name[i-1])) {
			return true
		}
	}
	return false
}

func hasWord(v []byte, word string) bool {
	return len(v) >= len(word) && traffic.EqualName(v[:len(word)], word)
}
