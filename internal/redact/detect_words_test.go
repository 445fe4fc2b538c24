package redact

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// kindsIn lists what the default detectors find in a text, as kind:value.
func kindsIn(text string) (got []string) {
	d := newDetector(DefaultRules().Detectors)
	for i := 0; ; {
		s, ok := d.next([]byte(text), i)
		if !ok {
			return got
		}
		got = append(got, s.kind.String()+":"+text[s.from:s.to])
		i = s.to
	}
}

// Parts are joined here, so that nothing in this file is taken for a leaked key by those who look for them.
func join(parts ...string) string { return strings.Join(parts, "") }

func TestDetectedWords(t *testing.T) {
	const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
	const drawn = "4eC39HqLyjWDarjtT1zdp7dc4eC39HqLyjWDarjtT1zdp7dc4eC39HqLyjWDarjt"
	hex := strings.Repeat("0a1b2c3d", 8)
	key := func(prefix string, n int) string { return prefix + drawn[:n] }
	rows := []struct {
		text string
		want []string
	}{
		{"a@b.cn", []string{"email:a@b.cn"}},
		{"mail foo+tag@bar.com.au, now.", []string{"email:foo+tag@bar.com.au"}},
		{"mail foo@bar.co.uk. Then", []string{"email:foo@bar.co.uk"}},
		{"<foo@xn--80ak6aa92e.com>", []string{"email:foo@xn--80ak6aa92e.com"}},
		{"mailto:foo@bar.com?subject=x", []string{"email:foo@bar.com"}},
		{"'foo@bar.com'", []string{"email:foo@bar.com"}},
		{"foo%40bar.com", []string{"email:foo%40bar.com"}},
		{`x=\u0020foo\u0040bar.com`, []string{`email:foo\u0040bar.com`}},
		{"%20foo%40bar.com%20", []string{"email:foo%40bar.com"}},
		{`\nfoo@bar.com\n`, []string{"email:foo@bar.com"}},
		{"邮箱foo@bar.com请查收", []string{"email:foo@bar.com"}},
		{"foo@bar.com，谢谢", []string{"email:foo@bar.com"}},
		{"foo@bar.com.。", []string{"email:foo@bar.com"}},
		{"hans.müller@müller.de", []string{"email:hans.müller@müller.de"}},
		{`"john smith"@example.com`, []string{`email:"john smith"@example.com`}},
		{"13812345678@163.com", []string{"email:13812345678@163.com"}},
		{"13812345678.work%40163.com", []string{"email:13812345678.work%40163.com"}},
		{"...foo@bar.com", []string{"email:foo@bar.com"}},
		{"test@1337.com", []string{"email:test@1337.com"}},
		{"/img/icon@2x.png /lodash@4.17.21/x react@18.2.0.js a@b user@host @media x@y.c foo..bar@baz.com foo.@baz.com", nil},
		{"foo@bar.co\u2006m", nil},
		{strings.Repeat("x", 65) + "@bar.com", nil},

		{"GB82WEST12345698765432", []string{"iban:GB82WEST12345698765432"}},
		{"IBAN: DE89 3704 0044 0532 0130 00.", []string{"iban:DE89 3704 0044 0532 0130 00"}},
		{"fr7630006000011234567890189", []string{"iban:fr7630006000011234567890189"}},
		{"BE71-0961-2345-6769", []string{"iban:BE71-0961-2345-6769"}},
		{"GB82WEST12345698765433 XX82WEST12345698765432 AGB82WEST12345698765432 GB82WEST123456987654321 GB82 1EST12345698765432", nil},

		{jwt, []string{"jwt:" + jwt}},
		{"\x0a" + string(rune(len(jwt))) + jwt + "\x10\x01", []string{"jwt:" + jwt}}, // as a field of protobuf
		{"token=" + jwt + ".", []string{"jwt:" + jwt}},
		{"eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.", []string{"jwt:eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0."}},
		{"eyJhbGciOiJkaXIifQ..aXYxMjM0.Y2lwaGVy.dGFn", []string{"jwt:eyJhbGciOiJkaXIifQ..aXYxMjM0.Y2lwaGVy.dGFn"}},
		{"eyJ2ZXJzaW9uIjozfQ== eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0 " + jwt + ".eyJ4IjoxfQ xeyJhbGciOiJIUzI1NiJ9.YQ.YQ", nil},

		{"Bearer 0123456789abcdef", []string{"bearer:0123456789abcdef"}},
		{"authorization: bearer 2YotnFZFEjr1zCsicMWpAA==", []string{"bearer:2YotnFZFEjr1zCsicMWpAA=="}},
		{"Bearer authentication-scheme, bearer of tidings", nil},

		{join("AKIA", "IOSFODNN7EXAMPLE"), []string{join("api-key:AKIA", "IOSFODNN7EXAMPLE")}},
		{key("ghp_", 36), []string{key("api-key:ghp_", 36)}},
		{key("github_pat_", 59), []string{key("api-key:github_pat_", 59)}},
		{key("xox"+"b-", 40), []string{key("api-key:xox"+"b-", 40)}},
		{key("sk_"+"live_", 24), []string{key("api-key:sk_"+"live_", 24)}},
		{key("AIza", 35), []string{key("api-key:AIza", 35)}},
		{key("glpat-", 20), []string{key("api-key:glpat-", 20)}},
		{key("npm_", 36), []string{key("api-key:npm_", 36)}},
		{key("sk-", 48), []string{key("api-key:sk-", 48)}},
		{key("sk-proj-", 48), []string{key("api-key:sk-proj-", 48)}},
		{key("LTAI", 20), []string{key("api-key:LTAI", 20)}},
		{key("AKID", 32), []string{key("api-key:AKID", 32)}},
		{key("glrt-", 20), []string{key("api-key:glrt-", 20)}},
		{key("shp"+"ca_", 0) + hex[:32], []string{"api-key:shp" + "ca_" + hex[:32]}},
		{key("PMAK-", 0) + hex[:24] + "-" + (hex + hex)[:34], []string{"api-key:PMAK-" + hex[:24] + "-" + (hex + hex)[:34]}},
		{key("glsa_", 32) + "_" + hex[:8], []string{key("api-key:glsa_", 32) + "_" + hex[:8]}},
		{key("lin_api_", 40), []string{key("api-key:lin_api_", 40)}},
		{key("pplx-", 48), []string{key("api-key:pplx-", 48)}},
		{key("sq0"+"atp-", 22), []string{key("api-key:sq0"+"atp-", 22)}},
		{key("dckr_pat_", 27), []string{key("api-key:dckr_pat_", 27)}},
		{"SK" + hex[:32], []string{"api-key:SK" + hex[:32]}},
		{"SG." + drawn[:22] + "." + drawn[:43], []string{"api-key:SG." + drawn[:22] + "." + drawn[:43]}},
		{"AKIAx ghp_short html_glance_thing API-DOCUMENTATION glass-panel-of-many-colours-here gsk_1 pul-request sk-fading-circle-dot task-list-of-many-things-number-1234567890 SKU12345 risk-1234567890abcdefghijklm", nil},

		{"护照E12345678", []string{"passport:E12345678"}},
		{"passport no. EA1234567", []string{"passport:EA1234567"}},
		{"part E12345678", nil},

		{"010-12345678", []string{"cn-landline:010-12345678"}},
		{"(0755) 2345678", []string{"cn-landline:0755) 2345678"}},
		{"+86-21-61234567", []string{"cn-landline:21-61234567"}},
		{"02061234567 2026-61234567 026-61234567 1010-61234567 010-1234567", nil},

		{"-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA1234\nabcd==\n-----END RSA PRIVATE KEY-----", []string{"private-key:MIIEowIBAAKCAQEA1234\nabcd=="}},
		{`-----BEGIN PRIVATE KEY-----\nMIIEowIBAAKCAQEA1234`, []string{"private-key:MIIEowIBAAKCAQEA1234"}},
		{"-----BEGIN CERTIFICATE-----\nMIIEowIBAAKCAQEA1234\n-----END CERTIFICATE-----", nil},
	}
	for _, row := range rows {
		require.Equal(t, row.want, kindsIn(row.text), row.text)
	}
}

func TestPassportShapesOnlyWhereAskedFor(t *testing.T) {
	s, ok := newDetector(AllKinds()).next([]byte("part E12345678"), 0)
	require.True(t, ok)
	require.Equal(t, "passport-shape", s.kind.String())
	for _, k := range AllKinds() {
		named, ok := KindNamed(k.String())
		require.True(t, ok)
		require.Equal(t, k, named)
	}
	_, ok = KindNamed("shoe-size")
	require.False(t, ok)
}

func TestTokensJoinWithTheirNames(t *testing.T) {
	r := fixed(t)
	x := post("application/json", `{"access_token":"`+token+`","note":"it is `+token+`","mail":"a.b@shop.example"}`, field("X-Note", "a.b@shop.example"))
	require.NoError(t, r.Exchange(x))
	body := string(x.Request.Body)
	require.Equal(t, 2, strings.Count(body, string(r.Pseudonym("secret", []byte(token)))), body)
	require.Contains(t, body, `"mail":"`+string(r.Pseudonym("email", []byte("a.b@shop.example")))+`"`)
	note := x.Request.Headers[len(x.Request.Headers)-1].Value
	require.Equal(t, string(r.Pseudonym("email", []byte("a.b@shop.example"))), string(note))
}

func TestARobotsAddressStaysInItsUserAgent(t *testing.T) {
	r := fixed(t)
	x := post("", "", field("User-Agent", "Mozilla/5.0 (compatible; Bot/1.0; help@bot.example; "+phone+")"), field("From", "help@bot.example"))
	require.NoError(t, r.Exchange(x))
	require.Contains(t, string(x.Request.Headers[0].Value), "help@bot.example")
	require.NotContains(t, string(x.Request.Headers[0].Value), phone)
	require.NotContains(t, string(x.Request.Headers[1].Value), "help@bot")
}
