package wire

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

// TestDecodesHeaderStories plays each story as a connection: sizes come as acknowledged SETTINGS, blocks as HEADERS.
func TestDecodesHeaderStories(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(cases(t, "hpack"), "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	blocks := 0
	for _, file := range files {
		for _, response := range []bool{false, true} { // the same bytes, whoever says them
			blocks += playStory(t, file, response)
		}
	}
	t.Logf("%d blocks of %d stories", blocks, len(files))
}

// story is a sequence of header blocks of one connection.
type story struct {
	Cases []struct {
		Wire    string
		Size    *uint32 `json:"header_table_size"`
		Headers []map[string]string
	}
}

func readStory(t testing.TB, file string) (s story) {
	t.Helper()
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &s))
	return s
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

func playStory(t *testing.T, file string, response bool) int {
	t.Helper()
	story := readStory(t, file)
	from, other := speakers()
	if response {
		from, other = other, from
	}
	conversation := newTalk(0).say(from.hello(), other.hello(), from.ack(), other.ack())
	size := uint32(defaultTable)
	for i, step := range story.Cases {
		if step.Size != nil && *step.Size != size {
			size = *step.Size
			conversation.say(other.settings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: size}), from.ack())
		}
		conversation.say(from.raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, uint32(2*i+1), string(unhex(t, step.Wire))))
		require.False(t, conversation.d.Opaque(), file)
		checkStory(t, &conversation.scratch.Head, step.Headers, response, file)
	}
	conversation.end()
	require.Zero(t, conversation.Counts.Opaque)
	require.Zero(t, conversation.Counts.ResponsesUnread)
	return len(story.Cases)
}

// checkStory compares what was read with what a story says. Pseudo fields stand apart, so that each kind keeps its order.
func checkStory(t *testing.T, h *Head, headers []map[string]string, response bool, file string) {
	t.Helper()
	got := h.AppendFields(nil, h.Block)
	for _, field := range headers {
		for name, value := range field {
			var apart Span
			switch {
			case response && name == ":status":
				n, ok := digits([]byte(value))
				require.True(t, ok)
				require.Equal(t, int(n), h.Status, file)
				continue
			case response && name[0] == ':': // a request's: left out of an answer
				continue
			case name == ":method":
				apart = h.Method
			case name == ":scheme":
				apart = h.Scheme
			case name == ":authority":
				apart = h.Authority
			case name == ":path":
				apart = h.Target
			case name[0] == ':':
				continue
			default:
				require.NotEmpty(t, got, file)
				require.Equal(t, name, string(got[0].Name), file)
				require.Equal(t, value, string(got[0].Value), file)
				got = got[1:]
				continue
			}
			require.Equal(t, value, string(apart.Of(h.Block)), file)
		}
	}
	require.Empty(t, got, file)
}
