package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

// What --print writes says what was redacted in it, so that inspect lint takes no pseudonym for a leak.
func TestPrintedExchangesListTheirRedactions(t *testing.T) {
	const request = "1 a1 1700000000000000000\nGET /?phone=13812345678 HTTP/1.1\r\nHost: shop.example\r\n\r\n\n🐵🙈🙉\n"
	c := exec.Command(os.Args[0], "import", "--print", written(t, request))
	c.Env = append(os.Environ(), asTap+"=1")
	var out, talk bytes.Buffer
	c.Stdout, c.Stderr = &out, &talk
	require.NoError(t, c.Run(), "%s", &talk)
	line, err := bufio.NewReader(&out).ReadBytes('\n')
	require.NoError(t, err)
	require.NotContains(t, string(line), "13812345678")
	require.Contains(t, string(line), `"location":"request.query:phone#0"`)
	var x traffic.Exchange
	require.NoError(t, traffic.ParseJSON(bytes.TrimSpace(line), &x))
	require.Len(t, x.Redactions, 1)
	require.Equal(t, 1, strings.Count(string(line), "\n"))
}
