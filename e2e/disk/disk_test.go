package disk

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestDiskIsFullAndImmutableWhenItIsTold(t *testing.T) {
	dir := t.TempDir()
	d, err := New(t.Context(), dir, 8<<20)
	if err != nil {
		t.Skipf("LEFT OUT: no mount namespace can be made here: %v", err)
	}
	defer d.Close()
	write := func(name string) error {
		return os.WriteFile(d.Path(filepath.Join(dir, name)), make([]byte, 1<<20), 0o600)
	}
	require.NoError(t, write("a"))
	require.NoFileExists(t, filepath.Join(dir, "a"), "only who is let in sees it")
	used, err := d.Used()
	require.NoError(t, err)
	require.GreaterOrEqual(t, used, int64(1<<20))

	require.NoError(t, d.Fill(t.Context()))
	require.ErrorIs(t, write("b"), unix.ENOSPC)
	require.NoError(t, d.Free(t.Context()))
	require.NoError(t, write("b"))

	require.NoError(t, d.Lock(dir, true))
	require.ErrorIs(t, write("c"), unix.EPERM)
	require.ErrorIs(t, os.Remove(d.Path(filepath.Join(dir, "a"))), unix.EPERM)
	require.NoError(t, d.Lock(dir, false))
	require.NoError(t, write("c"))
}
