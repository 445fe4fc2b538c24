package importer

import (
	"bufio"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

func TestLongStringsAreCutBetweenCharacters(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":"12345","b":[1,"\"234"]}`:   `{"a":"12345","b":[1,"\"234"]}`,
		`["123456",7]`:                    `["12345<cut>",7]`,
		`["123456\"7",""]`:                `["12345<cut>",""]`,
		`["1\\\\\"",1]`:                   `["1\\\\<cut>",1]`,
		`["123\u00e9\u00e9","\\","1"]`:    `["123\u00e9<cut>","\\","1"]`,
		`["1234éü"]`:                      `["1234é<cut>"]`,
		`["123456`:                        `["12345`,
		`["1234567\\","1234567\\\"","x"]`: `["12345<cut>","12345<cut>","x"]`,
	} {
		for name, r := range map[string]io.Reader{
			"whole": strings.NewReader(in), "byte by byte": iotest.OneByteReader(strings.NewReader(in)),
		} {
			got, err := io.ReadAll(iotest.HalfReader(&longStrings{src: bufio.NewReaderSize(r, 16), most: 5}))
			require.NoError(t, err)
			require.Equal(t, want, strings.ReplaceAll(string(got), cutMark, "<cut>"), name+" "+in)
			require.Equal(t, json.Valid([]byte(in)), json.Valid(got), in)
		}
	}
}

func TestAHARWithAHugeBodyIsReadWithItsBeginning(t *testing.T) {
	body := strings.Repeat("abcd", longString/4+1)
	huge := `{"request":{"method":"POST","url":"http://a/","bodySize":99000000,"postData":{"text":"` + body + `"}},
		"response":{"status":200,"content":{"size":88000000,"encoding":"base64","text":"` + body + `"}}}`
	header := `{"request":{"method":"GET","url":"http://a/","headers":[{"name":"x","value":"` + body + `"}]}}`
	xs, stats, err := readHAR(t, har(huge, header, entry(`"GET"`, `"http://b/"`)), Options{BodyMax: 6})
	require.ErrorContains(t, err, "header x has a value of many MiB")
	require.Len(t, xs, 2)
	require.EqualValues(t, 1, stats.Broken)
	require.Equal(t, traffic.TruncatedRequest|traffic.TruncatedResponse, xs[0].Flags)
	require.Equal(t, "abcdab", string(xs[0].Request.Body))
	require.EqualValues(t, 99000000, xs[0].Request.BodySize)
	require.Equal(t, "\x69\xb7\x1d\x69\xb7\x1d", string(xs[0].Response.Body))
	require.EqualValues(t, 88000000, xs[0].Response.BodySize)
}
