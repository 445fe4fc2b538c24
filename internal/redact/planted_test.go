package redact

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

// plantingPlace puts a value into a part of a request, where that has names under one.
type plantingPlace struct {
	name  string
	named bool // names in it are known to the default rules
	put   func(x *traffic.Exchange, key, value string)
}

func jsonText(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func xmlText(s string) string { return strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace(s) }

// grpcMessage is a message with field 1, a string, in gRPC's framing.
func grpcMessage(s string) string {
	m := binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(s)))
	m = append(m, s...)
	return string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m)))) + string(m)
}

func places(t *testing.T) []plantingPlace {
	escape := url.QueryEscape
	return []plantingPlace{
		{"path", false, func(x *traffic.Exchange, _, v string) {
			x.Request.Target = fmt.Appendf(nil, "/users/%s/orders%s", url.PathEscape(v), x.Request.Target)
		}},
		{"query", true, addQuery},
		{"header", true, func(x *traffic.Exchange, key, v string) {
			x.Request.Headers = append(x.Request.Headers, field("X-"+key, v))
		}},
		{"cookie", true, func(x *traffic.Exchange, key, v string) {
			x.Request.Headers = append(x.Request.Headers, field("Cookie", "theme=dark; "+key+"="+v))
		}},
		{"JSON", true, func(x *traffic.Exchange, key, v string) {
			setBody(x, "application/json", `{"id":7,"items":[{"name":"x","`+key+`":`+jsonText(v)+`}]}`)
		}},
		{"JSON, escaped", true, func(x *traffic.Exchange, key, v string) {
			var b strings.Builder
			for _, r := range v {
				if r > 0xffff {
					b.WriteRune(r)
				} else {
					fmt.Fprintf(&b, `\u%04x`, r)
				}
			}
			setBody(x, "application/json", `{"`+key+`":"`+b.String()+`"}`)
		}},
		{"form", true, func(x *traffic.Exchange, key, v string) {
			setBody(x, "application/x-www-form-urlencoded", "a=1&"+key+"="+escape(v)+"&b=2")
		}},
		{"multipart", true, func(x *traffic.Exchange, key, v string) {
			setBody(x, "multipart/form-data; boundary=xYz", "--xYz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--xYz\r\n"+
				"Content-Disposition: form-data; name=\""+key+"\"\r\n\r\n"+v+"\r\n--xYz--\r\n")
		}},
		{"XML", true, func(x *traffic.Exchange, key, v string) {
			setBody(x, "application/xml", "<order><id>7</id><"+key+">"+xmlText(v)+"</"+key+"></order>")
		}},
		{"XML attribute", true, func(x *traffic.Exchange, key, v string) {
			quote := `"`
			if strings.Contains(v, quote) {
				quote = "'"
			}
			setBody(x, "text/xml", `<?xml version="1.0"?><order id="7" `+key+"="+quote+xmlText(v)+quote+"/>")
		}},
		{"gzip", true, func(x *traffic.Exchange, key, v string) {
			setBody(x, "application/json", string(zipped(t, `{"`+key+`":`+jsonText(v)+`}`)))
			x.Request.Headers = append(x.Request.Headers, field("Content-Encoding", "gzip"))
		}},
		{"gRPC", false, func(x *traffic.Exchange, _, v string) { setBody(x, "application/grpc", grpcMessage(v)) }},
		{"text", false, func(x *traffic.Exchange, _, v string) { setBody(x, "text/plain", "she said: "+v+" and left") }},
		{"answer", true, func(x *traffic.Exchange, key, v string) {
			x.Response = &traffic.Response{
				Status: 200, Headers: []traffic.Field{field("Content-Type", "application/json")}, Body: []byte(`{"` + key + `":` + jsonText(v) + `}`),
			}
		}},
	}
}

// holdsValue searches what is stored of x, and what a reader can decode of it, for a value in any of its forms.
func holdsValue(t *testing.T, x *traffic.Exchange, v string) bool {
	t.Helper()
	all := everythingOf(t, x)
	layers := all + "\x00" + string(unescapePercent(nil, []byte(all), true)) + "\x00" + string(unescapeJSON(nil, []byte(all)))
	for _, form := range []string{v, url.QueryEscape(v), url.PathEscape(v), strings.Trim(jsonText(v), `"`), xmlText(v), base64.RawStdEncoding.EncodeToString([]byte(v))} {
		if strings.Contains(layers, form) {
			return true
		}
	}
	return false
}

func everythingOf(t *testing.T, x *traffic.Exchange) string {
	b := string(encoded(x))
	if v, _ := traffic.Get(x.Request.Headers, "Content-Encoding"); string(v) == "gzip" && len(x.Request.Body) > 0 {
		b += unzipped(t, x.Request.Body)
	}
	return b
}

// plantedValues are those of the corpora where they are, and made ones.
func plantedValues(t *testing.T) (values map[string][]string) {
	values = map[string][]string{}
	made := newMaker().values(10)
	for _, kind := range []Kind{Mobile, IDNumber, Card, Email, JWT, IBAN} {
		values[kind.String()] = append(values[kind.String()], made[kind]...)
	}
	if !hasCases(t) {
		t.Log("no shared cases beside the repository: made values only")
		return values
	}
	list := corpora(t)
	both := contradicted(list)
	for _, c := range list {
		kind, ok := scored()[c.Entity]
		if !ok || c.Text == "" && (!c.Valid || both[[2]string{c.Entity, c.Value}]) {
			continue
		}
		if c.Text == "" {
			values[kind.String()] = append(values[kind.String()], c.Value)
		} else if c.Count == len(c.Spans) {
			text := []rune(c.Text)
			for _, s := range c.Spans {
				values[kind.String()] = append(values[kind.String()], string(text[s[0]:s[1]]))
			}
		}
	}
	return values
}

// TestPlantedValuesAreNotStored plants every value in every place of a request: under a name that says what it is nothing of any value may be
// left, and elsewhere of 99 in 100 of each kind.
func TestPlantedValuesAreNotStored(t *testing.T) {
	r := fixed(t)
	values, requests := plantedValues(t), shapes(t)
	for _, place := range places(t) {
		for kind, list := range values {
			left, failed := 0, 0
			for i, v := range list {
				x := like(requests[i%len(requests)])
				place.put(x, "note", v)
				require.True(t, holdsValue(t, x, v), "%s in %s must be there to be found", v, place.name)
				if r.Exchange(x) != nil || x.Flags.Has(traffic.RedactionFailed) {
					failed++
					continue
				}
				if holdsValue(t, x, v) {
					if left++; left < 4 {
						t.Logf("%s: %s %q is left: %s", place.name, kind, v, everythingOf(t, x))
					}
				}
			}
			require.LessOrEqual(t, float64(left), 0.01*float64(len(list)), "%s in %s", kind, place.name)
			require.Zero(t, failed, "%s in %s", kind, place.name)
		}
	}
}

// A protobuf field has no name on the wire: a rule says which number it has.
func TestPlantedValuesInFieldsOfARuleAreNotStored(t *testing.T) {
	rules := DefaultRules()
	rules.Selectors = []Selector{{Name: "card of the cart", Part: InGRPC, Path: "/shop.Cart/*:1"}}
	r, err := New(Options{Key: []byte("0123456789abcdef0123456789abcdef"), Rules: rules})
	require.NoError(t, err)
	values := plantedValues(t)
	values["password"] = []string{"correct horse battery", "密码很长的一个", "hunter2hunter2", "a+b+c+d/e=="}
	for kind, list := range values {
		for _, v := range list {
			x := &traffic.Exchange{}
			x.Request.Method, x.Request.Target = []byte("POST"), []byte("/shop.Cart/Add")
			setBody(x, "application/grpc", grpcMessage(v))
			require.True(t, holdsValue(t, x, v))
			require.NoError(t, r.Exchange(x))
			require.False(t, x.Flags.Has(traffic.RedactionFailed), "%s %q", kind, v)
			require.False(t, holdsValue(t, x, v), "%s %q: %s", kind, v, everythingOf(t, x))
		}
	}
}

func TestPlantedValuesUnderTheirNamesAreNotStored(t *testing.T) {
	r := fixed(t)
	values, requests := plantedValues(t), shapes(t)
	values["password"] = []string{"correct horse battery", "p@ss w0rd&x=1", "密码很长的一个", `quo"te\d`, "hunter2hunter2", "%41%42%43-4711", "a+b+c+d/e=="}
	if hasCases(t) { // also of kinds that no detector knows, and of none
		for _, c := range corpora(t) {
			if _, ok := scored()[c.Entity]; (!ok || !c.Valid) && len(c.Text+c.Value) >= shortest {
				values["any"] = append(values["any"], c.Text+c.Value)
			}
		}
	}
	for n, place := range places(t) {
		if !place.named {
			continue
		}
		for kind, list := range values {
			for i, v := range list {
				if kind != "any" && kind != "password" && i%4 != n%4 { // what is replaced as a whole is so whatever it is
					continue
				}
				key := [...]string{"access_token", "user-password", "apiKey"}[i%3]
				if (place.name == "header" || place.name == "cookie") && strings.ContainsAny(v, ";") {
					continue // no such value can be sent there
				}
				x := like(requests[i%len(requests)])
				place.put(x, key, v)
				require.NoError(t, r.Exchange(x))
				require.False(t, holdsValue(t, x, v), "%s: %s %q under %s: %s", place.name, kind, v, key, everythingOf(t, x))
			}
		}
	}
}
