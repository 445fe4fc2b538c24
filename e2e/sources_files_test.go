//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/e2e/feed"
)

// writePcap writes the conversation as tcpdump would have.
func writePcap(t *testing.T, path string, c *conversation) {
	var all []feed.Said
	for _, turn := range c.turns {
		all = append(all, feed.Said{At: turn.from, FromClient: true, Data: turn.said.String()}, feed.Said{At: turn.to, Data: turn.raw})
	}
	require.NoError(t, feed.WriteConversation(path, netip.MustParseAddrPort(c.client), netip.MustParseAddrPort(c.server), all))
}

// writeGor writes it as GoReplay does with --output-file and --input-raw-track-response.
func writeGor(t *testing.T, path string, c *conversation) {
	const end = "\n🐵🙈🙉\n"
	var b strings.Builder
	for i, turn := range c.turns {
		fmt.Fprintf(&b, "1 %024x %d 0\n%s%s", i+1, turn.from.UnixNano(), turn.said, end)
		fmt.Fprintf(&b, "2 %024x %d %d\n%s%s", i+1, turn.from.UnixNano(), turn.to.Sub(turn.from).Nanoseconds(), turn.raw, end)
	}
	require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o600))
}

// writeHAR writes it as browsers export it: bodies decoded, bytes that are not UTF-8 as ISO 8859-1.
func writeHAR(t *testing.T, path string, c *conversation) {
	type object = map[string]any
	text := func(s string) string {
		if utf8.ValidString(s) {
			return s
		}
		runes := make([]rune, len(s))
		for i := range len(s) {
			runes[i] = rune(s[i])
		}
		return string(runes)
	}
	pairs := func(lines []string) []object {
		all := []object{}
		for _, line := range lines {
			name, value, _ := strings.Cut(line, ": ")
			all = append(all, object{"name": name, "value": text(value)})
		}
		return all
	}
	var entries []object
	for _, turn := range c.turns {
		sent := object{
			"method": turn.method, "url": "http://shop.example:8443" + turn.target, "httpVersion": "HTTP/1.1",
			"headers": pairs(turn.said.lines()), "headersSize": -1, "bodySize": len(turn.body),
		}
		if turn.body != "" {
			sent["postData"] = object{"mimeType": "application/octet-stream", "text": text(turn.body)}
		}
		body := turn.answer
		if turn.target == "/zip" {
			body = unzipped(t, body)
		}
		entries = append(entries, object{
			"startedDateTime": turn.from.Format(time.RFC3339Nano), "time": milliseconds(turn.to.Sub(turn.from)), "request": sent,
			"response": object{
				"status": turn.status, "statusText": "", "httpVersion": "HTTP/1.1", "headers": pairs(turn.answerLines()),
				"content": object{"size": len(body), "mimeType": "text/plain", "text": body}, "headersSize": -1, "bodySize": len(turn.answer),
			},
			"cache": object{}, "timings": object{"send": 0, "wait": milliseconds(turn.to.Sub(turn.from)), "receive": 0},
		})
	}
	har, err := json.Marshal(object{"log": object{"version": "1.2", "creator": object{"name": "e2e", "version": "1"}, "entries": entries}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, har, 0o600))
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1000 }
