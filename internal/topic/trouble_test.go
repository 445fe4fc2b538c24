package topic

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
)

func TestCausesThatTakeTurnsAreSaidOnceAMinute(t *testing.T) {
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	causes := []error{
		&fault.Error{What: "it hangs up", Try: "the right password", Err: errors.New("eof")},
		&fault.Error{What: "it resets", Try: "the right address", Err: errors.New("reset")},
	}
	var trouble trouble
	now := time.Now()
	for i := range 10 { // for 40 s
		now = now.Add(sayAfter + time.Second)
		trouble.begin(now, causes[i%2])
		trouble.say(log, now, sayBegin)
	}
	require.Equal(t, 2, strings.Count(said.String(), sayBegin), said.String())
	now = now.Add(sayAgainAfter)
	trouble.say(log, now, sayBegin)
	require.Equal(t, 2, strings.Count(said.String(), sayBegin), "nothing new")
	trouble.begin(now, causes[0])
	trouble.say(log, now, sayBegin)
	require.Equal(t, 3, strings.Count(said.String(), sayBegin), "after a minute it is news")
	trouble.over(log, now, sayOver)
	require.Contains(t, said.String(), sayOver)
	trouble.begin(now, causes[0])
	trouble.say(log, now, sayBegin)
	require.Equal(t, 4, strings.Count(said.String(), sayBegin), "this is other trouble")
}
