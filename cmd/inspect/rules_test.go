package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
)

const exampleRules = "../../deploy/rules.yaml"

func TestExampleOfRulesIsGood(t *testing.T) {
	out, talk, code := run(t, "rules", "check", exampleRules)
	require.Zero(t, code, talk)
	require.Contains(t, out, "deploy/rules.yaml: good, version 1, digest ")
}

func TestRulesCheckTellsOfAllFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	one, two := write("one.yaml", "filter: {inclde: x}\n"), write("two.yaml", "sample: {rate: 300%}\nversion: x\n")
	out, talk, code := run(t, "rules", "check", one, exampleRules, two)
	require.Equal(t, fault.Usage, code)
	require.Contains(t, out, "good")
	for _, want := range []string{"2 of 3 rules files are bad", "one.yaml:1:10: unknown key", "did you mean include?", `two.yaml:1:16: bad share "300%"`, "two.yaml:2:10:"} {
		require.Contains(t, talk, want)
	}
	_, talk, code = run(t, "rules", "check", filepath.Join(dir, "none.yaml"))
	require.Equal(t, fault.Usage, code)
	require.Contains(t, talk, "no such file")
}

func TestRulesSchemaIsJSON(t *testing.T) {
	out, _, code := run(t, "rules", "schema")
	require.Zero(t, code)
	var schema map[string]any
	require.NoError(t, json.Unmarshal([]byte(out), &schema))
	require.Equal(t, false, schema["additionalProperties"])
}

func TestRulesExplainTakesCurlFilesAndIDs(t *testing.T) {
	dir := t.TempDir()
	ndjson, line := filepath.Join(dir, "x.ndjson"), filepath.Join(dir, "curl.txt")
	require.NoError(t, os.WriteFile(ndjson, []byte(`{"request":{"method":"GET","target":"/api/1"}}`+"\n\n"+`{"request":{"method":"GET","target":"/x"}}`+"\n"), 0o600))
	require.NoError(t, os.WriteFile(line, []byte("curl 'http://h/api/1' \\\n -H 'X-Api-Key: hunter2hunter2'\n"), 0o600))

	out, talk, code := run(t, "rules", "explain", exampleRules, ndjson, "-o", "ndjson")
	require.Zero(t, code, talk)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 2)
	require.Contains(t, lines[0], `{"section":"filter","program":"tap","result":"passes","why":"include 1: GET /api/**"}`)
	require.Contains(t, lines[1], `"result":"stops"`)

	out, talk, code = run(t, "rules", "explain", exampleRules, line, "-o", "table")
	require.Zero(t, code, talk)
	require.Contains(t, out, "request.header:X-Api-Key#0")
	require.NotContains(t, out+talk, "hunter2")

	c := command(t, "rules", "explain", exampleRules, "-", "-o", "table")
	c.Stdin = strings.NewReader("curl h/api/1")
	stdout, err := c.Output()
	require.NoError(t, err)
	require.Contains(t, string(stdout), "GET /api/1")

	for exchange, why := range map[string]string{
		"no such thing": "is no exchange", "curl": "no URL", "curl -d @f h": "no file", exampleRules: "line 1 of",
	} {
		_, talk, code = run(t, "rules", "explain", exampleRules, exchange)
		require.Equal(t, fault.Usage, code, exchange)
		require.Contains(t, talk, strings.Replace(why, "no file", "names a file", 1))
		require.Contains(t, talk, "try")
	}

	address := kafka(t)
	_, talk, code = run(t, "rules", "explain", exampleRules, "abcdabcd", "--brokers", address, "--topic-prefix", "shop")
	require.NotZero(t, code)
	require.Contains(t, talk, "abcdabcd")
	out, talk, code = run(t, "cat", "--brokers", address, "--topic-prefix", "shop", "-n", "1", "-o", "ndjson")
	require.Zero(t, code, talk)
	var first struct {
		ID string `json:"id"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &first))
	out, talk, code = run(t, "rules", "explain", exampleRules, first.ID, "--brokers", address, "--topic-prefix", "shop", "-o", "table")
	require.Zero(t, code, talk)
	require.Contains(t, out, "filter")
}
