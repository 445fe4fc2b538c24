package logformat

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNamedFormatsCanBeRead(t *testing.T) {
	for _, name := range []string{"common", "combined", "vhost_combined", "accesslog"} {
		templates, ok := Named(name)
		require.True(t, ok)
		require.NotEmpty(t, templates)
	}
	_, ok := Named("iis")
	require.False(t, ok)
}

// cut returns the values of a line with bars between them; nil as a dash.
func cut(t *testing.T, format, line string) string {
	t.Helper()
	f, err := Nginx(format)
	require.NoError(t, err)
	raw, ok := f.Match([]byte(line), nil)
	if !ok {
		return "no match"
	}
	var values []string
	for _, v := range raw {
		if v = f.Value(v); v == nil {
			v = []byte("-")
		}
		values = append(values, string(v))
	}
	return strings.Join(values, "|")
}

func TestValuesAreCutWhereTheFormatSays(t *testing.T) {
	const must = ` "$request" $msec`
	const tail = ` "GET / HTTP/1.1" 1.5`
	for name, row := range map[string]struct{ format, line, want string }{
		"quotes within quotes, as they are escaped":   {`"$http_a" $status`, `"x\x22 200 \x5C" 404`, `x" 200 \|404`},
		"quotes within quotes, as they should not be": {`"$http_a" $status`, `"x" y" 404`, `x" y|404`},
		"an address with colons before a port":        {`$remote_addr:$remote_port`, `2001:db8::1:443`, `2001:db8::1|443`},
		"a list with commas and colons":               {`$upstream_addr $status`, `a:1, b:2 : c:3 200`, `a:1, b:2 : c:3|200`},
		"a free value before one without spaces":      {`$http_a $remote_addr`, `x, y z`, `x, y|z`},
		"a host right before its path":                {`$scheme://$host$request_uri`, `http://a:1/b/c`, `http|a:1|/b/c`},
		"braces":                                      {`${status}x`, `200x`, `200`},
		"another line":                                {`[$status]`, `(200)`, `no match`},
		"a number that is none":                       {`$status`, `abc`, `no match`},
		"json":                                        {`escape=json {"a":"$http_a"}`, `{"a":"\"\\\/\u0001\n"}`, "\"\\/\x01\n"},
		"none":                                        {`escape=none "$http_a" $status`, `"a"b\" 200`, `a"b\|200`},
		"hex that is none":                            {`"$http_a"`, `"\xZZ\q\x4"`, `\xZZ\q\x4`},
	} {
		t.Run(name, func(t *testing.T) {
			want := row.want
			if want != "no match" {
				want += "|GET / HTTP/1.1|1.5"
			}
			require.Equal(t, want, cut(t, row.format+must, row.line+tail))
		})
	}
}

func TestALineThatFitsInNoWayIsGivenUp(t *testing.T) {
	f, err := Nginx(strings.Repeat(`$http_a x `, 12) + `"$request" $msec`)
	require.NoError(t, err)
	_, ok := f.Match([]byte(strings.Repeat("x ", 4000)), nil)
	require.False(t, ok)
}

func FuzzMatch(f *testing.F) {
	f.Add(`$http_a "$request" $msec`, `a b "GET / HTTP/1.1" 1`, false)
	f.Add(`%{x}i %t "%r"`, `\"a [x] "\x4"`, true)
	f.Fuzz(func(t *testing.T, format, line string, apache bool) {
		compile := Nginx
		if apache {
			compile = Apache
		}
		template, err := compile(format)
		if err != nil {
			return
		}
		values, ok := template.Match([]byte(line), nil)
		if !ok {
			return
		}
		require.Len(t, values, len(template.Fields()))
		whole := template.literals[0]
		for i, v := range values {
			template.Value(v)
			whole += string(v) + template.literals[i+1]
		}
		require.Equal(t, line, whole)
	})
}
