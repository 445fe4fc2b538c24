// Package curl reads the command lines of curl, as people paste them from browsers and tickets, into the requests that they
// would send. It runs nothing, expands no variables and reads no files: a command that needs one is refused.
package curl

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
)

// maxLine bounds a command line, in bytes.
const maxLine = 1 << 20

// Parse reads a command line that begins with curl. Errors are *fault.Error with code Usage.
func Parse(line string) (*traffic.Exchange, error) {
	if len(line) > maxLine {
		return nil, bad(fmt.Sprintf("it has more than %d bytes", maxLine), "")
	}
	words, err := split(line)
	if err != nil {
		return nil, err
	}
	if len(words) == 0 || words[0] != "curl" {
		return nil, bad("it does not begin with curl", "")
	}
	var c command
	if err := c.read(words[1:]); err != nil {
		return nil, err
	}
	return c.exchange()
}

func bad(cause, try string) error {
	if try == "" {
		try = "curl -X POST -H 'Content-Type: application/json' -d '{}' https://shop.example/api/orders"
	}
	return fault.BadUsage("bad curl command", cause, try)
}

// command is what a command line says.
type command struct {
	method, url string
	headers     []traffic.Field
	data        []string // parts of a body, joined with &
	form        []string // parts of a multipart body
	json        bool
	get, head   bool
	user        string
}

// exchange is the request that the command would send.
func (c *command) exchange() (*traffic.Exchange, error) {
	if c.url == "" {
		return nil, bad("it has no URL", "")
	}
	raw := c.url
	if !strings.Contains(raw, "://") {
		raw = "http://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, bad("its URL cannot be read", "http://HOST/PATH or https://HOST/PATH") // and may hold a password
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, bad("its URL is not one of HTTP", "http://HOST/PATH or https://HOST/PATH")
	}
	q := traffic.Request{Scheme: []byte(u.Scheme), Authority: []byte(u.Host), Protocol: []byte("HTTP/1.1")}
	target, data := u.RequestURI(), strings.Join(c.data, "&")
	switch {
	case len(c.form) > 0 && len(c.data) > 0:
		return nil, bad("-d and -F are two bodies", "")
	case c.get && data != "":
		separator := "?"
		if strings.Contains(target, "?") {
			separator = "&"
		}
		target += separator + data
	case len(c.form) > 0:
		q.Body = multipart(c.form)
		c.add("Content-Type", "multipart/form-data; boundary="+boundary)
	case c.data != nil:
		q.Body = []byte(data)
		if c.json {
			c.add("Content-Type", "application/json")
			c.add("Accept", "application/json")
		} else {
			c.add("Content-Type", "application/x-www-form-urlencoded")
		}
	}
	if c.user == "" && u.User != nil {
		password, _ := u.User.Password()
		c.user = u.User.Username() + ":" + password
	}
	if c.user != "" {
		c.add("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(c.user)))
	}
	c.add("Host", u.Host)
	c.add("User-Agent", "curl")
	c.add("Accept", "*/*")
	q.Target, q.Method, q.BodySize = []byte(target), []byte(c.verb(q.Body)), int64(len(q.Body))
	q.Headers = slices.DeleteFunc(c.headers, func(f traffic.Field) bool { return f.Value == nil })
	if host, ok := traffic.Get(q.Headers, "Host"); ok {
		q.Authority = host
	}
	return &traffic.Exchange{Request: q, Flags: traffic.RequestOnly}, nil
}

func (c *command) verb(body []byte) string {
	switch {
	case c.method != "":
		return c.method
	case c.head:
		return "HEAD"
	case body != nil:
		return "POST"
	}
	return "GET"
}

// add adds a header that curl sends by itself, unless the command names it; a nil value takes it away.
func (c *command) add(name, value string) {
	if !slices.ContainsFunc(c.headers, func(f traffic.Field) bool { return traffic.EqualName(f.Name, name) }) {
		c.headers = append(c.headers, traffic.Field{Name: []byte(name), Value: []byte(value)})
	}
}

// header reads the value of -H: 'Name: value', 'Name;' for an empty one, 'Name:' to send none.
func (c *command) header(s string) error {
	name, value, ok := strings.Cut(s, ":")
	f := traffic.Field{Name: []byte(strings.TrimSpace(name)), Value: []byte(strings.TrimSpace(value))}
	switch {
	case strings.HasPrefix(s, "@"):
		return file("-H")
	case !ok && strings.HasSuffix(s, ";"):
		f.Name, f.Value = []byte(strings.TrimSuffix(s, ";")), []byte{}
	case !ok || len(f.Name) == 0:
		return bad("-H wants 'Name: value'", "")
	case len(f.Value) == 0:
		f.Value = nil
	}
	if strings.ContainsAny(s, "\r\n") {
		return bad("a header has a line break in it", "")
	}
	c.headers = append(c.headers, f)
	return nil
}

func file(flag string) error {
	return bad(flag+" names a file, and none is read", "the content written out, in quotes")
}

const boundary = "------------------------reprise"

// multipart is a body of parts 'name=value', each perhaps with ;type=.
func multipart(parts []string) []byte {
	var b strings.Builder
	for _, part := range parts {
		name, value, _ := strings.Cut(part, "=")
		value, kind, typed := strings.Cut(value, ";type=")
		fmt.Fprintf(&b, "--%s\r\nContent-Disposition: form-data; name=%q\r\n", boundary, name)
		if typed {
			fmt.Fprintf(&b, "Content-Type: %s\r\n", kind)
		}
		fmt.Fprintf(&b, "\r\n%s\r\n", value)
	}
	fmt.Fprintf(&b, "--%s--\r\n", boundary)
	return []byte(b.String())
}
