package importer

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
)

func readLog(t *testing.T, format, content string) ([]*traffic.Exchange, Stats, error) {
	t.Helper()
	return readAll(t, write(t, "access.log", content), Options{Format: format})
}

func TestEveryAccessLogImportsEveryRequest(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(corpus(t, "accesslog"), "*.log"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			var lines []string
			for s := bufio.NewScanner(strings.NewReader(string(content))); s.Scan(); {
				lines = append(lines, s.Text())
			}
			xs, stats, err := readAll(t, file, Options{})
			require.NoError(t, err)
			require.Len(t, xs, len(lines))
			require.Zero(t, stats.Ignored)
			for i, x := range xs {
				request := strings.Split(strings.Split(lines[i], `"`)[1], " ")
				require.Equal(t, []string{string(x.Request.Method), string(x.Request.Target), string(x.Request.Protocol)}, request)
				require.Contains(t, lines[i], fmt.Sprintf(`" %d `, x.Response.Status))
				agent, _ := traffic.Get(x.Request.Headers, "User-Agent")
				require.Contains(t, lines[i], string(agent))
			}
		})
	}
}

func TestNginxLogWithAFormatOfItsOwn(t *testing.T) {
	xs, stats, err := readLog(t,
		`nginx:$remote_addr:$remote_port [$time_iso8601] $msec $request_time "$request" $status $body_bytes_sent $bytes_sent `+
			`$scheme $http_host "$http_user_agent" "$http_cookie" $connection/$connection_requests $upstream_addr $upstream_response_time "$sent_http_content_type" "$content_length"`,
		`10.0.0.7:51234 [2026-11-22T13:42:10+01:00] 1795351330.500 0.250 "GET /a%20b?x=1 HTTP/2.0" 200 812 1020 `+
			`https shop.example:8443 "A \x22quoted\x22 caf\xC3\xA9" "sid=1; b=2" 17/3 10.1.1.1:80, 10.1.1.2:80 0.1, 0.2 "text/html" "-"`+"\n")
	require.NoError(t, err)
	require.Len(t, xs, 1)
	require.Zero(t, stats.Ignored)
	x := xs[0]
	require.Equal(t, time.UnixMilli(1795351330250).UTC(), x.CaptureTime, "the end less the time it took")
	require.Equal(t, traffic.LogTime, x.TimeSource)
	require.Equal(t, "10.0.0.7:51234", string(x.Connection.Client))
	require.Equal(t, "17", string(x.Connection.ID))
	require.EqualValues(t, 3, x.Connection.Sequence)
	require.Equal(t, "https", string(x.Request.Scheme))
	require.Equal(t, "shop.example:8443", string(x.Request.Authority))
	require.Equal(t, "/a%20b?x=1", string(x.Request.Target))
	require.Equal(t, "HTTP/2.0", string(x.Request.Protocol))
	require.Equal(t, []traffic.Field{
		{Name: []byte("Host"), Value: []byte("shop.example:8443")},
		{Name: []byte("User-Agent"), Value: []byte(`A "quoted" café`)},
		{Name: []byte("Cookie"), Value: []byte("sid=1; b=2")},
	}, x.Request.Headers)
	require.Equal(t, http.StatusOK, x.Response.Status)
	require.EqualValues(t, 812, x.Response.BodySize)
	require.Equal(t, 250*time.Millisecond, x.Response.Duration)
	require.Equal(t, traffic.TruncatedResponse, x.Flags)
	require.Equal(t, "text/html", string(x.Response.Headers[0].Value))
}

func TestNginxJSONLogs(t *testing.T) {
	xs, _, err := readLog(t,
		`log_format json escape=json '{"t":"$msec","m":"$request_method","u":"$uri$is_args$args",'`+"\n"+`   '"s":$status,"ua":"$http_user_agent","c":"$cookie_sid","body":"$request_body"}';`,
		`{"t":"1795351330.500","m":"GET","u":"/a b/é?q=1","s":200,"ua":"x \"y\" \\ \u001b","c":"","body":""}`+"\n")
	require.ErrorContains(t, err, "unknown format", "a directive needs nginx: before it")
	require.Empty(t, xs)
	xs, _, err = readLog(t,
		`nginx:log_format json escape=json '{"t":"$msec","m":"$request_method","u":"$uri$is_args$args",'`+"\n"+`   '"s":$status,"ua":"$http_user_agent","c":"$cookie_sid","body":"$request_body"}';`,
		`{"t":"1795351330.500","m":"GET","u":"/a b/é?q=1","s":200,"ua":"x \"y\" \\ \u001b","c":"","body":""}`+"\n"+
			`{"t":"1795351331.000","m":"POST","u":"/c","s":201,"ua":"","c":"77","body":"body=\"\u00011\""}`+"\n"+
			`{"t":"1795351331.000","m":"POST","u":"/c","s":201,"ua":"","c":"77","body":""}`+"\n")
	require.NoError(t, err)
	require.Len(t, xs, 3)
	require.Equal(t, "/a%20b/%C3%A9?q=1", string(xs[0].Request.Target), "$uri is decoded")
	agent, _ := traffic.Get(xs[0].Request.Headers, "User-Agent")
	require.Equal(t, "x \"y\" \\ \x1b", string(agent))
	require.Zero(t, xs[0].Flags)
	require.Equal(t, "body=\"\x011\"", string(xs[1].Request.Body))
	cookie, _ := traffic.Get(xs[1].Request.Headers, "Cookie")
	require.Equal(t, "sid=77", string(cookie))
	require.Zero(t, xs[1].Flags, "the log has the body")
	require.Equal(t, traffic.TruncatedRequest, xs[2].Flags, "a body that was too large for nginx to log looks like none")
}

func TestApacheLogWithAFormatOfItsOwn(t *testing.T) {
	xs, _, err := readLog(t,
		`apache:LogFormat "%v:%p %{c}a %a %l %u %{%d/%b/%Y %T}t.%{msec_frac}t %{%z}t \"%m %U%q %H\" %>s %B %O %D %k %{Host}i \"%{X-Note}i\" \"%{Set-Cookie}o\" %X" mine`,
		`shop:443 10.9.9.9 10.0.0.7 - frank 22/Nov/2026 13:42:10.118 +0100 "POST /cart?x=1 HTTP/1.1" 201 12 300 2500 4 shop.example:443 "say \"hi\"\t\xe9" "-" +`+"\n")
	require.NoError(t, err)
	x := xs[0]
	require.Equal(t, time.Date(2026, 11, 22, 12, 42, 10, 118e6, time.UTC), x.CaptureTime, "the beginning, as Apache writes it")
	require.Equal(t, "/cart?x=1", string(x.Request.Target))
	require.Equal(t, "shop.example:443", string(x.Request.Authority))
	require.Equal(t, "10.0.0.7", string(x.Connection.Client))
	require.EqualValues(t, 5, x.Connection.Sequence)
	require.Equal(t, 2500*time.Microsecond, x.Response.Duration)
	require.EqualValues(t, 12, x.Response.BodySize)
	note, _ := traffic.Get(x.Request.Headers, "X-Note")
	require.Equal(t, "say \"hi\"\t\xe9", string(note))
	require.Empty(t, x.Response.Headers)
	require.Equal(t, traffic.TruncatedRequest|traffic.TruncatedResponse, x.Flags, "nobody knows what was posted")
}

func TestLinesWithoutARequestAreCountedNotInvented(t *testing.T) {
	line := func(request, status string) string {
		return `10.0.0.7 - - [22/Nov/2026:13:42:10 +0000] "` + request + `" ` + status + ` 0 "-" "-"` + "\n"
	}
	xs, stats, err := readLog(t, "", line("GET /a HTTP/1.1", "200")+
		line("-", "408")+line("", "400")+line(`\x16\x03\x01\x02\x00\x01\x00`, "400")+line("GET /a b HTTP/1.1", "400")+
		line(`\x16\x03 /a HTTP/1.1`, "400")+line("GET a HTTP/1.1", "400")+line("PRI * HTTP/2.0", "400")+line(`t3 12.2.1\n`, "400")+
		line("GET /old", "200")+line("GET http://other.example/x?y HTTP/1.1", "404")+line("OPTIONS * HTTP/1.1", "200")+line("CONNECT other:443 HTTP/1.1", "405")+
		line("GET /left HTTP/1.1", "499")+line("POST /p HTTP/1.1", "200"))
	require.NoError(t, err, "the server's own refusals are no fault of the file")
	require.EqualValues(t, 8, stats.Ignored)
	var got []string
	for i, x := range xs {
		require.EqualValues(t, i+1, x.ID.Seq(), "ids have no gaps for them")
		got = append(got, fmt.Sprintf("%s %s %s %s", x.Request.Method, x.Request.Target, x.Request.Authority, x.Flags))
	}
	require.Equal(t, []string{
		"GET /a  ", "GET /old  ", "GET http://other.example/x?y other.example ", "OPTIONS *  ", "CONNECT other:443  CONNECT",
		"GET /left  NO_RESPONSE,CLIENT_ABORTED", "POST /p  TRUNCATED_REQUEST",
	}, got)
}

func TestWellKnownFormatsAreToldLineByLine(t *testing.T) {
	const line = ` - - [22/Nov/2026:13:42:10 +0000] "GET /a HTTP/1.1" 200 5`
	const agent = ` "-" "curl"`
	for beginning, want := range map[string]string{
		`10.0.0.7`:                             "10.0.0.7||",
		`::1`:                                  "::1||",
		`unix:`:                                "unix:||",
		`monitoring-server`:                    "monitoring-server||",
		`shop.example 10.0.0.7`:                "10.0.0.7|shop.example|",
		`shop.example:8080 10.0.0.7`:           "10.0.0.7|shop.example|",
		`1.1.1.1 10.0.0.7`:                     "10.0.0.7||1.1.1.1",
		`2a03::1, 2.2.2.2 10.0.0.7`:            "10.0.0.7||2a03::1, 2.2.2.2",
		`1.1.1.1, 2.2.2.2, 10.0.0.7`:           "10.0.0.7||1.1.1.1, 2.2.2.2",
		`"1.1.1.1, 2.2.2.2, 3.3.3.3" 10.0.0.7`: "10.0.0.7||1.1.1.1, 2.2.2.2, 3.3.3.3",
	} {
		for _, end := range []string{"", agent, agent + ` "-"`, agent + ` "1.1.1.1" 0.003 x`} {
			xs, _, err := readLog(t, "", beginning+line+end+"\n")
			require.NoError(t, err, beginning+end)
			forwarded, _ := traffic.Get(xs[0].Request.Headers, "X-Forwarded-For")
			require.Equal(t, want, string(xs[0].Connection.Client)+"|"+string(xs[0].Request.Authority)+"|"+string(forwarded), beginning+end)
			require.EqualValues(t, 5, xs[0].Response.BodySize)
		}
	}
	xs, _, err := readLog(t, "", `10.0.0.7 - jo ann [22/Nov/2026:13:42:10 +0000] "GET /a HTTP/1.1" 200 5`)
	require.NoError(t, err)
	require.Equal(t, "10.0.0.7", string(xs[0].Connection.Client))
}

func TestLinesThatAreNotOfTheFormat(t *testing.T) {
	good := `10.0.0.7 - - [22/Nov/2026:13:42:10 +0000] "GET /a HTTP/1.1" 200 5 "-" "curl"` + "\n"
	xs, stats, err := readLog(t, "", good+"half a li\n"+good+strings.Repeat("x", maxLine+10)+"\n"+good+
		`10.0.0.7 - - [31/Feb/2026:13:42:10 +0000] "GET /a HTTP/1.1" 200 5 "-" "curl"`)
	require.Len(t, xs, 3)
	require.EqualValues(t, 3, stats.Broken)
	require.Equal(t, fault.Incomplete, fault.Code(err))
	require.ErrorContains(t, err, "3 lines of 6 could not be read, the first is line 2")

	_, _, err = readLog(t, "combined", "nothing here\n")
	require.Equal(t, fault.Failure, fault.Code(err))
	_, _, err = readLog(t, "combined", strings.Replace(good, "GET /a HTTP/1.1", "-", 1))
	require.ErrorContains(t, err, "there is no request in it")
	_, _, err = readLog(t, "", `{"json":"log"}`)
	e, _ := errors.AsType[*fault.Error](err)
	require.NotNil(t, e)
}

func TestBadLogFormatsAreRefusedWithTheirPlace(t *testing.T) {
	for format, says := range map[string]string{
		`nginx:$remote_addr$request $time_local`:        "at position 13: $request stands right behind $remote_addr",
		`nginx:"$request" $status`:                      "it has no time",
		`nginx:$time_local $status`:                     "it has no request",
		`nginx:[$time_local] $request $http_user_agent`: "at position 24: $request and $http_user_agent may both have spaces",
		`nginx:$ x`: "at position 1: a $ without the name",
		`nginx:log_format a escape=x '$request $msec'`: "at position 14: unknown escape",
		`nginx:log_format a '$request $msec`:           "at position 14: a quote that does not end",
		`apache:%h %Z`:                                 "at position 4: %Z is not known",
		`apache:%h %{x`:                                "at position 4: a { without its }",
		`apache:%t "%r" %`:                             "at position 9: a % without its letter",
		`apache:%{%Y-%Q}t "%r"`:                        "at position 1: %{%Y-%Q}t is not known",
		`iis:x`:                                        "unknown format",
	} {
		t.Run(format, func(t *testing.T) {
			_, _, err := readLog(t, format, "x\n")
			require.Equal(t, fault.Usage, fault.Code(err))
			require.ErrorContains(t, err, says)
		})
	}
}

func FuzzAccessLog(f *testing.F) {
	f.Add("", `10.0.0.7 - - [22/Nov/2026:13:42:10 +0000] "GET /a HTTP/1.1" 200 5 "-" "curl"`)
	f.Add(`nginx:escape=json {"t":"$msec","r":"$request","b":"$request_body"}`, `{"t":"1.5","r":"GET /\u0041 HTTP/1.1","b":"\"\\\u00"}`)
	f.Add(`apache:%v:%p %t %D "%r" %>s %b %{X}i`, `a:1 [22/Nov/2026:13:42:10 +0000] 9 "GET /\xe9\x HTTP/1.1" 200 - a b`)
	f.Add(`nginx:$a $b $c $upstream_addr "$request" $time_local $d`, strings.Repeat("a ", 99))
	f.Fuzz(func(t *testing.T, format, content string) {
		xs, stats, err := readAll(t, write(t, "x", content), Options{Format: format, BodyMax: 64})
		if fault.Code(err) == fault.Usage || format == "" && stats.Exchanges == 0 {
			return
		}
		checkImport(t, xs, stats, err)
	})
}
