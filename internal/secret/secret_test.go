package secret_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/secret"
)

func TestLiteralSecretIsRefusedAndNotRepeated(t *testing.T) {
	for _, bad := range []string{"hunter2", "env:", "file:", "vault:kv/hunter2", ":", "ENV:hunter2", "hunter2:x"} {
		_, err := secret.Parse("--password", bad)
		require.Equal(t, fault.Usage, fault.Code(err), bad)
		require.ErrorContains(t, err, "--password")
		require.NotContains(t, err.Error(), "hunter2")
	}
	none, err := secret.Parse("--password", "")
	require.NoError(t, err)
	require.False(t, none.Given())
	require.Empty(t, none.String())
	_, err = none.Read()
	require.Error(t, err)
}

func TestFileIsReadAnewEachTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a:b") // a path may have a colon
	ref, err := secret.Parse("--password", "file:"+path)
	require.NoError(t, err)
	_, err = ref.Read()
	require.ErrorContains(t, err, path, "named, with the reason")

	for _, want := range []string{"one", "two words"} {
		require.NoError(t, os.WriteFile(path, []byte(" "+want+"\r\n"), 0o600))
		got, err := ref.Read()
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	require.NoError(t, os.WriteFile(path, []byte("\n"), 0o600))
	_, err = ref.Read()
	require.ErrorContains(t, err, "empty")
	require.NoError(t, os.WriteFile(path, []byte(strings.Repeat("x", 1<<20+1)), 0o600))
	_, err = ref.Read()
	require.ErrorContains(t, err, "too large")
}

func TestVariable(t *testing.T) {
	ref, err := secret.Parse("--password", "env:REPRISE_TEST_SECRET")
	require.NoError(t, err)
	_, err = ref.Read()
	require.ErrorContains(t, err, "REPRISE_TEST_SECRET")
	t.Setenv("REPRISE_TEST_SECRET", "s3cret")
	got, err := ref.Read()
	require.NoError(t, err)
	require.Equal(t, "s3cret", string(got))
	require.Equal(t, "env:REPRISE_TEST_SECRET", ref.String(), "the place, not the secret")
}
