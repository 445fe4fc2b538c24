package logformat

import (
	"strings"
	"time"
)

// Nginx reads the string of a log_format directive: variables as $name or ${name}. The parameter escape=default|json|none
// may stand before it, and the whole directive with its name, quotes and semicolon may be given as well.
func Nginx(format string) (*Template, error) {
	var b builder
	text, places, err := nginxText(format, &b.escape)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(text); {
		if text[i] != '$' {
			b.literal(text[i])
			i++
			continue
		}
		name, n := variable(text[i:])
		if n == 0 {
			return nil, &FormatError{places[i], "a $ without the name of a variable"}
		}
		f := nginxField(name)
		f.At = places[i]
		b.field(f, "$"+name)
		i += n
	}
	return b.finish()
}

// variable returns the name behind a $ and how long both are; 0: there is none.
func variable(text string) (name string, n int) {
	rest := text[1:]
	if braced, ok := strings.CutPrefix(rest, "{"); ok {
		name, _, ok = strings.Cut(braced, "}")
		if !ok || name == "" {
			return "", 0
		}
		return name, len(name) + 3
	}
	end := strings.IndexFunc(rest, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_')
	})
	if end < 0 {
		end = len(rest)
	}
	if end == 0 {
		return "", 0
	}
	return rest[:end], end + 1
}

// nginxText takes the format out of a directive. places tells where in it each byte of the text stood, from 1.
func nginxText(format string, escape *Escape) (text string, places []int, err error) {
	at := 0
	word := func() string {
		for at < len(format) && strings.IndexByte(" \t\r\n", format[at]) >= 0 {
			at++
		}
		end := at
		for end < len(format) && strings.IndexByte(" \t\r\n", format[end]) < 0 {
			end++
		}
		return format[at:end]
	}
	directive := word() == "log_format"
	if directive {
		at += len("log_format")
		at += len(word()) // its name
	}
	if value, ok := strings.CutPrefix(word(), "escape="); ok {
		switch value {
		case "default":
		case "json":
			*escape = JSON
		case "none":
			*escape = None
		default:
			return "", nil, &FormatError{at + 1, "unknown escape, want default, json or none"}
		}
		at += len("escape=") + len(value)
		if !directive && at < len(format) {
			at++ // one space; more are the format's own
		}
	} else if !directive {
		at = 0
	}
	if directive {
		return quotedText(format, at)
	}
	for i := at; i < len(format); i++ {
		places = append(places, i+1)
	}
	return format[at:], places, nil
}

// quotedText joins the quoted strings of a directive.
func quotedText(format string, at int) (text string, places []int, err error) {
	var b []byte
	for at < len(format) {
		switch c := format[at]; c {
		case ' ', '\t', '\r', '\n', ';':
			at++
			continue
		case '\'', '"':
			start := at
			for at++; at < len(format) && format[at] != c; at++ {
				if format[at] == '\\' && at+1 < len(format) && (format[at+1] == c || format[at+1] == '\\') {
					at++
				}
				b, places = append(b, format[at]), append(places, at+1)
			}
			if at == len(format) {
				return "", nil, &FormatError{start + 1, "a quote that does not end"}
			}
			at++
		default:
			for at < len(format) && strings.IndexByte(" \t\r\n;", format[at]) < 0 {
				b, places = append(b, format[at]), append(places, at+1)
				at++
			}
		}
	}
	return string(b), places, nil
}

const second = int64(time.Second)

// nginxField tells what a variable says. nginx writes a line when the request is over, so its times are of the end.
func nginxField(name string) Field {
	switch name {
	case "request":
		return Field{Kind: RequestLine}
	case "request_method":
		return Field{Kind: Method, class: token}
	case "request_uri":
		return Field{Kind: Target, class: token}
	case "uri", "document_uri":
		return Field{Kind: Path}
	case "args", "query_string":
		return Field{Kind: Query, class: token}
	case "is_args":
		return Field{Kind: MarkedQuery, Name: name, class: token}
	case "server_protocol":
		return Field{Kind: Protocol, class: token}
	case "status":
		return Field{Kind: Status, class: digits}
	case "body_bytes_sent":
		return Field{Kind: BodyBytes, class: digits}
	case "bytes_sent":
		return Field{Kind: SentBytes, class: digits}
	case "time_local":
		return Field{Kind: TimeText, Name: "02/Jan/2006:15:04:05 -0700", End: true, class: stamp}
	case "time_iso8601":
		return Field{Kind: TimeText, Name: time.RFC3339, End: true, class: token}
	case "msec":
		return Field{Kind: TimeNumber, Unit: second, End: true, class: digits}
	case "request_time":
		return Field{Kind: Duration, Unit: second, class: digits}
	case "remote_addr", "realip_remote_addr":
		return Field{Kind: onlyOf(ClientAddress, name == "remote_addr"), class: token}
	case "remote_port":
		return Field{Kind: ClientPort, class: digits}
	case "server_addr":
		return Field{Kind: ServerAddress, class: token}
	case "server_port":
		return Field{Kind: ServerPort, class: digits}
	case "host":
		return Field{Kind: Authority, class: host}
	case "server_name":
		return Field{Kind: ServerName, class: host}
	case "scheme":
		return Field{Kind: Scheme, class: token}
	case "https":
		return Field{Kind: HTTPS, class: token}
	case "content_type":
		return Field{Kind: RequestHeader, Name: "Content-Type"}
	case "content_length":
		return Field{Kind: RequestHeader, Name: "Content-Length", class: digits}
	case "request_body":
		return Field{Kind: RequestBody}
	case "connection":
		return Field{Kind: Connection, class: digits}
	case "connection_requests":
		return Field{Kind: ConnectionNext, class: digits}
	case "request_completion":
		return Field{Kind: Completion, class: token}
	case "remote_user", "proxy_add_x_forwarded_for", "geoip_city", "request_filename":
		return Field{}
	}
	switch {
	case strings.HasPrefix(name, "http_"):
		f := Field{Kind: RequestHeader, Name: headerName(name[len("http_"):])}
		switch name {
		case "http_host":
			f.class = host
		case "http_x_forwarded_for":
			f.class = list
		}
		return f
	case strings.HasPrefix(name, "sent_http_"):
		return Field{Kind: ResponseHeader, Name: headerName(name[len("sent_http_"):])}
	case strings.HasPrefix(name, "cookie_"):
		return Field{Kind: RequestCookie, Name: name[len("cookie_"):]}
	case strings.HasPrefix(name, "upstream_"):
		return Field{class: list}
	}
	return Field{class: token}
}

func onlyOf(kind Kind, yes bool) Kind {
	if yes {
		return kind
	}
	return Other
}

// headerName writes the name of a field as it usually stands on the wire: "user_agent" is "User-Agent".
func headerName(variable string) string {
	switch variable {
	case "dnt", "te":
		return strings.ToUpper(variable)
	}
	name := []byte(strings.ReplaceAll(strings.ToLower(variable), "_", "-"))
	for i, c := range name {
		if (i == 0 || name[i-1] == '-') && c >= 'a' && c <= 'z' {
			name[i] = c - 'a' + 'A'
		}
	}
	return string(name)
}
