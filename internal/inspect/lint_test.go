package inspect

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

const leakedPhone = "13812345678"

func linter(t *testing.T, known ...string) (*Linter, *[]Leak) {
	t.Helper()
	var found []Leak
	var k *Known
	if len(known) > 0 {
		var err error
		k, err = ReadKnown(strings.NewReader(strings.Join(known, "\n")+"\n"), "secrets")
		require.NoError(t, err)
	}
	l, err := NewLinter(nil, k, func(leak *Leak) error {
		found = append(found, *leak)
		return nil
	})
	require.NoError(t, err)
	return l, &found
}

func quietly(int64, int64) error { return nil }

func zipped(t *testing.T, s string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(s))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func TestLintFindsWhatIsNotListed(t *testing.T) {
	r := newRig(t, 2)
	redactor, err := redact.New(redact.Options{Key: []byte("k")})
	require.NoError(t, err)
	clean := exchange(1, 0, "/users/"+leakedPhone, 200)
	require.NoError(t, redactor.Exchange(clean))
	leaky := exchange(2, time.Second, "/users/"+leakedPhone+"?token=abc123", 200)
	r.put(0, clean)
	r.put(1, leaky)

	l, found := linter(t)
	require.NoError(t, r.reader.Lint(r.context(), all(), l, quietly))
	require.Len(t, *found, 3)
	for i, want := range []Leak{
		{Location: "kafka.header:path", Rule: "path", Kind: "value"},
		{Location: "request.path#1~@0", Rule: "cn-mobile", Kind: "cn-mobile"},
		{Location: "request.query:token#0", Rule: "credential-key", Kind: "secret"},
	} {
		got := (*found)[i]
		require.Equal(t, []string{want.Location, want.Rule, want.Kind}, []string{got.Location, got.Rule, got.Kind})
		require.EqualValues(t, 1, *got.Partition)
		require.EqualValues(t, 0, *got.Offset)
		require.Equal(t, hex.EncodeToString(leaky.ID[:]), got.ID)
		b, err := json.Marshal(got)
		require.NoError(t, err)
		require.NotContains(t, string(b), leakedPhone)
	}
	require.Equal(t, fault.Finding, fault.Code(l.Sum().Verdict()))
	require.ErrorContains(t, l.Sum().Verdict(), "3 values in 1 exchange should have been redacted")
	require.NotContains(t, l.Sum().String(), "nothing")

	l, found = linter(t)
	q := all()
	q.To = noon.Add(time.Second)
	require.NoError(t, r.reader.Lint(r.context(), q, l, quietly))
	require.Empty(t, *found)
	require.NoError(t, l.Sum().Verdict())
	require.Regexp(t, "^searched 1 exchange, .*: nothing found$", l.Sum().String())
}

func TestLintFindsKnownSecretsInEveryForm(t *testing.T) {
	const secret = "hush & \"ü\" 4711"
	r := newRig(t, 1)
	quoted, err := json.Marshal(secret)
	require.NoError(t, err)
	forms := map[string]string{
		"as it is":                "x" + secret + "y",
		"percent-encoded":         "q=" + url.QueryEscape(secret),
		"JSON-escaped":            `{"a":` + string(quoted) + `,"u":"` + `hush \u0026 \"\u00fc\" 4711"}`,
		"hexadecimal":             hex.EncodeToString([]byte(secret)),
		"base64":                  base64.StdEncoding.EncodeToString([]byte("ab" + secret + "z")),
		"percent-encoded, base64": url.QueryEscape(base64.StdEncoding.EncodeToString([]byte("????" + secret))),
	}
	bodies := map[string]string{}
	n := 0
	for form, text := range forms {
		n++
		x := exchange(n, 0, "/x", 200)
		x.Request.Body = []byte(text)
		if n%2 == 0 {
			x.Request.Body = zipped(t, text)
			x.Request.Headers = append(x.Request.Headers, traffic.Field{Name: []byte("Content-Encoding"), Value: []byte("gzip")})
		}
		bodies[hex.EncodeToString(x.ID[:])] = form
		r.put(0, x)
	}
	m := traffic.MetaOf(exchange(n+1, 0, "/", 200), nil)
	r.produce(0, &kgo.Record{
		Key: []byte(secret), Value: traffic.AppendExchange(nil, exchange(n+1, 0, "/"+url.PathEscape(secret), 200)),
		Headers: append(traffic.AppendMeta([]kgo.RecordHeader(nil), &m), kgo.RecordHeader{Key: "x", Value: []byte(secret)}),
	})

	l, found := linter(t, "another one", secret)
	require.NoError(t, r.reader.Lint(r.context(), all(), l, quietly))
	var places []string
	for _, leak := range *found {
		if leak.Rule != knownSecret {
			continue
		}
		require.Equal(t, 2, leak.Secret)
		if form, ok := bodies[leak.ID]; ok {
			require.Equal(t, "request.body", leak.Location)
			require.Contains(t, form, leak.Form) // base64 of whole triples needs no decoding
			delete(bodies, leak.ID)
			continue
		}
		places = append(places, leak.Location)
	}
	require.Empty(t, bodies)
	require.Equal(t, []string{"kafka.key", "kafka.header:x", "request.target"}, places)
}

func TestLintOfFiles(t *testing.T) {
	var text []byte
	for i, target := range []string{"/a", "/users/" + leakedPhone, "/b"} {
		x := exchange(i+1, time.Duration(i)*time.Second, target, 200)
		text = append(appendJSON(text, Entry{x, &topic.Record{}}, &Bodies{Show: true}), '\n')
	}
	run := func(content string, q Query) (leaks []Leak, notes []string, err error) {
		l, found := linter(t)
		err = l.File(strings.NewReader(content), "f", NewFileChoice(q), func(line string) { notes = append(notes, line) })
		return *found, notes, err
	}
	leaks, _, err := run(string(text), all())
	require.NoError(t, err)
	require.Len(t, leaks, 1)
	require.EqualValues(t, 2, leaks[0].Line)
	require.Nil(t, leaks[0].Partition)

	leaks, _, err = run("[\n"+strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", ",\n")+"\n]\n", all())
	require.NoError(t, err)
	require.Len(t, leaks, 1)

	leaks, _, err = run(string(traffic.AppendExchange(nil, exchange(1, 0, "/users/"+leakedPhone, 200))), all())
	require.NoError(t, err)
	require.Len(t, leaks, 1)

	q := all()
	q.From = noon.Add(2 * time.Second)
	leaks, _, err = run(string(text), q)
	require.NoError(t, err)
	require.Empty(t, leaks)

	leaks, notes, err := run(string(text)+"{}}\n", all())
	require.Equal(t, fault.Incomplete, fault.Code(err))
	require.Len(t, leaks, 1, "what can be read is searched")
	require.Len(t, notes, 1)

	_, _, err = run("\xff\xff\xff\xff", all())
	require.Equal(t, fault.Failure, fault.Code(err))
	_, _, err = run("", all())
	require.NoError(t, err)
}

func TestKnownSecretsThatCannotBeUsed(t *testing.T) {
	for content, want := range map[string]string{
		"abc\n": "line 1 of s has 3 bytes", "": "no secrets in s", "\t\n": "no secrets in s", strings.Repeat("x", mostKnownBytes+1): "cannot read the secrets of s",
	} {
		_, err := ReadKnown(strings.NewReader(content), "s")
		require.ErrorContains(t, err, want)
		require.Equal(t, fault.Usage, fault.Code(err))
	}
}

func TestLeaksAreWrittenByTheirPlace(t *testing.T) {
	var b bytes.Buffer
	p := NewLeakPrinter(&b, Table)
	partition, offset := int32(3), int64(44)
	require.NoError(t, p.Print(&Leak{Partition: &partition, Offset: &offset, ID: "9f3c", Location: "request.path#1~@0", Rule: "cn-mobile", Kind: "cn-mobile"}))
	require.NoError(t, p.Print(&Leak{Partition: &partition, Offset: &offset, ID: "9f3c", Location: "request.body", Rule: knownSecret, Kind: "secret", Secret: 7, Form: "base64"}))
	require.NoError(t, p.Flush())
	require.Equal(t, `partition 3 offset 44  id 9f3c
    cn-mobile    request.path#1~@0  (rule cn-mobile)
    secret       request.body  (known, line 7 of the secrets, base64)
`, b.String())
	for form, want := range map[Form]string{
		NDJSON: "{\"id\":\"1\",%[1]s}\n{\"id\":\"2\",%[1]s}\n", JSON: "[\n{\"id\":\"1\",%[1]s},\n{\"id\":\"2\",%[1]s}\n]\n",
	} {
		b.Reset()
		p = NewLeakPrinter(&b, form)
		for _, id := range []string{"1", "2"} {
			require.NoError(t, p.Print(&Leak{ID: id, Location: "request.body", Rule: "jwt", Kind: "jwt"}))
		}
		require.NoError(t, p.Close())
		require.Equal(t, fmt.Sprintf(want, `"location":"request.body","rule":"jwt","kind":"jwt"`), b.String())
	}
	b.Reset()
	require.NoError(t, NewLeakPrinter(&b, JSON).Close())
	require.JSONEq(t, "[]", b.String())
}

func FuzzKnown(f *testing.F) {
	k, err := ReadKnown(strings.NewReader("13812345678\nhush 4711\n"), "s")
	require.NoError(f, err)
	f.Add([]byte(`%31\u0031+`), uint8(3))
	f.Fuzz(func(t *testing.T, v []byte, at uint8) {
		i := int(at) % (len(v) + 1)
		planted := fmt.Appendf(nil, "%s13812345678%s", v[:i], v[i:])
		require.NotEmpty(t, k.Search(planted))
	})
}

func TestLintSearchesKafkaKeysAndHeadersWithTheDetectors(t *testing.T) {
	r := newRig(t, 1)
	x := exchange(1, 0, "/items", 200)
	m := traffic.MetaOf(x, x.Request.Target)
	own := traffic.AppendMeta([]kgo.RecordHeader(nil), &m)
	header := func(key, value string) []kgo.RecordHeader {
		return append(own[:len(own):len(own)], kgo.RecordHeader{Key: key, Value: []byte(value)})
	}
	for _, rec := range []*kgo.Record{
		{Headers: own, Key: []byte("0123456789abcdef0123456789abcdef")},
		{Headers: header("X-User", leakedPhone)},
		{Headers: header("from", "ann@shop-mail.com")},
		{Headers: header("u/"+leakedPhone, "1")},
		{Headers: header("capture-time", "4111111111111111")},
		{Headers: header("method", "GET ann@shop-mail.com")},
		{Headers: header("build", "7.3.1-rc2")},
		{Headers: own, Key: []byte("user:" + leakedPhone)},
	} {
		rec.Value, rec.Timestamp = traffic.AppendExchange(nil, x), x.CaptureTime
		r.produce(0, rec)
	}
	l, found := linter(t)
	require.NoError(t, r.reader.Lint(r.context(), all(), l, quietly))
	var where []string
	for _, leak := range *found {
		where = append(where, fmt.Sprint(*leak.Offset, " ", strings.Split(leak.Location, leakedPhone[:3])[0]))
		require.NotContains(t, leak.Location, leakedPhone)
	}
	require.Len(t, where, 6, where)
	require.Equal(t, []string{"1 kafka.header:X-User", "2 kafka.header:from"}, where[:2])
	require.True(t, strings.HasPrefix(where[2], "3 kafka.header-name#"), where[2])
	require.Equal(t, []string{"4 kafka.header:capture-time", "5 kafka.header:method", "7 kafka.key"}, where[3:])
}

func TestLintTakesNoTapsOwnHeaderForASecret(t *testing.T) {
	r := newRig(t, 1)
	start := time.Date(2026, 11, 22, 13, 42, 10, 0, time.UTC)
	for i := range 2000 {
		x := exchange(i+1, 0, "/items", 200)
		x.CaptureTime = start.Add(time.Duration(i*7919) * time.Microsecond) // some of which have a card's check digit
		x.SampleHash = uint64(i) * 0x1234567890123457
		x.Connection.ID = fmt.Appendf(nil, "10.1.2.3:%d", 40000+i)
		m := traffic.MetaOf(x, x.Request.Target)
		r.produce(0, &kgo.Record{
			Key: x.Connection.ID, Value: traffic.AppendExchange(nil, x), Headers: traffic.AppendMeta([]kgo.RecordHeader(nil), &m), Timestamp: x.CaptureTime,
		})
	}
	l, found := linter(t)
	require.NoError(t, r.reader.Lint(r.context(), all(), l, quietly))
	require.Empty(t, *found)
}
