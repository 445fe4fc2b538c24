package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

func payloads(n, size int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = append(fmt.Appendf(nil, "%08d ", i), bytes.Repeat([]byte{byte(i)}, size)...)
	}
	return all
}

func openIn(t *testing.T, dir string, maxBytes int64) *Spool {
	t.Helper()
	files, err := OpenDirectory(dir)
	require.NoError(t, err)
	s, err := Open(files, Config{MaxBytes: maxBytes})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func takeAll(t *testing.T, s *Spool) (all [][]byte) {
	t.Helper()
	for {
		some, after, err := s.Take(100, 1<<20)
		require.NoError(t, err)
		if len(some) == 0 {
			return all
		}
		require.NoError(t, s.Commit(after))
		all = append(all, some...)
	}
}

func TestRecordsComeBackInOrderAfterARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := openIn(t, dir, 64<<20)
	want := payloads(30000, 1000)
	_, err := s.Append(want)
	require.NoError(t, err)
	first, after, err := s.Take(1000, 1<<30)
	require.NoError(t, err)
	require.Equal(t, want[:1000], first)
	require.NoError(t, s.Commit(after))
	require.NoError(t, s.Close())

	s = openIn(t, dir, 64<<20)
	require.EqualValues(t, 29000, s.Len())
	require.Equal(t, want[1000:], takeAll(t, s))
	require.Zero(t, s.Bytes(), "what was taken leaves the disk")
}

func TestFilesAreTheOwnersOnlyAndTheDirectoryIsOneProcesss(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	s := openIn(t, dir, 64<<20)
	_, err := s.Append(payloads(3, 10))
	require.NoError(t, err)
	_, after, err := s.Take(1, 1)
	require.NoError(t, err)
	require.NoError(t, s.Commit(after))
	require.NoError(t, s.Sync())
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 3, "the lock, the cursor and a segment")
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), e.Name())
	}
	_, err = OpenDirectory(dir)
	require.ErrorIs(t, err, ErrLocked)
}

func TestFullSpoolLosesItsOldestAndSaysHowMany(t *testing.T) {
	mem := newMemory()
	var lost int64
	s, err := Open(mem, Config{MaxBytes: 1 << 20, OnLost: func(n int64, why Reason) {
		require.Equal(t, Full, why)
		lost += n
	}})
	require.NoError(t, err)
	want := payloads(5000, 1000)
	for i := 0; i < len(want); i += 10 {
		_, err := s.Append(want[i : i+10])
		require.NoError(t, err)
		require.LessOrEqual(t, mem.bytes(), int64(1<<20))
	}
	got := takeAll(t, s)
	require.Equal(t, want[lost:], got, "the newest, without a hole")
	require.Greater(t, len(got), 800, "it is used well: a segment is an eighth")
}

func TestAFlippedByteCostsOneRecord(t *testing.T) {
	want := payloads(200, 300)
	for at := 0; at < 60000; at += 131 {
		mem := newMemory()
		var lost int64
		s, err := Open(mem, Config{MaxBytes: 16 << 20, OnLost: func(n int64, why Reason) {
			require.Equal(t, Disk, why)
			lost += n
		}})
		require.NoError(t, err)
		_, err = s.Append(want)
		require.NoError(t, err)
		g := s.open()
		require.NoError(t, s.seal(g))
		data := mem.files[g.name()].data
		data[at] ^= 0x10
		got := takeAll(t, s)
		require.Len(t, got, len(want)-1, "byte %d", at)
		require.EqualValues(t, 1, lost)
		require.Zero(t, s.Len())
	}
}

func TestATornTailIsCutOff(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir, 64<<20)
	want := payloads(10, 100)
	_, err := s.Append(want)
	require.NoError(t, err)
	name := filepath.Join(dir, s.open().name())
	require.NoError(t, s.Close())
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	_, err = f.Write(bytes.Repeat([]byte{0}, 5000))
	require.NoError(t, errors.Join(err, f.Close()))

	s = openIn(t, dir, 64<<20)
	info, err := os.Stat(name)
	require.NoError(t, err)
	require.EqualValues(t, 10*(headerBytes+109), info.Size())
	require.Equal(t, want, takeAll(t, s))
}

func TestAFailedSyncEndsTheSegment(t *testing.T) {
	mem := newMemory()
	s, err := Open(mem, Config{MaxBytes: 1 << 20})
	require.NoError(t, err)
	var durable int64
	s.synced = func(n int64) { durable += n }
	want := payloads(30, 100)
	_, err = s.Append(want[:10])
	require.NoError(t, err)
	require.NoError(t, s.Sync())
	_, err = s.Append(want[10:20])
	require.NoError(t, err)
	mem.fail = func(op string) bool { return op == "sync" }
	require.Error(t, s.Sync())
	mem.fail = func(string) bool { return false }
	require.NoError(t, s.Sync(), "and the next one has nothing to call durable")
	_, err = s.Append(want[20:])
	require.NoError(t, err)
	require.NoError(t, s.Sync())
	require.EqualValues(t, 20, durable)
	require.EqualValues(t, 1, s.Failures())
	require.Len(t, s.segments, 2)
	require.Equal(t, want, takeAll(t, s))
}

func TestAFullDiskCostsWhatCannotBeWrittenAndNothingElse(t *testing.T) {
	mem := newMemory()
	s, err := Open(mem, Config{MaxBytes: 1 << 20})
	require.NoError(t, err)
	want := payloads(30, 100)
	_, err = s.Append(want[:10])
	require.NoError(t, err)
	for _, op := range []string{"write", "short write", "create"} {
		mem.fail = func(o string) bool { return o == op }
		n, err := s.Append(want[10:20])
		require.Error(t, err)
		require.Zero(t, n)
		require.Len(t, mem.files, 1, "no empty files are left behind")
	}
	mem.fail = func(string) bool { return false }
	_, err = s.Append(want[20:])
	require.NoError(t, err)
	require.Equal(t, append(want[:10:10], want[20:]...), takeAll(t, s))
}

func TestAnUnreadableSegmentIsGivenUpAfterAWhile(t *testing.T) {
	mem := newMemory()
	var lost int64
	s, err := Open(mem, Config{MaxBytes: 1 << 20, OnLost: func(n int64, _ Reason) { lost += n }})
	require.NoError(t, err)
	_, err = s.Append(payloads(10, 100))
	require.NoError(t, err)
	require.NoError(t, s.seal(s.open()))
	mem.fail = func(op string) bool { return op == "read" }
	for range mostFailures {
		got, _, err := s.Take(5, 1000)
		require.Error(t, err)
		require.Empty(t, got)
	}
	require.EqualValues(t, 10, lost)
	got, _, err := s.Take(5, 1000)
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestOpeningTakesLittleMemoryHoweverMuchThereIs(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir, 256<<20)
	batch := payloads(100, 100_000)
	for range 10 {
		_, err := s.Append(batch)
		require.NoError(t, err)
	}
	require.NoError(t, s.Close())
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s = openIn(t, dir, 256<<20)
	runtime.ReadMemStats(&after)
	require.EqualValues(t, 1000, s.Len())
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(2<<20))
}

func FuzzScanner(f *testing.F) {
	good := appendRecord(nil, 7, []byte("first"))
	good = appendRecord(good, 7, []byte("second record"))
	f.Add(good, uint16(3))
	f.Add(append(bytes.Repeat([]byte{0}, 100), good...), uint16(0))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, uint16(9))
	f.Fuzz(func(t *testing.T, data []byte, at uint16) {
		// Whatever is in front of it and behind it, a record that is followed by nothing that claims it is found.
		cut := min(int(at), len(data))
		mark := []byte("a payload that is not in the input by chance")
		file := append(appendRecord(append([]byte{}, data[:cut]...), 99, mark), data[cut:]...)
		s := scanner{file: bytes.NewReader(file), salt: 99, limit: int64(len(file))}
		var got [][]byte
		for {
			b, err := s.next(true)
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			got = append(got, b)
		}
		require.Contains(t, got, mark)
		require.LessOrEqual(t, s.end, s.limit)
	})
}

func FuzzPosition(f *testing.F) {
	f.Add(Position{3, 99}.text())
	f.Add("1 18446744073709551615 -1 00000000\n")
	f.Fuzz(func(t *testing.T, text string) {
		if p := parsePosition(text); p != (Position{}) {
			require.Equal(t, text, p.text())
		}
	})
}

func TestADirectoryThatSomebodyRemovedIsMadeAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	files, err := OpenDirectory(dir)
	require.NoError(t, err)
	lost := map[Reason]int64{}
	s, err := Open(files, Config{MaxBytes: LeastBytes, OnLost: func(n int64, why Reason) { lost[why] += n }})
	require.NoError(t, err)
	all := payloads(30, 100<<10)
	_, err = s.Append(all) // two segments
	require.NoError(t, err)
	require.NoError(t, s.Sync())
	first, after, err := s.Take(1, 1)
	require.NoError(t, err)
	require.Len(t, first, 1)

	require.NoError(t, os.RemoveAll(dir))
	_, err = s.Append(all[:1]) // which nobody has noticed
	require.NoError(t, err)
	require.ErrorContains(t, s.Sync(), "removed by somebody")
	require.NoError(t, s.Commit(after))
	require.NotZero(t, lost[Disk])
	_, err = s.Append(all)
	require.NoError(t, err, "though what is gone cannot be removed to make room")
	require.NoError(t, s.Sync())
	_, err = OpenDirectory(dir)
	require.ErrorIs(t, err, ErrLocked, "it is still this process's")
	_, err = s.Append(payloads(160, 100<<10)) // all that there may be: what is gone makes room, too
	require.NoError(t, err)
	left := s.Len()
	require.NoError(t, s.Close())
	require.EqualValues(t, 30+1+30+160, 1+lost[Disk]+lost[Full]+left, "every record is in the books: %v, %d left", lost, left)

	s = openIn(t, dir, LeastBytes)
	require.Equal(t, left, s.Len())
}

func TestWhatWasRemovedBeforeTheEndIsNotCalledLeft(t *testing.T) {
	dir := t.TempDir()
	files, err := OpenDirectory(dir)
	require.NoError(t, err)
	lost := int64(0)
	s, err := Open(files, Config{MaxBytes: LeastBytes, OnLost: func(n int64, _ Reason) { lost += n }})
	require.NoError(t, err)
	_, err = s.Append(payloads(50, 100<<10))
	require.NoError(t, err)
	require.NoError(t, s.Sync())
	require.NoError(t, os.RemoveAll(dir))
	require.Error(t, s.Close())
	require.Zero(t, s.Len())
	require.EqualValues(t, 50, lost)
}
