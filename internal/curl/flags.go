package curl

import (
	"net/url"
	"strings"

	"github.com/reprise-io/reprise/internal/fault"
)

// flags that say what is sent, by their long names. Those without a function take a value that changes nothing sent.
func (c *command) flags() map[string]func(value string) error {
	data := func(s string) error {
		if strings.HasPrefix(s, "@") {
			return file("-d")
		}
		c.data = append(c.data, s)
		return nil
	}
	put := func(to *string) func(string) error {
		return func(s string) error {
			*to = s
			return nil
		}
	}
	return map[string]func(string) error{
		"request": put(&c.method), "url": put(&c.url), "user": put(&c.user), "header": c.header,
		"data": data, "data-ascii": data, "data-binary": data,
		"data-raw": func(s string) error {
			c.data = append(c.data, s)
			return nil
		},
		"json": func(s string) error {
			c.json = true
			return data(s)
		},
		"data-urlencode": func(s string) error {
			name, value, named := strings.Cut(s, "=")
			switch {
			case strings.Contains(name, "@"):
				return file("--data-urlencode")
			case named && name != "":
				s = name + "=" + url.QueryEscape(value)
			default:
				s = url.QueryEscape(strings.TrimPrefix(s, "="))
			}
			c.data = append(c.data, s)
			return nil
		},
		"form": func(s string) error {
			name, value, named := strings.Cut(s, "=")
			switch {
			case !named || name == "":
				return bad("-F wants name=value", "")
			case strings.HasPrefix(value, "@") || strings.HasPrefix(value, "<"):
				return file("-F")
			}
			c.form = append(c.form, s)
			return nil
		},
		"form-string": func(s string) error {
			c.form = append(c.form, s)
			return nil
		},
		"cookie": func(s string) error {
			if !strings.Contains(s, "=") {
				return file("-b")
			}
			return c.header("Cookie: " + s)
		},
		"user-agent": func(s string) error { return c.header("User-Agent: " + s) },
		"referer":    func(s string) error { return c.header("Referer: " + s) },
		"output":     nil, "max-time": nil, "connect-timeout": nil, "cookie-jar": nil, "write-out": nil, "proxy": nil, "cacert": nil,
		"cert": nil, "key": nil, "resolve": nil, "retry": nil, "dump-header": nil, "interface": nil, "max-redirs": nil, "connect-to": nil,
	}
}

// switches are flags without a value.
func (c *command) switches() map[string]func() {
	no := func() {}
	return map[string]func(){
		"get": func() { c.get = true }, "head": func() { c.head = true }, "compressed": func() { c.add("Accept-Encoding", "deflate, gzip, br, zstd") },
		"insecure": no, "silent": no, "show-error": no, "location": no, "verbose": no, "include": no, "fail": no, "globoff": no,
		"http1.1": no, "http2": no, "http1.0": no, "ipv4": no, "ipv6": no, "no-buffer": no, "progress-bar": no, "fail-with-body": no,
		"remote-name": no, "path-as-is": no, "no-keepalive": no, "tcp-nodelay": no, "http2-prior-knowledge": no,
	}
}

func long(short byte) string {
	return map[byte]string{
		'X': "request", 'H': "header", 'd': "data", 'b': "cookie", 'F': "form", 'u': "user", 'A': "user-agent", 'e': "referer", 'o': "output",
		'm': "max-time", 'c': "cookie-jar", 'w': "write-out", 'x': "proxy", 'E': "cert", 'D': "dump-header", 'G': "get", 'I': "head",
		'k': "insecure", 's': "silent", 'S': "show-error", 'L': "location", 'v': "verbose", 'i': "include", 'f': "fail", 'g': "globoff",
		'4': "ipv4", '6': "ipv6", 'N': "no-buffer", '#': "progress-bar", 'O': "remote-name", '0': "http1.0",
	}[short]
}

// read reads the words behind curl.
func (c *command) read(words []string) error {
	flags, switches := c.flags(), c.switches()
	value := func(name, glued string) error {
		if glued == "" {
			if len(words) == 0 {
				return bad("--"+name+" has no value", "")
			}
			glued, words = words[0], words[1:]
		}
		if set := flags[name]; set != nil {
			return set(glued)
		}
		return nil
	}
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		switch {
		case strings.HasPrefix(word, "--") && len(word) > 2:
			name := word[2:]
			if _, ok := flags[name]; ok {
				if err := value(name, ""); err != nil {
					return err
				}
			} else if flip := switches[name]; flip != nil {
				flip()
			} else {
				return c.unknown(word)
			}
		case strings.HasPrefix(word, "-") && len(word) > 1:
			for rest := word[1:]; rest != ""; {
				name := long(rest[0])
				rest = rest[1:]
				if _, ok := flags[name]; ok {
					if err := value(name, rest); err != nil {
						return err
					}
					break
				}
				flip := switches[name]
				if flip == nil {
					return c.unknown(word)
				}
				flip()
			}
		case c.url != "":
			return bad("it has two URLs", "one curl command for each")
		default:
			c.url = word
		}
	}
	return nil
}

func (c *command) unknown(word string) error {
	var names []string
	for name := range c.flags() {
		names = append(names, "--"+name)
	}
	try := "the command without it"
	if near, ok := fault.Nearest(word, names); ok {
		try = near
	}
	if len(word) > 40 {
		word = word[:40] + "…"
	}
	return bad("unknown flag "+word, try)
}
