package importer

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
)

const logLine = `1.2.3.4 - - [10/Oct/2023:13:55:36 +0000] "GET /a?b=1 HTTP/1.1" 200 123 "-" "UA x"`

func TestWhatCarriesALogIsNoPartOfItsLines(t *testing.T) {
	for name, prefix := range map[string]string{
		"nothing":                        "",
		"syslog":                         "Oct  1 13:55:36 web1 nginx: ",
		"syslog with a process":          "Oct 10 13:55:36 web1 nginx[12]: ",
		"syslog with a priority":         "<190>Oct 10 13:55:36 web1 nginx: ",
		"syslog with a long time":        "2023-10-10T13:55:36.123456+00:00 web1 nginx: ",
		"syslog, RFC 5424":               "<190>1 2023-10-10T13:55:36.1Z web1 nginx - - - ",
		"syslog, RFC 5424 with data":     `<190>1 2023-10-10T13:55:36.1Z web1 nginx 12 ID47 [a@1 b="c d"][e@1 f="g"] `,
		"syslog, RFC 5424 with its mark": "<190>1 2023-10-10T13:55:36.1Z web1 nginx - - - \ufeff",
		"containerd":                     "2023-10-10T13:55:36.123456789Z stdout F ",
		"docker logs -t":                 "2023-10-10T13:55:36.123456789Z ",
		"docker compose logs":            "web-1  | ",
		"docker compose logs -t":         "web-1  | 2023-10-10T13:55:36.123456789Z ",
		"kubectl logs --prefix":          "[pod/web-1/nginx] ",
		"zero bytes of a crash":          strings.Repeat("\x00", 4000),
	} {
		t.Run(name, func(t *testing.T) {
			line := prefix + logLine + "\n"
			for _, format := range []string{"", "combined", `apache:%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"`} {
				xs, _, err := readLog(t, format, line+line)
				require.NoError(t, err, format)
				require.Len(t, xs, 2, format)
				require.Equal(t, "1.2.3.4", string(xs[1].Connection.Client), format)
				require.Equal(t, fields("User-Agent", "UA x"), xs[1].Request.Headers, format)
			}
		})
	}
}

func TestLogsAreReadOutOfDockersFiles(t *testing.T) {
	carried := func(line string) string {
		text, err := json.Marshal(map[string]string{"log": line + "\n", "stream": "stdout", "time": "2023-10-10T13:55:36.1Z"})
		require.NoError(t, err)
		return string(text) + "\n"
	}
	xs, _, err := readLog(t, "", carried(logLine)+carried(logLine))
	require.NoError(t, err)
	require.Len(t, xs, 2)
	require.Equal(t, "/a?b=1", string(xs[1].Request.Target))
	require.Equal(t, fields("User-Agent", "UA x"), xs[1].Request.Headers)

	xs, stats, err := readLog(t, "", strings.Repeat(carried("/docker-entrypoint.sh: Launching"), 100)+carried(logLine))
	require.Equal(t, fault.Incomplete, fault.Code(err))
	require.Len(t, xs, 1)
	require.EqualValues(t, 100, stats.Broken)

	_, err = Open(write(t, "x.log", carried("nothing of the kind")), Options{})
	require.ErrorContains(t, err, "in a format that cannot be imported")
}

func TestAFormatOfTheUsersMayBeginAsACarrierDoes(t *testing.T) {
	xs, _, err := readLog(t, `nginx:$time_iso8601 $remote_addr "$request"`, "2023-10-10T13:55:36Z 1.2.3.4 \"GET /a HTTP/1.1\"\n")
	require.NoError(t, err)
	require.Equal(t, "1.2.3.4", string(xs[0].Connection.Client))
}

func TestOnlyAddressesBecomeAForwardedHeader(t *testing.T) {
	xs, _, err := readLog(t, "", "\"1.1.1.1, unknown, [2001:db8::1]:80\" "+logLine+"\nweb1: "+logLine+"\n")
	require.NoError(t, err)
	require.Equal(t, fields("X-Forwarded-For", "1.1.1.1, unknown, [2001:db8::1]:80", "User-Agent", "UA x"), xs[0].Request.Headers)
	require.Equal(t, fields("User-Agent", "UA x"), xs[1].Request.Headers)
}

func TestLogsDifferInTimesAndVersions(t *testing.T) {
	line := strings.NewReplacer("10/Oct/2023:13:55:36 +0000", "2023-10-10T15:55:36.5+02:00", "HTTP/1.1", "HTTP/2").Replace(logLine)
	xs, _, err := readLog(t, "", strings.Repeat("# a comment\n", 9)+line+"\n")
	require.Equal(t, fault.Incomplete, fault.Code(err))
	require.Len(t, xs, 1)
	require.Equal(t, "2023-10-10T13:55:36.5Z", xs[0].CaptureTime.Format("2006-01-02T15:04:05.999Z07:00"))
	require.Equal(t, "HTTP/2.0", string(xs[0].Request.Protocol))
}

func TestALogOfZeroBytesSaysSo(t *testing.T) {
	_, err := Open(write(t, "access.log", strings.Repeat("\x00", 100_000)+logLine+"\n"), Options{})
	require.ErrorContains(t, err, "begins with zero bytes only")
}
