package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestASectionIsReplacedAndTheOthersStay(t *testing.T) {
	b := &bench{}
	parts := b.parts()
	edge := section(parts[0], 2, []table{{
		title: "GET", head: []string{"through", "requests/s"}, rows: [][]string{{direct, "2"}, {tapProxy, "1"}}, notes: []string{"A note."},
	}}, "a machine")
	require.Contains(t, edge, "| **tap proxy** | 1 |")
	first := document(parts, map[string]string{"edge": edge, "max": "## Max\n"})
	got := parseSections(first)
	require.Equal(t, map[string]string{"edge": edge, "max": "## Max\n"}, got)
	got["max"] = "## Max, again\n"
	got["rate"] = "## Rate\n"
	second := string(document(parts, got))
	require.Contains(t, second, edge)
	require.NotContains(t, second, "## Max\n")
	require.Less(t, strings.Index(second, "## Rate"), strings.Index(second, "## Max, again"), "in the order of the parts")
	require.Equal(t, got, parseSections([]byte(second)))
	require.Empty(t, parseSections([]byte("# Results\n\n<!-- edge -->\nno end\n")))
}

func TestOnlyKnownPartsAreMeasured(t *testing.T) {
	b := &bench{only: "rate,edge"}
	parts, err := b.chosen()
	require.NoError(t, err)
	require.Equal(t, "rate, edge", partNames(parts))
	b.only = "rates"
	_, err = b.chosen()
	require.ErrorContains(t, err, "timing")
	b.only = ""
	parts, err = b.chosen()
	require.NoError(t, err)
	require.Len(t, parts, len(b.parts()))
}

func TestRequestsInGoReplaysFilesAreCounted(t *testing.T) {
	const mark = "\n🐵🙈🙉\n"
	file := "1 8e091765ae902fef8a2b7d9d 1795680000000000000 0\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\n" + mark +
		"2 8e091765ae902fef8a2b7d9d 1795680000000000000 0\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + mark +
		"1 9e091765ae902fef8a2b7d9d 1795680000000000000 0\nPOST /2 HTTP/1.1\r\nContent-Length: 2\r\n\r\n1 " + mark
	require.Equal(t, 2, countRequests(strings.NewReader(file)))
	require.Zero(t, countRequests(strings.NewReader("")))
}
