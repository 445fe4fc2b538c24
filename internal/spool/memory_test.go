package spool

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"slices"
)

var errInjected = errors.New("injected")

// memory is Files that can fail at any step and lose what was not synced.
type memory struct {
	files map[string]*content
	made  map[string]*content // the directory as the last Sync left it
	fail  func(op string) bool
}

type content struct {
	data   []byte
	synced int
}

func newMemory() *memory {
	return &memory{files: map[string]*content{}, made: map[string]*content{}, fail: func(string) bool { return false }}
}

// kill ends the process: what was written is there.
func (m *memory) kill() *memory {
	return &memory{files: m.files, made: m.made, fail: func(string) bool { return false }}
}

// powerCut keeps what was synced, and of the rest the first part bytes of each file.
func (m *memory) powerCut(part int) *memory {
	after := newMemory()
	for name, c := range m.files {
		if m.made[name] == nil && c.synced == 0 {
			continue
		}
		keep := min(len(c.data), c.synced+part)
		after.files[name] = &content{slices.Clone(c.data[:keep]), keep}
	}
	after.made = maps.Clone(after.files)
	return after
}

func (m *memory) bytes() (n int64) {
	for _, c := range m.files {
		n += int64(len(c.data))
	}
	return n
}

func (m *memory) err(op string) error {
	if m.fail(op) {
		return errInjected
	}
	return nil
}

func (m *memory) find(op, name string) (*content, error) {
	if err := m.err(op); err != nil {
		return nil, err
	}
	if c := m.files[name]; c != nil {
		return c, nil
	}
	return nil, fs.ErrNotExist
}

func (m *memory) Names() ([]string, error) {
	return slices.Collect(maps.Keys(m.files)), m.err("names")
}

func (m *memory) Create(name string) (File, error) {
	if err := m.err("create"); err != nil {
		return nil, err
	}
	if m.files[name] != nil {
		return nil, fs.ErrExist
	}
	c := new(content)
	m.files[name] = c
	return &handle{m, c}, nil
}

func (m *memory) Open(name string) (File, error) {
	c, err := m.find("open", name)
	if err != nil {
		return nil, err
	}
	return &handle{m, c}, nil
}

func (m *memory) Size(name string) (int64, error) {
	c, err := m.find("size", name)
	if err != nil {
		return 0, err
	}
	return int64(len(c.data)), nil
}

func (m *memory) Truncate(name string, size int64) error {
	c, err := m.find("truncate", name)
	if err != nil {
		return err
	}
	c.data = c.data[:size]
	c.synced = min(c.synced, int(size))
	return nil
}

func (m *memory) Rename(from, to string) error {
	c, err := m.find("rename", from)
	if err != nil {
		return err
	}
	delete(m.files, from)
	m.files[to] = c
	return nil
}

func (m *memory) Remove(name string) error {
	if _, err := m.find("remove", name); err != nil {
		return err
	}
	delete(m.files, name)
	return nil
}

func (m *memory) Sync() error {
	if err := m.err("syncdir"); err != nil {
		return err
	}
	m.made = maps.Clone(m.files)
	return nil
}

func (m *memory) Close() error { return nil }

type handle struct {
	m *memory
	c *content
}

func (h *handle) ReadAt(b []byte, at int64) (int, error) {
	if err := h.m.err("read"); err != nil {
		return 0, err
	}
	if at >= int64(len(h.c.data)) {
		return 0, io.EOF
	}
	n := copy(b, h.c.data[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (h *handle) Write(b []byte) (int, error) {
	if err := h.m.err("write"); err != nil {
		return 0, err
	}
	if h.m.fail("short write") {
		half := len(b) / 2
		h.c.data = append(h.c.data, b[:half]...)
		return half, errInjected
	}
	h.c.data = append(h.c.data, b...)
	return len(b), nil
}

func (h *handle) Truncate(size int64) error {
	if err := h.m.err("truncate"); err != nil {
		return err
	}
	h.c.data = h.c.data[:size]
	h.c.synced = min(h.c.synced, int(size))
	return nil
}

func (h *handle) Sync() error {
	if err := h.m.err("sync"); err != nil {
		return err
	}
	h.c.synced = len(h.c.data)
	return nil
}

func (h *handle) Close() error { return h.m.err("close") }
