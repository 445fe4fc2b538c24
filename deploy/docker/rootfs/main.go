// Command rootfs builds and runs our container images where there is no container engine: the same Dockerfile, the same files,
// the same user, a read-only root. `make rootfs` builds them, and a test runs them.
//
//	rootfs build [-out DIR] [-arg NAME=VALUE] STAGE...
//	rootfs run DIR/STAGE [-e NAME=VALUE] -- ARGUMENT...      as root
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "rootfs:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 1 {
		switch args[0] {
		case "build":
			return build(args[1:])
		case "run":
			return start(args[1], args[2:])
		}
	}
	return errors.New("want build STAGE…, or run DIR/STAGE -- ARGUMENT…")
}

func build(args []string) error {
	fs := flag.NewFlagSet("rootfs build", flag.ContinueOnError)
	file := fs.String("file", "deploy/docker/Dockerfile", "the Dockerfile")
	context := fs.String("context", ".", "what is built: the repository")
	out := fs.String("out", ".cache/rootfs", "folder for the roots")
	given := map[string]string{}
	fs.Func("arg", "NAME=VALUE for an ARG (repeatable)", func(s string) error { return addPairs(given, s) })
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() == 0 {
		return errors.New("build: which stage?")
	}
	return Build(*file, *context, *out, given, fs.Args()...)
}

func start(dir string, args []string) error {
	fs := flag.NewFlagSet("rootfs run", flag.ContinueOnError)
	var env []string
	fs.Func("e", "NAME=VALUE for the environment (repeatable)", func(s string) error {
		if !strings.Contains(s, "=") {
			return errors.New("want NAME=VALUE")
		}
		env = append(env, s)
		return nil
	})
	if err := fs.Parse(args); err != nil {
		return err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	image, err := readImage(dir)
	if err != nil {
		return err
	}
	return Run(dir, image, fs.Args(), env)
}

func readImage(dir string) (Image, error) {
	var image Image
	text, err := os.ReadFile(filepath.Join(dir, imageFile))
	if err == nil {
		err = json.Unmarshal(text, &image)
	}
	if err == nil && len(image.Entrypoint) == 0 {
		err = fmt.Errorf("%s has no ENTRYPOINT", dir)
	}
	return image, err
}
