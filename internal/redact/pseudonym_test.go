package redact

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPseudonymsKeepTypeAndLength(t *testing.T) {
	r := fixed(t)
	rows := []struct{ kind, value, like string }{
		{"cn-mobile", "13812345678", `^1[3-9]\d{9}$`},
		{"cn-mobile", "138-1234-5678", `^1[3-9]\d-\d{4}-\d{4}$`},
		{"cn-mobile", "92138389438", `^9[28]\d{9}$`},
		{"cn-id", "11010519491231002X", `^\d{17}[\dX]$`},
		{"cn-id", "110105 19491231 002x", `^\d{6} \d{8} \d{3}[\dx]$`},
		{"cn-id", "110101491001001", `^\d{15}$`},
		{"card", "4111111111111111", `^4111\d{12}$`},
		{"card", "3782-822463-10005", `^3782-\d{6}-\d{5}$`},
		{"email", "bob.smith@example-shop.com", `^[a-z]{3}\.[a-z]{5}@[a-z]{8}\.example$`},
		{"email", "a@qq.com", `^[a-z]@[a-z]\.test$`},
		{"email", "a@b.cn", `^[a-z]@[a-z]\.[a-z]{2}$`},
		{"secret", "9f86d081884c7d659a2feaa0c55ad015", `^[0-9a-f]{32}$`},
		{"secret", "9F86D081884C7D65", `^[0-9A-F]{16}$`},
		{"secret", "3f2504e0-4f89-41d3-9a0c-0305e82c3301", `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-9[0-9a-f]{3}-[0-9a-f]{12}$`},
		{"secret", "123456", `^[1-9]\d{5}$`},
		{"secret", "Summer2024!", `^[A-Z][a-z]{5}\d{4}!$`},
		{"secret", "dGhpcyBpcyBhIHRva2VuIQ==", `^[A-Za-z0-9]{22}==$`},
		{"secret", "a.b-c_d.Efgh.1234.ijkl", `^[a-zA-Z0-9]\.[a-zA-Z0-9]-`},
		{"secret", "密码是一二三", `^\p{Han}{6}$`},
		{"secret", "é😀", `^[α-ϊ].$`},
		{"secret", "!?!", `^[a-z]{3}$`},
		{"secret", "\xff\xfe", `^[a-z]{2}$`},
		{"secret", strings.Repeat("Ab1", 1000), `^[A-Za-z0-9]{1000}`},
		{"session", "7", `^[0-9a-f]{32}$`}, // opaque: short values must not collide
	}
	d := newDetector(DefaultRules().Detectors)
	for _, row := range rows {
		got := string(r.Pseudonym(row.kind, []byte(row.value)))
		require.Regexp(t, row.like, got, row.value)
		require.NotEqual(t, row.value, got)
		if row.kind != "session" {
			require.Len(t, got, len(row.value))
		}
		require.Equal(t, got, string(r.Pseudonym(row.kind, []byte(row.value))), "the same again")
		require.Equal(t, got, string(fixed(t).Pseudonym(row.kind, []byte(row.value))), "and in another process")
		other, err := New(Options{Key: []byte("another")})
		require.NoError(t, err)
		require.NotEqual(t, got, string(other.Pseudonym(row.kind, []byte(row.value))), "another key")
		if strings.HasPrefix(row.kind, "c") {
			s, ok := d.next([]byte(got), 0)
			require.True(t, ok, "%s is still one", got)
			require.Equal(t, row.kind, s.kind.String())
			require.Equal(t, []int{0, len(got)}, []int{s.from, s.to})
		}
	}
	require.Nil(t, r.Pseudonym("secret", nil))
}

func TestSeparatorsDoNotChangeThePseudonym(t *testing.T) {
	r := fixed(t)
	digits := func(kind, v string) string {
		return strings.NewReplacer("-", "", " ", "").Replace(string(r.Pseudonym(kind, []byte(v))))
	}
	require.Equal(t, digits("cn-mobile", phone), digits("cn-mobile", "138-1234-5678"))
	require.Equal(t, digits("card", card), digits("card", "4111 1111 1111 1111"))
	require.Equal(t, strings.ToUpper(digits("cn-id", strings.ToLower(idCard))), digits("cn-id", "110105 19491231 002X"))
}

func TestPseudonymsAreNeverTheValue(t *testing.T) {
	r := fixed(t)
	for i := range 10 {
		for _, v := range []string{fmt.Sprint(i), string(rune('a' + i)), "0.", "0!", "-" + fmt.Sprint(i)} {
			require.NotEqual(t, v, string(r.Pseudonym("secret", []byte(v))))
		}
	}
}

func TestPseudonymsAreValidAndSpread(t *testing.T) {
	r := fixed(t)
	seen := map[string]bool{}
	for i := range 2000 {
		mobile := r.Pseudonym("cn-mobile", fmt.Appendf(nil, "138%08d", i*7919))
		require.True(t, strictMobile(mobile))
		id := fmt.Appendf(nil, "110101199001%02d%03d0", 1+i%28, i%1000)
		id[17] = checkID(id)
		id = r.Pseudonym("cn-id", id)
		require.True(t, validID(id), "%s", id)
		number := fmt.Appendf(nil, "411111%09d0", i*7919)
		number[15] += byte(10-luhn(number)) % 10
		number = r.Pseudonym("card", number)
		require.True(t, validCard(number), "%s", number)
		seen[string(mobile)], seen[string(id)], seen[string(number)] = true, true, true
	}
	require.Len(t, seen, 3*2000, "no collision among these")
}
