package redact

import (
	"bytes"
	"strings"
)

// protocols handles Sec-WebSocket-Protocol, the one field that a browser's script can set there: so it carries tokens, as the
// protocol behind one with a credential's name ("bearer, <token>") or behind such a name in one of them.
func (p *pass) protocols(rule string, v []byte) {
	if !p.hasCredential(v) {
		p.value(v, 0)
		return
	}
	if !p.claim(rule, "", -1) {
		return
	}
	base, named := 0, false
	for len(v) > 0 {
		piece, rest, _ := bytes.Cut(v, []byte(","))
		switch n := credentialPrefix(piece); {
		case named:
			p.credential(piece, base)
			named = false
		case n > 0:
			p.credential(piece[n:], base+n)
		default:
			named = p.isCredentialName(piece)
			p.value(piece, base)
		}
		base += len(v) - len(rest)
		v = rest
	}
}

// hasCredential reports whether there is anything to replace in a list of protocols.
func (p *pass) hasCredential(v []byte) bool {
	for named := false; len(v) > 0; {
		piece, rest, _ := bytes.Cut(v, []byte(","))
		if named || credentialPrefix(piece) > 0 {
			return true
		}
		named, v = p.isCredentialName(piece), rest
	}
	return false
}

func (p *pass) isCredentialName(piece []byte) bool {
	name := bytes.ToLower(bytes.TrimSpace(piece))
	if len(name) > 32 || bytes.IndexByte(name, '.') >= 0 {
		return false
	}
	return string(name) == "bearer" || string(name) == "basic" || p.r.words.match(name).rule != nil
}

// credentialPrefix returns how much of a protocol stands before the credential in it: Kubernetes' and that of others. 0: there
// is none.
func credentialPrefix(piece []byte) int {
	protocol := bytes.TrimLeft(piece, " \t")
	for _, prefix := range [...]string{
		"base64url.bearer.authorization.k8s.io.", "authorization.bearer.", "bearer.", "bearer-", "authorization.",
		"authorization-", "access_token.", "token.", "token-", "jwt.", "jwt-", "header-",
	} {
		if len(protocol) > len(prefix) && strings.EqualFold(string(protocol[:len(prefix)]), prefix) {
			return len(piece) - len(protocol) + len(prefix)
		}
	}
	return 0
}
