package redact

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

func TestFinderSkipsExactlyWhatIsListed(t *testing.T) {
	f, err := NewFinder(nil)
	require.NoError(t, err)
	x := sample(t)
	found, unread, err := f.Find(x)
	require.NoError(t, err)
	require.Empty(t, unread)
	require.Greater(t, len(found), 20)
	require.Contains(t, found, Finding{"cn-mobile", "cn-mobile", "request.path#1~@0"})
	require.Contains(t, found, Finding{"credential-key", "secret", "request.query:access_token#2"})
	require.Contains(t, found, Finding{"authorization-header", "secret", "request.header:authorization#0"})
	require.Equal(t, encoded(sample(t)), encoded(x), "it is left as it is")

	require.NoError(t, fixed(t).Exchange(x))
	found, _, err = f.Find(x)
	require.NoError(t, err)
	require.Empty(t, found)

	for i := range x.Redactions { // each one that is not listed is found again
		less := *x
		less.Redactions = append(append([]traffic.Redaction{}, x.Redactions[:i]...), x.Redactions[i+1:]...)
		found, _, err = f.Find(&less)
		require.NoError(t, err)
		if len(found) == 0 { // a token whose pseudonym has no look of its own any more
			require.Contains(t, []string{"jwt", "api-key", "bearer", "private-key", "email", "iban", "passport"}, x.Redactions[i].Rule, x.Redactions[i].Location)
			continue
		}
		if !strings.Contains(x.Redactions[i].Location, "~name") { // a name is shown as the finder would store it
			require.Equal(t, x.Redactions[i].Location, found[0].Location)
		}
		require.Equal(t, x.Redactions[i].Rule, found[0].Rule)
	}
}

func TestFinderTellsWhatItCannotRead(t *testing.T) {
	f, err := NewFinder(nil)
	require.NoError(t, err)
	x := post("application/json", "\x1f\x8b\x08 is no gzip", field("Content-Encoding", "gzip"))
	_, unread, err := f.Find(x)
	require.NoError(t, err)
	require.Equal(t, []string{"request.body"}, unread)
	require.Equal(t, "\x1f\x8b\x08 is no gzip", string(f.Plain(x.Request.Body, x.Request.Headers)))
	x = post("", string(zipped(t, "plain")), field("Content-Encoding", "gzip"))
	require.Equal(t, "plain", string(f.Plain(x.Request.Body, x.Request.Headers)))
	require.True(t, f.Holds([]byte("/call/"+phone)))
	require.False(t, f.Holds([]byte("/items/1")))
}
