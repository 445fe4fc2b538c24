// Package internal_test keeps the shape of the whole: who may import whom, and what no package does.
package internal_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/reprise-io/reprise/"

// mayImport tells which packages of internal/ each one may import, by path prefix; the longest prefix counts. Packages
// that join others ("*") may import every one but those that join too.
var mayImport = map[string][]string{
	"internal/traffic":          {},
	"internal/fault":            {},
	"internal/size":             {},
	"internal/paths":            {},
	"internal/threshold":        {},
	"internal/curl":             {"traffic", "fault"},
	"internal/export":           {"traffic", "fault"},
	"internal/filter":           {"traffic", "fault", "size"},
	"internal/redact":           {"traffic", "fault"},
	"internal/rewrite":          {"traffic", "fault"},
	"internal/schedule":         {"traffic", "fault"},
	"internal/chance":           {},
	"internal/compare":          {"traffic", "fault", "chance"},
	"internal/report":           {"traffic", "fault", "paths", "threshold", "chance"},
	"internal/control":          {"traffic", "fault"},
	"internal/wire":             {"traffic", "fault"},
	"internal/packet":           {"fault"},
	"internal/capture":          {"traffic", "fault", "wire"},
	"internal/capture/passive":  {"traffic", "fault", "wire", "packet"},
	"internal/capture/importer": {"traffic", "fault", "wire", "packet", "capture/passive"},
	"internal/capture/sniff":    {"traffic", "fault", "wire", "packet", "capture/passive"},
	"internal/fire":             {"traffic", "fault", "wire", "threshold"},
	"internal/yamlfile":         {"fault", "secret"},
	"internal/sample":           {"traffic", "fault", "paths"},
	"internal/rules":            {"traffic", "fault", "secret", "size", "yamlfile", "filter", "sample", "redact", "rewrite", "credential", "fire", "schedule", "compare"},
	"internal/credential":       {"fault", "secret"},
	"internal/secret":           {"fault"},
	"internal/topic":            {"fault", "secret"},
	"internal/broker":           {"fault", "topic"},
	"internal/handover":         {},
	"internal/spool":            {"fault"},
	"internal/meter":            {},
	"internal/admin":            {"fault"},
	"internal/web":              {"traffic", "fault", "report"},
	"internal/tap":              {"*"},
	"internal/replay":           {"*"},
	"internal/inspect":          {"*"},
	"cmd":                       {"*", "tap", "replay", "inspect"},
	"e2e":                       {"*"},
	"deploy":                    {},
	"proto":                     {},
	"middleware":                {},
}

// joins are the packages that bring the others together; only cmd imports them.
var joins = []string{"tap", "replay", "inspect"}

// onlyIn names the only places that import these modules, by path prefix.
var onlyIn = map[string][]string{
	"github.com/twmb/franz-go/pkg/kgo":      {"internal/topic", "e2e/kafka"},
	"github.com/twmb/franz-go/pkg/kadm":     {"internal/topic", "e2e/kafka"},
	"github.com/twmb/franz-go/pkg/sasl":     {"internal/topic"},
	"github.com/twmb/franz-go/plugin":       {"internal/topic"},
	"github.com/twmb/franz-go/pkg/kfake":    {"internal/broker"},
	"github.com/spf13/cobra":                {"cmd"},
	"github.com/spf13/pflag":                {"cmd"},
	"github.com/hashicorp/go-retryablehttp": {"internal/fire"},
	"github.com/failsafe-go":                {"internal/fire"},
	"github.com/expr-lang/expr":             {"internal/filter"},
	"github.com/envoyproxy":                 {"internal/capture/extproc"},
	"google.golang.org/grpc":                {"internal/capture/extproc"},
	"github.com/stretchr/testify":           {},
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

func list(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = ".."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	var packages []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			require.NoError(t, err)
		}
		packages = append(packages, p)
	}
	require.NotEmpty(t, packages)
	return packages
}

// longest returns the longest key of rules that path is in or below.
func longest[V any](rules map[string]V, path string) (V, bool) {
	for p := path; p != "." && p != "/"; p = filepath.Dir(p) {
		if v, ok := rules[p]; ok {
			return v, true
		}
	}
	var none V
	return none, false
}

func within(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return path == p || strings.HasPrefix(path, p+"/") })
}

func TestPackagesImportOnlyWhatTheyMay(t *testing.T) {
	for _, p := range list(t) {
		path, ours := strings.CutPrefix(p.ImportPath, module)
		if !ours || path == "internal" {
			continue
		}
		allowed, known := longest(mayImport, path)
		require.True(t, known, "%s: say in this test what it may import", path)
		for _, imported := range p.Imports {
			for restricted, places := range onlyIn {
				if imported == restricted || strings.HasPrefix(imported, restricted+"/") {
					require.True(t, within(path, places), "%s imports %s, which only %v may", path, imported, places)
				}
			}
			inside, ours := strings.CutPrefix(imported, module)
			name, isInternal := strings.CutPrefix(inside, "internal/")
			if !ours || !isInternal || within(inside, []string{path}) {
				continue
			}
			join := slices.Contains(joins, name)
			require.True(t, within(name, allowed) || slices.Contains(allowed, "*") && !join,
				"%s imports %s; it may import only %v", path, inside, allowed)
		}
	}
}

// Names that say nothing about what is inside.
var emptyNames = []string{"util", "utils", "common", "helpers", "helper", "types", "manager", "misc", "base", "shared"}

func TestPackageNamesAreNouns(t *testing.T) {
	for _, p := range list(t) {
		require.NotContains(t, emptyNames, filepath.Base(p.ImportPath), p.ImportPath)
	}
}

// longestFile is the ceiling for a file that a person wrote.
const longestFile = 600

func TestFilesAreShortAndHaveNoInit(t *testing.T) {
	files := token.NewFileSet()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != ".." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, ".pb.go") {
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		lines := files.File(file.Pos()).LineCount()
		require.LessOrEqual(t, lines, longestFile, "%s has %d lines", path, lines)
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil {
				require.NotEqual(t, "init", f.Name.Name, "%s has an init function", path)
			}
		}
		return nil
	})
	require.NoError(t, err)
}
