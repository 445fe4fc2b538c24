package compare_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/compare"
	"github.com/reprise-io/reprise/internal/traffic"
)

// corpus returns the public test cases beside the repository, or skips.
func corpus(t *testing.T, path string) []byte {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		require.NotEqual(t, dir, filepath.Dir(dir))
		dir = filepath.Dir(dir)
	}
	b, err := os.ReadFile(filepath.Join(dir, "..", "shared", "cases", path))
	if err != nil {
		t.Skipf("public cases are not here: %v", err)
	}
	return b
}

// Every document of the JSON patch tests against every other one: a difference exactly when they are not equal.
func TestEqualDocumentsHaveNoDifference(t *testing.T) {
	var cases []struct {
		Comment       string
		Doc, Expected json.RawMessage
	}
	require.NoError(t, json.Unmarshal(corpus(t, "jsondiff/json-patch-tests__spec_tests.json"), &cases))
	require.NotEmpty(t, cases)
	var documents [][]byte
	for _, c := range cases {
		documents = append(documents, c.Doc)
		if c.Expected != nil {
			documents = append(documents, c.Expected)
		}
	}
	pairs := 0
	for _, a := range documents {
		for _, b := range documents {
			var x, y any
			require.NoError(t, json.Unmarshal(a, &x))
			require.NoError(t, json.Unmarshal(b, &y))
			var indented bytes.Buffer
			require.NoError(t, json.Indent(&indented, b, "", "\t"))
			verdict, differences := compare.Comparer{}.Compare(recorded(answer(200, string(a), jsonType), 0),
				answer(200, indented.String(), jsonType))
			equal := reflect.DeepEqual(x, y)
			require.Equal(t, equal, verdict == traffic.Same, "%s\n%s\n%v", a, b, differences)
			require.Equal(t, equal, len(differences) == 0)
			pairs++
		}
	}
	require.Greater(t, pairs, 500)
}
