package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestServeShowsTheTopic runs inspect serve at a port that the kernel chooses, and asks as the page does.
func TestServeShowsTheTopic(t *testing.T) {
	c := command(t, "serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--brokers", kafka(t), "--topic-prefix", "shop")
	talk, err := c.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	ended := make(chan struct{})
	t.Cleanup(func() { // also when the test has failed
		_ = c.Process.Kill()
		<-ended
	})
	lines := bufio.NewScanner(talk)
	lines.Scan()
	first := lines.Text()
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, talk)
		_ = c.Wait()
	}()

	var said struct{ Msg, URL string }
	require.NoError(t, json.Unmarshal([]byte(first), &said))
	require.Equal(t, "serving", said.Msg)

	get := func(path string) (int, string) {
		answer, err := http.Get(said.URL + path) //nolint:noctx // the process ends with the test
		require.NoError(t, err)
		defer answer.Body.Close()
		b, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		return answer.StatusCode, string(b)
	}
	code, text := get("")
	require.Equal(t, 200, code)
	require.Contains(t, text, "app.js")
	code, text = get("api/exchanges?filter=%28%28")
	require.Equal(t, 400, code, text)
	require.Contains(t, text, "bad filter")
	code, text = get("api/exchanges?limit=3")
	require.Equal(t, 200, code, text)
	var all []map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &all))
	require.Len(t, all, 3)
	require.NotContains(t, all[0]["request"], "body", "bodies are hidden")
	code, text = get("api/exchanges/000a")
	require.Equal(t, 200, code, text)
	require.Contains(t, text, "GET /items/9")
	require.Contains(t, text, "hidden")
	code, text = get("api/runs")
	require.Equal(t, 502, code)
	require.Contains(t, text, "shop.control")

	require.NoError(t, c.Process.Signal(os.Interrupt))
	<-ended
	require.Equal(t, 130, c.ProcessState.ExitCode())
}
