package check_test

import (
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"
)

// composeProject loads the file as Docker Compose does: schema, merge keys, consistency.
func composeProject(t *testing.T) *types.Project {
	t.Helper()
	p, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir: "../compose", ConfigFiles: []types.ConfigFile{{Filename: "../compose/compose.yaml"}},
	}, func(o *loader.Options) { o.Profiles = []string{"*"} })
	require.NoError(t, err)
	return p
}

func TestComposeStartsOurPrograms(t *testing.T) {
	ours := 0
	for name, s := range composeProject(t).Services {
		if s.Build == nil {
			continue
		}
		ours++
		require.Equal(t, "deploy/docker/Dockerfile", s.Build.Dockerfile, name)
		line := commandLine{where: "compose.yaml: " + name, program: image(s.Image), args: s.Command}
		require.Equal(t, line.program, s.Build.Target, name)
		line.requireParses(t)
		require.True(t, s.ReadOnly, name)
		require.Equal(t, "65532:65532", s.User, name)
		if file := line.flagValue("--redact-key"); file != "" {
			require.Equal(t, "file:/run/secrets/"+s.Secrets[0].Source, file, name)
		}
		if budget := line.flagValue("--memory-max"); budget != "" {
			require.Greater(t, int(s.MemLimit), bytesOf(t, budget)+127<<20, name)
		}
	}
	require.Equal(t, 6, ours)
}

func TestComposeIsHardened(t *testing.T) {
	for name, s := range composeProject(t).Services {
		require.Equal(t, []string{"ALL"}, s.CapDrop, name)
		require.Contains(t, s.SecurityOpt, "no-new-privileges:true", name)
		require.NotZero(t, s.MemLimit, name)
		require.Regexp(t, `:\S+$`, s.Image, name)
		for _, p := range s.Ports {
			require.Equal(t, "127.0.0.1", p.HostIP, "%s: published on this machine only", name)
		}
		if name != "tap" { // throttled, it would slow the traffic
			require.NotZero(t, s.CPUS, name)
		}
	}
}

func TestComposeKeepsProductionAndPreProductionApart(t *testing.T) {
	p := composeProject(t)
	on := func(network string) (names []string) {
		for name, s := range p.Services {
			if _, ok := s.Networks[network]; ok {
				names = append(names, name)
			}
		}
		return names
	}
	require.ElementsMatch(t, []string{"shop", "visitors", "tap"}, on("production"))
	require.ElementsMatch(t, []string{"replayer", "preproduction"}, on("preproduction"))
	require.ElementsMatch(t, []string{"kafka", "tap", "replayer", "inspect", "prometheus"}, on("pipeline"))
	for _, network := range []string{"pipeline", "preproduction"} {
		require.True(t, p.Networks[network].Internal, "%s leads nowhere else", network)
	}
}
