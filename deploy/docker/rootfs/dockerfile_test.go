package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStagesWithTheirVariables(t *testing.T) {
	stages, err := ParseDockerfile(strings.NewReader(`
# comment
ARG GO_VERSION=1.2
FROM --platform=$BUILDPLATFORM golang:${GO_VERSION} AS build
ARG VERSION=unknown OTHER
RUN echo ${VERSION} \
    $HOME ${NOT_OURS}
FROM scratch
ENV A=b
COPY --from=build /x /${A}
ENTRYPOINT ["/x"]
`), map[string]string{"VERSION": "v9"})
	require.NoError(t, err)
	require.Equal(t, []Stage{
		{Name: "build", From: "golang:1.2", Does: []Instruction{{Line: 6, Word: "RUN", Rest: "echo v9 $HOME ${NOT_OURS}"}}},
		{From: "scratch", Does: []Instruction{
			{Line: 9, Word: "ENV", Rest: "A=b"},
			{Line: 10, Word: "COPY", Rest: "--from=build /x /b"},
			{Line: 11, Word: "ENTRYPOINT", Rest: `["/x"]`},
		}},
	}, stages)
}

func TestWhatIsNotUnderstoodIsNoImage(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		"FROM scratch AS x\nHEALTHCHECK NONE":              "line 2: HEALTHCHECK is not known",
		"RUN true":                                         "line 1: RUN before FROM",
		"FROM scratch as x y":                              "is not understood",
		"FROM scratch AS y":                                `no stage "x"`,
		"FROM scratch AS x\nRUN true":                      "line 2: RUN: an empty root has no shell",
		"FROM scratch AS x\nENTRYPOINT /x":                 "line 2: ENTRYPOINT: /x",
		"FROM scratch AS x\nCOPY . .":                      "want --from=STAGE",
		"FROM scratch AS x\nCOPY --from=z /a /a":           `no stage "z"`,
		"FROM scratch AS x\nLABEL a=\"b":                   "quote is not closed",
		"FROM golang:1 AS b\nFROM b AS x":                  "whole toolchain",
		"FROM golang:1 AS x\nCOPY go.mod /":                "only the whole context",
		"FROM golang:1 AS x\nWORKDIR /src\nRUN exit 3":     "exit status 3",
		"FROM scratch AS x\nUSER 1:1\nCOPY --from=x /a /b": "needs itself",
	} {
		file := filepath.Join(dir, "Dockerfile")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		err := Build(file, dir, t.TempDir(), nil, "x")
		require.Error(t, err, text)
		require.ErrorContains(t, err, want, text)
	}
}

func TestContextIsWhatDockerIgnoreLeaves(t *testing.T) {
	ig, err := readIgnored("../../../.dockerignore")
	require.NoError(t, err)
	for name, out := range map[string]bool{
		"go.mod": false, "cmd/tap/main.go": false, "e2e/demo/main.go": false, "proto/reprise/v1/exchange.pb.go": false,
		"README.md": true, ".git/HEAD": true, ".cache/bin/buf": true, "tools/go.mod": true, "deploy/README.md": true,
		"internal/wire/fuzz_test.go": true, "internal/report/testdata/a/b.txt": true,
	} {
		require.Equal(t, out, ig.match(name), name)
	}
}

func TestUserIsANumberAndNotRoot(t *testing.T) {
	uid, gid, err := numericUser("65532:100")
	require.NoError(t, err)
	require.Equal(t, []int{65532, 100}, []int{uid, gid})
	for _, bad := range []string{"", "nobody", "65532", "0:0", "1:0", "0:1", "nobody:nogroup"} {
		_, _, err := numericUser(bad)
		require.Error(t, err, bad)
	}
}

func FuzzParseDockerfile(f *testing.F) {
	text, err := os.ReadFile("../Dockerfile")
	require.NoError(f, err)
	f.Add(string(text))
	f.Add("FROM a\nLABEL a=\"\\\n")
	f.Fuzz(func(_ *testing.T, text string) {
		stages, err := ParseDockerfile(strings.NewReader(text), nil)
		if err != nil {
			return
		}
		for _, s := range stages {
			for _, i := range s.Does {
				_, _ = pairs(i.Rest)
				_, _ = execForm(i.Rest)
			}
		}
	})
}
