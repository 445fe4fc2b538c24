package redact

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// maker makes values of every kind by their published rules, the same for the same seed.
type maker struct{ *rand.Rand }

func newMaker() maker { return maker{rand.New(rand.NewPCG(8, 8))} }

func (m maker) pick(list ...string) string { return list[m.IntN(len(list))] }

func (m maker) from(alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[m.IntN(len(alphabet))]
	}
	return string(b)
}

func (m maker) digits(n int) string { return m.from("0123456789", n) }

const (
	lower = "abcdefghijklmnopqrstuvwxyz"
	upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	alnum = "0123456789" + lower + upper
)

// mobile is a number in one of the ways in which people write it.
func (m maker) mobile() string {
	a, b, c := "1"+m.from("3456789", 1)+m.digits(1), m.digits(4), m.digits(4)
	sep := m.pick("", "", "", "-", " ")
	return m.pick("", "", "+86", "+86 ", "0086", "86-") + a + sep + b + sep + c
}

func (m maker) id() string {
	date := fmt.Sprintf("%04d%02d%02d", 1930+m.IntN(95), 1+m.IntN(12), 1+m.IntN(28))
	area := m.pick("11", "12", "23", "31", "37", "44", "51", "65", "81", "83") + m.digits(4)
	if m.IntN(10) == 0 {
		return area + "19" + date[4:] + m.digits(3)
	}
	b := []byte(area + date + m.digits(3) + "0")
	b[17] = checkID(b)
	return string(b)
}

// card is a number of any brand, bare or in groups.
func (m maker) card() string {
	brand := m.pick(
		"4:16", "4:13", "4:19", "51:16", "55:16", "2221:16", "2720:16", "34:15", "37:15", "6011:16", "6011:19", "644:16", "65:16", "3528:16", "3589:16",
		"3088:16", "300:14", "305:14", "36:14", "38:14", "62:16", "62:17", "62:18", "62:19", "6759:16", "5018:16", "6304:16", "2131:15", "1800:15", "2200:16",
	)
	prefix, size, _ := strings.Cut(brand, ":")
	n := number([]byte(size))
	d := []byte(prefix + m.digits(n-len(prefix)-1) + "0")
	d[n-1] += byte((10 - luhn(d)) % 10)
	s := string(d)
	sep := m.pick("", "", " ", "-")
	if sep == "" {
		return s
	}
	if n == 15 || n == 14 { // 4-6-5, 4-6-4
		return s[:4] + sep + s[4:10] + sep + s[10:]
	}
	var groups []string
	for ; len(s) > 4; s = s[4:] {
		groups = append(groups, s[:4])
	}
	return strings.Join(append(groups, s), sep)
}

func (m maker) email() string {
	local := m.pick(
		m.from(lower, 1+m.IntN(8)), m.from(lower, 4)+"."+m.from(lower, 6), m.from(alnum, 3)+"_"+m.digits(2), m.from(lower, 5)+"+"+m.from(lower, 3), m.digits(9),
	)
	return local + "@" + m.pick("gmail.com", "qq.com", "163.com", "example.co.uk", m.from(lower, 5)+".org", "mail-"+m.from(lower, 3)+".example.net", "foo.museum")
}

func (m maker) jwt() string {
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + part([]byte(`{"sub":"`+m.digits(8)+`","iat":17`+m.digits(8)+`}`)) + "." + m.from(alnum+"-_", 43)
}

// iban is an account number of a country, bare or in groups.
func (m maker) iban(country string) string {
	form, size := ibanForm([2]byte([]byte(country)))
	b, n := []byte(country+"00"), 0
	for _, c := range []byte(form) {
		switch {
		case isDigit(c):
			n = n*10 + int(c-'0')
			continue
		case c == 'n':
			b = append(b, m.digits(n)...)
		case c == 'a':
			b = append(b, m.from(upper, n)...)
		default:
			b = append(b, m.from("0123456789"+upper, n)...)
		}
		n = 0
	}
	check := 98 - mod97(b[:size])
	b[2], b[3] = '0'+byte(check/10), '0'+byte(check%10)
	s := string(b)
	if m.IntN(2) == 0 {
		return s
	}
	var groups []string
	for ; len(s) > 4; s = s[4:] {
		groups = append(groups, s[:4])
	}
	return strings.Join(append(groups, s), " ")
}

// countries are those with account numbers.
func countries() (list []string) {
	for _, a := range upper {
		for _, b := range upper {
			if _, size := ibanForm([2]byte{byte(a), byte(b)}); size > 0 {
				list = append(list, string([]rune{a, b}))
			}
		}
	}
	return list
}

// values makes n values of each kind.
func (m maker) values(n int) map[Kind][]string {
	out := map[Kind][]string{}
	for range n {
		out[Mobile] = append(out[Mobile], m.mobile())
		out[IDNumber] = append(out[IDNumber], m.id())
		out[Card] = append(out[Card], m.card())
		out[Email] = append(out[Email], m.email())
		out[JWT] = append(out[JWT], m.jwt())
		out[Landline] = append(out[Landline], m.pick("010-", "021-", "028 ")+m.from("2345678", 1)+m.digits(7), "0755-"+m.from("2345678", 1)+m.digits(m.IntN(2)+6))
		out[APIKey] = append(out[APIKey], m.pick("gh"+"p_", "sk_"+"live_", "np"+"m_")+m.from(alnum, 36), "AK"+"IA"+m.from("ABCDEFGHIJ234567", 16))
	}
	for _, c := range countries() {
		for range max(1, n/50) {
			out[IBAN] = append(out[IBAN], m.iban(c))
		}
	}
	return out
}

func TestMadeValuesOfEveryKindAreFound(t *testing.T) {
	d := newDetector(DefaultRules().Detectors)
	require.Greater(t, len(countries()), 90)
	for kind, list := range newMaker().values(500) {
		found := 0
		for i, v := range list {
			text := [...]string{"%s", "is %s, she said", `{"a":"%s"}`, "号码%s。", "x=%s&y=1"}[i%5]
			s, ok := d.next(fmt.Appendf(nil, text, v), 0)
			at := strings.Index(text, "%s")
			if ok && s.kind == kind && s.to == at+len(v) && isCountryCode([]byte(v[:s.from-at])) {
				found++
			} else if kind != Mobile || !ok {
				t.Logf("%s %q in %q: %v %+v", kind, v, text, ok, s)
			}
		}
		t.Logf("%-12s %4d of %4d", kind, found, len(list))
		require.GreaterOrEqual(t, float64(found), 0.99*float64(len(list)), kind.String())
	}
}

// TestLookalikesAreLeft: what traffic is full of is nobody's number. Values with a wrong check digit, and ids, times and hashes.
func TestLookalikesAreLeft(t *testing.T) {
	d := newDetector(DefaultRules().Detectors)
	m := maker{rand.New(rand.NewPCG(0, 0))} // another for each kind
	const each = 2000
	kinds := map[string]func() string{
		"cards with a wrong digit": func() string {
			b := []byte(strings.NewReplacer(" ", "", "-", "").Replace(m.card()))
			b[len(b)-1] = '0' + (b[len(b)-1]-'0'+1+byte(m.IntN(9)))%10
			return string(b)
		},
		"account numbers with a wrong digit": func() string {
			b := []byte(strings.ReplaceAll(m.iban(m.pick("DE", "GB", "FR", "NL")), " ", ""))
			b[3] = '0' + (b[3]-'0'+1+byte(m.IntN(9)))%10
			return string(b)
		},
		"UUIDs": func() string {
			h := m.from("0123456789abcdef", 32)
			return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
		},
		"hashes":           func() string { return m.from("0123456789abcdef", 40) },
		"times in seconds": func() string { return "17" + m.digits(8) },
		"times in ms":      func() string { return "17" + m.digits(11) },
		"times in µs":      func() string { return "17" + m.digits(14) },
		"times in ns":      func() string { return "17" + m.digits(17) },
		"dates": func() string {
			return fmt.Sprintf("20%s-1%s-2%sT1%s:3%s:00.123456789+08:00", m.digits(2), m.from("012", 1), m.digits(1), m.digits(1), m.digits(1))
		},
		"prices":      func() string { return m.digits(3) + "." + m.digits(2) },
		"floats":      func() string { return "0." + m.digits(17) },
		"coordinates": func() string { return "1" + m.digits(2) + "." + m.digits(8) + ",3" + m.digits(1) + "." + m.digits(8) },
		"addresses": func() string {
			return m.digits(2) + "." + m.digits(2) + "." + m.digits(3) + "." + m.digits(1) + ":" + m.digits(4)
		},
		"base64": func() string { return base64.StdEncoding.EncodeToString([]byte(m.from(alnum, 60))) },
		"versions": func() string {
			return m.from(lower, 6) + "@" + m.digits(1) + "." + m.digits(2) + "." + m.digits(1) + "-beta." + m.digits(1)
		},
		"pictures": func() string { return "/static/" + m.from(lower, 6) + "@2x.png" },
		"trace ids": func() string {
			return "00-" + m.from("0123456789abcdef", 32) + "-" + m.from("0123456789abcdef", 16) + "-01"
		},
		"snowflakes": func() string { return "1" + m.digits(18) },
	}
	for name, next := range kinds {
		wrong := 0
		m.Rand = newMaker().Rand
		for range each {
			v := next()
			if s, ok := d.next([]byte(v), 0); ok {
				if wrong++; wrong <= 3 {
					t.Logf("%s: %q is taken for %s", name, v, s.kind)
				}
			}
		}
		t.Logf("%-36s %d of %d", name, wrong, each)
		require.LessOrEqual(t, float64(wrong), 0.01*each, name)
	}
}
