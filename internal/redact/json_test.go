package redact

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

func redactJSON(t testing.TB, r *Redactor, body string) (string, []traffic.Redaction) {
	t.Helper()
	x := post("application/json", body)
	require.NoError(t, r.Exchange(x))
	return string(x.Request.Body), x.Redactions
}

func TestJSONLocationsAreThoseOfTheStoredForm(t *testing.T) {
	r := fixed(t)
	mobile := string(r.Pseudonym("cn-mobile", []byte(phone)))
	long := strings.Repeat("k", 200)
	rows := []struct {
		name, body string
		want       []string
	}{
		{"nested", `{"a":[{},{"phone":"1"}]}`, []string{"/a/1/phone"}},
		{"escapes of pointers", `{"a/b~c":{"pin":1}}`, []string{"/a~1b~0c/pin"}},
		{"a key that looks like a mark", `{"x~@3":"` + phone + `"}`, []string{"/x~0@3~@0"}},
		{"invalid UTF-8 in a key", "{\"a\xff\":{\"pin\":1}}", []string{"/a~%FF/pin"}},
		{"Chinese key", `{"密码":"x1"}`, []string{"/密码"}},
		{"escaped key", `{"\u0070in":1}`, []string{"/pin"}},
		{"a key that is a phone number", `{"` + phone + `":{"pin":1}}`, []string{"/" + mobile + "~name~@0", "/" + mobile + "/pin"}},
		{"the same key twice", `{"pin":1,"pin":2}`, []string{"/pin", "/pin~#1"}},
		{"a long key", `{"` + long + `":{"pin":[1,2]}}`, []string{"/~!", "/~!"}},
		{"documents of a stream", `{"pin":1}{"pin":2} 3 {"pin":4}`, []string{"/pin", "~$1/pin", "~$3/pin"}},
		{"two values in a string", `{"s":"` + phone + `,` + phone + `"}`, []string{"/s~@0", "/s~@12"}},
		{"a document in a string", `["{\"pin\":1}"]`, []string{"/0~json:/pin"}},
		{"root", `"` + phone + `"`, nil}, // no JSON for the sniffer: declared as such it is
	}
	for _, row := range rows {
		_, found := redactJSON(t, r, row.body)
		if row.want == nil {
			require.Equal(t, "request.json:~@0", found[0].Location)
			continue
		}
		require.Len(t, found, len(row.want), row.name)
		for i, want := range row.want {
			require.True(t, strings.HasPrefix(found[i].Location, "request.json:"+want), "%s: %s", row.name, found[i].Location)
			if !strings.HasPrefix(want, "/~!") {
				require.Equal(t, "request.json:"+want, found[i].Location, row.name)
			}
		}
	}
}

func TestJSONKeepsTypes(t *testing.T) {
	r := fixed(t)
	out, _ := redactJSON(t, r, `{"pin":[1234,-7,0.5,1.5e-10,true,false,null,"",{"x":12}],"total_tokens":57,"tokens":["ab"],"pass":9}`)
	require.True(t, json.Valid([]byte(out)))
	require.Regexp(t, `^\{"pin":\[[1-9]\d{3},-\d,0\.\d,\d\.\de-10,true,false,null,"",\{"x":\d\d\}\],"total_tokens":57,"tokens":\["[a-z]{2}"\],"pass":9\}$`, out)
	require.NotContains(t, out, "1234")
}

func TestNumbersThatOnlyLookAlikeStay(t *testing.T) {
	r := fixed(t)
	for _, v := range []string{
		`{"t":1700000000000}`,                                        // ms
		`{"t":1700000000000000,"n":1700000000000000000}`,             // µs, ns
		`{"x":0.13812345678,"y":139.69171123,"z":[121.12345678901]}`, // decimal fractions
		`{"h":"3fa13812345678cd01"}`,                                 // inside hexadecimal
		`{"order":"20240102123456789012"}`,                           // a longer run of digits
		`{"card_type":"visa","phone_model":"x","token_type":"bearer","password_hint":"no"}`,
		`{"d":"2024-01-02T03:04:05.678901234Z"}`,
		`{"ip":"192.168.100.100","v":"1.2.3-4567"}`,
	} {
		out, found := redactJSON(t, r, v)
		require.Equal(t, v, out)
		require.Empty(t, found)
	}
}

func TestLongKeysAndManyHitsStayBounded(t *testing.T) {
	r := fixed(t)
	body := `{"` + strings.Repeat("k", 100<<10) + `":{"pin":[` + strings.TrimSuffix(strings.Repeat("1,", 9000), ",") + `]}}`
	x := post("application/json", body)
	require.NoError(t, r.Exchange(x))
	require.Zero(t, x.Flags)
	require.Len(t, x.Redactions, 9000)
	require.Less(t, len(encoded(x)), len(body)+9000*100)
}

// tokens flattens a document: structure, keys and types; replaced values show as their type only.
func tokens(t *testing.T, doc []byte) []string {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var out []string
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return out
		}
		require.NoError(t, err, "%q", doc)
		if delim, ok := tok.(json.Delim); ok {
			out = append(out, delim.String())
			continue
		}
		out = append(out, fmt.Sprintf("%T", tok))
	}
}

// FuzzJSON checks against encoding/json: a valid document stays valid with the same structure, and no planted secret is
// left, wherever the document has room for it.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`{"a":1,"b":[true,null,"x\u00e9\n"],"c":{"d":-1.5e3}}`, `[]`, `"x"`, `[[[{"password":{"a":[1,"2"]}}]]]`,
		`{"a":"{\"b\":\"c\"}","u":"http://a/b?c=d"}`, `{"":"","phone":"\ud83d\ude00 \\ \" 1"}`, "{\"a\":\"\xff\xfe\"}",
	} {
		f.Add([]byte(s), true)
	}
	r := fixed(f)
	f.Fuzz(func(t *testing.T, doc []byte, escape bool) {
		if !json.Valid(doc) {
			return
		}
		secret, number := `"hunter2secret"`, `"`+phone+`"`
		if escape {
			secret, number = `"hunter\u0032secret"`, `"\u0031`+phone[1:]+`"`
		}
		planted := fmt.Sprintf(`[%s,{"pwd":%s,"in":[%s,%s]},{"token":{"a":[%s]}},%s]`, doc, secret, phone, number, secret, doc)
		x := post("application/json", planted)
		require.NoError(t, ignoreMany(r.Exchange(x)))
		if len(x.Request.Body) == 0 {
			return // too deep
		}
		require.True(t, json.Valid(x.Request.Body), "%q became %q", planted, x.Request.Body)
		require.Equal(t, tokens(t, []byte(planted)), tokens(t, x.Request.Body))
		var out []any
		require.NoError(t, json.Unmarshal(x.Request.Body, &out))
		tail := fmt.Sprint(out[1:3]...)
		require.NotContains(t, tail, "hunter2secret")
		require.NotContains(t, tail, phone)
		require.NotContains(t, tail, "1.3812345678e+10")
	})
}
