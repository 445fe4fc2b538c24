package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAnOutletThatNobodyReadsLetsNobodyWait(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	o := NewOutlet(w)
	told := make(chan int, 1)
	o.Tell(func(lost int) {
		fmt.Fprintf(o, "lost %d\n", lost)
		told <- lost
	})
	const lines = 100_000 // more than a pipe and the outlet hold
	for i := range lines {
		n, err := fmt.Fprintf(o, "line %d\n", i)
		require.NoError(t, err)
		require.NotZero(t, n)
	}
	in := bufio.NewScanner(r)
	last := -1
	for in.Scan() {
		var n, lost int
		if _, err := fmt.Sscanf(in.Text(), "lost %d", &lost); err == nil {
			require.Equal(t, lines-1-last, lost, "all that is missing")
			break
		}
		_, err := fmt.Sscanf(in.Text(), "line %d", &n)
		require.NoError(t, err)
		require.Equal(t, last+1, n, "in order")
		last = n
	}
	require.NotZero(t, <-told)
	fmt.Fprintln(o, "the last")
	o.Close(time.Minute)
	fmt.Fprintln(o, "behind the last")
	require.NoError(t, w.Close())
	rest := ""
	for in.Scan() {
		rest = in.Text()
	}
	require.Equal(t, "the last", rest)
}

func TestAnOutletIsNotWaitedForAtTheEnd(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer w.Close()
	o := NewOutlet(w)
	for range 1000 {
		_, _ = o.Write(make([]byte, 1000))
	}
	o.Close(time.Millisecond)
	go func() { // or its goroutine would stay
		_, _ = io.Copy(io.Discard, r)
		_ = r.Close()
	}()
	<-o.ended
}
