package check_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheExampleOfRulesIsRead(t *testing.T) {
	out, err := exec.Command(filepath.Join(bin, "inspect"), "rules", "check", "../rules.yaml").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "good")
}
