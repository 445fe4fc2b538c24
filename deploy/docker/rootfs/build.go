package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Image is what a container engine is told beside the root's files.
type Image struct {
	User       string            `json:"user"` // UID:GID
	Entrypoint []string          `json:"entrypoint"`
	Env        map[string]string `json:"env,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
}

// imageFile holds the Image, beside the folder root with the files.
const (
	imageFile  = "image.json"
	rootFolder = "root"
)

// builder builds stages. Those on golang: stand for this machine: their WORKDIR is a copy of the context, and
// every other path is the machine's own. Those on scratch are folders.
type builder struct {
	context string // folder
	ignore  ignored
	work    string // scratch folder for the stages
	stages  []Stage
	done    map[string]*built // nil: in the making
}

type built struct {
	image Image
	root  string // folder with its files; for a stage on this machine: the copy of the context
	host  bool
	cwd   string // WORKDIR
}

// stage builds a stage by name, with those that it needs.
func (b *builder) stage(name string) (*built, error) {
	if s, begun := b.done[name]; s != nil {
		return s, nil
	} else if begun {
		return nil, fmt.Errorf("stage %q needs itself", name)
	}
	b.done[name] = nil
	at := slices.IndexFunc(b.stages, func(s Stage) bool { return s.Name == name })
	if at < 0 {
		return nil, fmt.Errorf("there is no stage %q", name)
	}
	from := b.stages[at]
	s := &built{root: filepath.Join(b.work, name), cwd: "/"}
	s.image.Env, s.image.Labels = map[string]string{}, map[string]string{}
	if err := os.MkdirAll(s.root, 0o755); err != nil {
		return nil, err
	}
	switch {
	case from.From == "scratch":
	case strings.HasPrefix(from.From, "golang:"):
		s.host = true
	default:
		if err := b.inherit(s, from.From); err != nil {
			return nil, err
		}
	}
	for _, i := range from.Does {
		if err := b.do(s, i); err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", i.Line, i.Word, err)
		}
	}
	b.done[name] = s
	return s, nil
}

func (b *builder) inherit(s *built, from string) error {
	base, err := b.stage(from)
	if err != nil {
		return err
	}
	if base.host {
		return errors.New("an image on top of the build stage would have the whole toolchain in it")
	}
	s.image, s.cwd = base.image.clone(), base.cwd
	return os.CopyFS(s.root, os.DirFS(base.root))
}

func (m Image) clone() Image {
	c := Image{User: m.User, Entrypoint: slices.Clone(m.Entrypoint), Env: map[string]string{}, Labels: map[string]string{}}
	for k, v := range m.Env {
		c.Env[k] = v
	}
	for k, v := range m.Labels {
		c.Labels[k] = v
	}
	return c
}

func (b *builder) do(s *built, i Instruction) (err error) {
	switch i.Word {
	case "WORKDIR":
		s.cwd = path.Join(s.cwd, i.Rest)
	case "USER":
		s.image.User = i.Rest
	case "ENTRYPOINT":
		s.image.Entrypoint, err = execForm(i.Rest)
	case "ENV":
		err = addPairs(s.image.Env, i.Rest)
	case "LABEL":
		err = addPairs(s.image.Labels, i.Rest)
	case "COPY":
		err = b.copy(s, strings.Fields(i.Rest))
	case "RUN":
		err = b.run(s, i.Rest)
	}
	return err
}

func addPairs(to map[string]string, text string) error {
	all, err := pairs(text)
	for k, v := range all {
		to[k] = v
	}
	return err
}

// copy takes `. .` (the context) in a stage on this machine, and `--from=STAGE /file /file` in the others.
func (b *builder) copy(s *built, words []string) error {
	if s.host {
		if !slices.Equal(words, []string{".", "."}) {
			return fmt.Errorf("%v: only the whole context", words)
		}
		return b.copyContext(s.root)
	}
	if len(words) != 3 || !strings.HasPrefix(words[0], "--from=") || !path.IsAbs(words[1]) || !path.IsAbs(words[2]) || strings.HasSuffix(words[2], "/") {
		return fmt.Errorf("%v: want --from=STAGE /FILE /FILE", words)
	}
	from, err := b.stage(strings.TrimPrefix(words[0], "--from="))
	if err != nil {
		return err
	}
	source := filepath.Join(from.root, words[1])
	if from.host {
		source = from.onHost(words[1])
	}
	return copyFile(filepath.Join(s.root, words[2]), source)
}

// onHost is where on this machine a file of a golang: image is.
func (s *built) onHost(name string) string {
	if rest, ok := strings.CutPrefix(name, s.cwd+"/"); ok {
		return filepath.Join(s.root, rest)
	}
	return name
}

func (b *builder) copyContext(to string) error {
	return filepath.WalkDir(b.context, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(b.context, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		switch {
		case d.IsDir() && (rel == ".git" || rel == ".cache"): // large, and no pattern brings them in
			return fs.SkipDir
		case !d.Type().IsRegular() || b.ignore.match(rel):
			return nil
		}
		return copyFile(filepath.Join(to, rel), name)
	})
}

// run runs a command of a stage on this machine. Docker's cache mounts are Go's caches here.
func (b *builder) run(s *built, command string) error {
	if !s.host {
		return errors.New("an empty root has no shell")
	}
	for strings.HasPrefix(command, "--mount=") {
		_, command, _ = strings.Cut(command, " ")
		command = strings.TrimSpace(command)
	}
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir = s.root
	cmd.Env = os.Environ()
	for k, v := range s.image.Env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", command, err, said.String())
	}
	return nil
}

// copyFile copies a file with its mode's execute bits, making the folders above it.
func copyFile(to, from string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, text, info.Mode().Perm()&0o111|0o644)
}

// Build builds stages of a Dockerfile into out/STAGE/root and out/STAGE/image.json.
func Build(dockerfile, context, out string, args map[string]string, targets ...string) error {
	file, err := os.Open(dockerfile)
	if err != nil {
		return err
	}
	defer file.Close()
	all := map[string]string{"TARGETOS": runtime.GOOS, "TARGETARCH": runtime.GOARCH}
	for k, v := range args {
		all[k] = v
	}
	b := builder{context: context, done: map[string]*built{}}
	if b.stages, err = ParseDockerfile(file, all); err != nil {
		return fmt.Errorf("%s: %w", dockerfile, err)
	}
	if b.ignore, err = readIgnored(filepath.Join(context, ".dockerignore")); err != nil {
		return err
	}
	if b.work, err = os.MkdirTemp("", "reprise-rootfs-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.work)
	for _, target := range targets {
		s, err := b.stage(target)
		if err != nil {
			return fmt.Errorf("%s: stage %s: %w", dockerfile, target, err)
		}
		if err := s.store(filepath.Join(out, target)); err != nil {
			return err
		}
	}
	return nil
}

// store replaces what an earlier build left.
func (s *built) store(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(dir, rootFolder), os.DirFS(s.root)); err != nil {
		return err
	}
	text, err := json.MarshalIndent(s.image, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, imageFile), append(text, '\n'), 0o644)
}
