package main

import (
	"context"
	"embed"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/reprise-io/reprise/e2e/envoy"
	"github.com/reprise-io/reprise/e2e/proc"
)

// peers are the configurations of the other programs: two workers each, kept connections to the origin.
//
//go:embed peers
var peers embed.FS

// configured writes a configuration with its @MARKS@ replaced, each followed by its value, and returns where it is.
func (b *bench) configured(file, name string, marks ...string) (path string, err error) {
	text, err := peers.ReadFile("peers/" + file)
	if err != nil {
		return "", err
	}
	marks = append(marks, "@DIR@", b.dir, "@NAME@", name)
	path = filepath.Join(b.dir, name+filepath.Ext(file))
	return path, os.WriteFile(path, []byte(strings.NewReplacer(marks...).Replace(string(text))), 0o644)
}

// startOrigin runs the service behind everything and returns its address.
func (b *bench) startOrigin() (*proc.Process, string, error) {
	if err := b.writeBodies(); err != nil {
		return nil, "", err
	}
	addr, err := proc.FreeAddr()
	if err != nil {
		return nil, "", err
	}
	path, err := b.configured("origin.conf", "origin", "@ORIGIN@", addr)
	if err != nil {
		return nil, "", err
	}
	p, err := proc.Start(proc.Options{Path: nginx(), Args: []string{"-c", path, "-e", "stderr"}})
	return p, addr, err
}

// bodies are the answers that are files, in KiB.
func bodies() []int { return []int{1, 64, 256} }

// writeBodies makes answers as services give them, JSON of words and numbers: neither noise nor one letter.
func (b *bench) writeBodies() error {
	dir := filepath.Join(b.dir, "body")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, kib := range bodies() {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%dk", kib)), madeJSON(kib<<10), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func madeJSON(size int) []byte {
	random := rand.New(rand.NewPCG(seed, 11))
	words := []string{"ochre", "teapot", "cedar", "lamp", "woollen", "scarf", "copper", "kettle", "linen", "apron", "walnut", "tray"}
	text := []byte(`{"items":[`)
	for len(text) < size {
		text = fmt.Appendf(text, `{"id":%d,"name":"%s %s","price":%d.%02d,"stock":%d},`, random.IntN(1e6),
			words[random.IntN(len(words))], words[random.IntN(len(words))], random.IntN(900), random.IntN(100), random.IntN(500))
	}
	return append(text[:size-2], "]}"...) // JSON but for its last item, which may be cut
}

// mirroring says what an nginx does besides.
type mirroring struct {
	sink       string // address for copies; "": none are made
	documented bool   // by the lines of nginx's documentation and no others
}

func (b *bench) startNginx(name, listen, origin string, m mirroring) (*proc.Process, error) {
	file, mirror := "nginx.conf", "mirror /copy;"
	if m.sink == "" {
		mirror, m.sink = "", origin
	}
	if m.documented {
		file = "nginx-documented.conf"
	}
	path, err := b.configured(file, name, "@LISTEN@", listen, "@ORIGIN@", origin, "@SINK@", m.sink, "@MIRROR@", mirror)
	if err != nil {
		return nil, err
	}
	return proc.Start(proc.Options{Path: nginx(), Args: []string{"-c", path, "-e", "stderr"}})
}

func (b *bench) startHAProxy(listen, origin string) (*proc.Process, error) {
	path, err := b.configured("haproxy.cfg", "haproxy", "@LISTEN@", listen, "@ORIGIN@", origin)
	if err != nil {
		return nil, err
	}
	return proc.Start(proc.Options{Path: "haproxy", Args: []string{"-db", "-f", path}})
}

// startEnvoy runs an Envoy with one of peers/envoy-*.yaml. Its sink is for copies; "": it makes none.
func (b *bench) startEnvoy(ctx context.Context, file, name, listen, origin, sink string) (*proc.Process, error) {
	dir := filepath.Join(b.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	text, err := peers.ReadFile("peers/" + file)
	if err != nil {
		return nil, err
	}
	admin, err := proc.FreeAddr()
	if err != nil {
		return nil, err
	}
	addresses := map[string]string{"admin": admin, "edge": listen, "service": origin}
	if sink == "" {
		text = []byte(withoutLine(string(text), "# mirrored"))
		sink = "127.0.0.1:9" // of a cluster that nobody uses then
	}
	if strings.Contains(string(text), "# port: sink") {
		addresses["sink"] = sink
	}
	path := filepath.Join(dir, file)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return nil, err
	}
	config, err := envoy.Configure(path, addresses)
	if err != nil {
		return nil, err
	}
	e, err := envoy.Start(ctx, b.envoy, dir, config, admin)
	if err != nil {
		return nil, err
	}
	return e.Process, nil
}

func withoutLine(text, mark string) string {
	var kept []string
	for line := range strings.SplitSeq(text, "\n") {
		if !strings.Contains(line, mark) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

// nginx is where Debian has it, also when sbin is not in the path.
func nginx() string {
	if _, err := os.Stat("/usr/sbin/nginx"); err == nil {
		return "/usr/sbin/nginx"
	}
	return "nginx"
}
