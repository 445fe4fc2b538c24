package traffic

import "bytes"

// HostInDoubt reports whether two servers could take a request for two hosts: it has several Host fields, which RFC 9112
// 3.2 refuses, or came over HTTP/2 and later with a Host that is not its authority, which RFC 9113 8.3.1 calls malformed.
func (r *Request) HostInDoubt() bool {
	var host []byte
	hosts := 0
	for i := range r.Headers {
		if EqualName(r.Headers[i].Name, "host") {
			host = r.Headers[i].Value
			hosts++
		}
	}
	framed := !bytes.HasPrefix(r.Protocol, []byte("HTTP/1.")) && len(r.Protocol) > 0
	return hosts > 1 || hosts == 1 && framed && len(r.Authority) > 0 && !bytes.EqualFold(r.withoutPort(host), r.withoutPort(r.Authority))
}

// withoutPort takes the port off that the scheme has anyway.
func (r *Request) withoutPort(host []byte) []byte {
	switch string(r.Scheme) {
	case "http":
		return bytes.TrimSuffix(host, []byte(":80"))
	case "https":
		return bytes.TrimSuffix(host, []byte(":443"))
	}
	return host
}
