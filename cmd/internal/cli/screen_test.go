package cli

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestScreenDrawsInPlaceBelowWhatElseIsWritten(t *testing.T) {
	var b bytes.Buffer
	s := &Screen{w: &b, width: func() int { return 12 }}
	s.Draw([]string{"one", "two"})
	require.Equal(t, "one\ntwo\n", b.String())
	b.Reset()
	s.Draw([]string{"three", "a line that is too long"})
	require.Equal(t, "\x1b[2A\x1b[Jthree\na line tha…\n", b.String())
	b.Reset()
	_, err := io.WriteString(s, "a log line\n")
	require.NoError(t, err)
	require.Equal(t, "\x1b[2A\x1b[Ja log line\nthree\na line tha…\n", b.String())
	s.Close()
	b.Reset()
	_, err = io.WriteString(s, "the end\n")
	require.NoError(t, err)
	require.Equal(t, "the end\n", b.String())
}
