package check_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// object is what the checks below read of a manifest. Whether its fields exist at all is the schemas' to say.
type object struct {
	Kind     string
	Metadata struct{ Name, Namespace string }
	Data     map[string]string
	Spec     struct {
		PodSelector struct {
			MatchLabels      map[string]string
			MatchExpressions []struct{ Values []string }
		}
		PolicyTypes []string
		Egress      []struct {
			To []struct {
				NamespaceSelector, PodSelector *struct{ MatchLabels map[string]string }
				IPBlock                        *struct{ CIDR string }
			}
			Ports []struct{ Port int }
		}
		Ports    []struct{ Port, TargetPort any }
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     podSpec
		}
	}
}

type podSpec struct {
	AutomountServiceAccountToken *bool
	InitContainers, Containers   []container
	SecurityContext              securityContext
}

type securityContext struct {
	RunAsNonRoot, ReadOnlyRootFilesystem, AllowPrivilegeEscalation *bool
	Capabilities                                                   struct{ Drop []string }
	SeccompProfile                                                 struct{ Type string }
}

type container struct {
	Name, Image                                 string
	Args                                        []string
	EnvFrom                                     []struct{ ConfigMapRef struct{ Name string } }
	Ports                                       []struct{ Name string }
	SecurityContext                             securityContext
	Resources                                   struct{ Limits, Requests map[string]string }
	ReadinessProbe, LivenessProbe, StartupProbe *struct{ HTTPGet struct{ Path, Port string } }
	VolumeMounts                                []struct{ Name, MountPath string }
	RestartPolicy                               string
}

// build has Kustomize build an overlay.
func build(t *testing.T, disk filesys.FileSystem, overlay string) []byte {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(disk, filepath.Join("../kubernetes/overlays", overlay))
	require.NoError(t, err, overlay)
	text, err := built.AsYaml()
	require.NoError(t, err)
	return text
}

// render builds an overlay, and reads it.
func render(t *testing.T, overlay string) (text []byte, objects []object) {
	t.Helper()
	text = build(t, filesys.MakeFsOnDisk(), overlay)
	for _, one := range bytes.Split(text, []byte("\n---\n")) {
		var o object
		require.NoError(t, yaml.Unmarshal(one, &o))
		objects = append(objects, o)
	}
	return text, objects
}

func overlays(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("../kubernetes/overlays/*/kustomization.yaml")
	require.NoError(t, err)
	require.Len(t, found, 3)
	for i := range found {
		found[i] = filepath.Base(filepath.Dir(found[i]))
	}
	return found
}

// containers gives every container of an overlay, with its Pod.
func containers(objects []object, visit func(o object, c container)) {
	for _, o := range objects {
		for _, c := range append(o.Spec.Template.Spec.InitContainers, o.Spec.Template.Spec.Containers...) {
			visit(o, c)
		}
	}
}

func TestContainersStartOurPrograms(t *testing.T) {
	for _, overlay := range overlays(t) {
		_, objects := render(t, overlay)
		maps := map[string]map[string]string{}
		for _, o := range objects {
			if o.Kind == "ConfigMap" {
				maps[o.Metadata.Name] = o.Data
			}
		}
		n := 0
		containers(objects, func(o object, c container) {
			n++
			where := overlay + ": " + o.Kind + " " + o.Metadata.Name + ": " + c.Name
			line := commandLine{where: where, program: image(c.Image)}
			for _, arg := range c.Args {
				for _, from := range c.EnvFrom {
					require.Contains(t, maps, from.ConfigMapRef.Name, where)
					for key, value := range maps[from.ConfigMapRef.Name] {
						arg = strings.ReplaceAll(arg, "$("+key+")", value)
					}
				}
				line.args = append(line.args, arg)
			}
			line.requireParses(t)
			for _, flag := range []string{"--redact-key", "--kafka-tls-ca", "--kafka-sasl-password"} {
				if file := strings.TrimPrefix(line.flagValue(flag), "file:"); file != "" {
					require.True(t, mounted(c, file), "%s: %s %s is on no volume", where, flag, file)
				}
			}
			// The program bounds itself: the limit is above that, or the kernel ends it, and in the line the traffic with it.
			if line.program == "tap" || line.program == "replayer" {
				budget := line.flagValue("--memory-max") + line.flagValue("--look-ahead")
				require.Greater(t, bytesOf(t, c.Resources.Limits["memory"]), bytesOf(t, budget)+127<<20, where)
				require.NotContains(t, c.Resources.Limits, "cpu", where)
			}
		})
		require.NotZero(t, n, overlay)
	}
}

// image is the program in an image's name: reprise/tap:latest.
func image(name string) string {
	name, _, _ = strings.Cut(strings.TrimPrefix(name, "reprise/"), ":")
	return name
}

func mounted(c container, file string) bool {
	for _, m := range c.VolumeMounts {
		if filepath.Dir(file) == m.MountPath {
			return true
		}
	}
	return false
}

// bytesOf reads 64MiB, 256Mi and 320m as Docker means it.
func bytesOf(t *testing.T, s string) int {
	t.Helper()
	parts := regexp.MustCompile(`^(\d+)(Mi|MiB|m)$`).FindStringSubmatch(s)
	require.NotNil(t, parts, s)
	n, err := strconv.Atoi(parts[1])
	require.NoError(t, err)
	return n << 20
}

func TestContainersAreHardened(t *testing.T) {
	yes := func(b *bool) bool { return b != nil && *b }
	no := func(b *bool) bool { return b != nil && !*b }
	for _, overlay := range overlays(t) {
		_, objects := render(t, overlay)
		containers(objects, func(o object, c container) {
			pod, where := o.Spec.Template.Spec, overlay+": "+o.Metadata.Name+": "+c.Name
			require.True(t, no(pod.AutomountServiceAccountToken), where)
			require.True(t, yes(c.SecurityContext.RunAsNonRoot) || yes(pod.SecurityContext.RunAsNonRoot), where)
			require.Contains(t, []string{c.SecurityContext.SeccompProfile.Type, pod.SecurityContext.SeccompProfile.Type}, "RuntimeDefault", where)
			require.True(t, yes(c.SecurityContext.ReadOnlyRootFilesystem), where)
			require.True(t, no(c.SecurityContext.AllowPrivilegeEscalation), where)
			require.Equal(t, []string{"ALL"}, c.SecurityContext.Capabilities.Drop, where)
			require.Contains(t, c.Resources.Requests, "memory", where)
			require.Contains(t, c.Resources.Requests, "cpu", where)
			if c.LivenessProbe != nil {
				require.Equal(t, "/healthz", c.LivenessProbe.HTTPGet.Path, where)
			}
		})
	}
}

func TestTheServiceLeadsToTheTap(t *testing.T) {
	_, objects := render(t, "production")
	seen := false
	for _, o := range objects {
		if o.Kind == "Service" && o.Metadata.Name == "shop" {
			require.Equal(t, "reprise-tap", o.Spec.Ports[0].TargetPort)
			seen = true
		}
		if o.Kind == "Deployment" && o.Metadata.Name == "shop" {
			tap := o.Spec.Template.Spec.InitContainers[0]
			require.Equal(t, "Always", tap.RestartPolicy, "a sidecar: it stays, and goes last")
			require.Equal(t, "reprise-tap", tap.Ports[0].Name)
			require.NotNil(t, tap.StartupProbe, "the application waits for it")
		}
	}
	require.True(t, seen)
}

// A mirror sees copies only: where they come from it has to be told, or replayers would not know what to refuse.
func TestTheMirrorNamesProduction(t *testing.T) {
	_, objects := render(t, "production")
	served := map[string]bool{}
	var named []string
	for _, o := range objects {
		if o.Kind == "Service" {
			served[fmt.Sprintf("%s.%s.svc:%v", o.Metadata.Name, o.Metadata.Namespace, o.Spec.Ports[0].Port)] = true
		}
		if production, ok := o.Data["MIRROR_PRODUCTION"]; ok {
			named = strings.Split(production, ",")
		}
	}
	require.NotEmpty(t, named)
	for _, address := range named {
		require.Contains(t, served, address)
	}
	mirrors := 0
	containers(objects, func(_ object, c container) {
		if c.Args[0] == "mirror" {
			mirrors++
			require.Contains(t, c.Args, "--production=$(MIRROR_PRODUCTION)")
		}
	})
	require.Equal(t, 1, mirrors)
}

// Whatever the flags say, a replayer reaches Kafka, names and the targets of its own namespace, and nothing else.
func TestTheReplayerCannotReachProduction(t *testing.T) {
	_, objects := render(t, "pre-production")
	var policies int
	for _, o := range objects {
		if o.Kind != "NetworkPolicy" {
			continue
		}
		policies++
		require.ElementsMatch(t, []string{"Ingress", "Egress"}, o.Spec.PolicyTypes)
		require.ElementsMatch(t, []string{"reprise-replayer", "reprise-run"}, o.Spec.PodSelector.MatchExpressions[0].Values)
		var reach []string
		for _, rule := range o.Spec.Egress {
			require.NotEmpty(t, rule.To, "a rule without a destination is every destination")
			require.NotEmpty(t, rule.Ports)
			for _, to := range rule.To {
				require.Nil(t, to.IPBlock)
				if to.NamespaceSelector == nil {
					require.Equal(t, map[string]string{"reprise.io/target": "true"}, to.PodSelector.MatchLabels)
					reach = append(reach, "targets")
					continue
				}
				reach = append(reach, to.NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"])
			}
		}
		require.ElementsMatch(t, []string{"kube-system", "kafka", "targets"}, reach)
	}
	require.Equal(t, 1, policies)
	for _, overlay := range []string{"pre-production", "run"} {
		_, objects := render(t, overlay)
		containers(objects, func(o object, c container) {
			require.Contains(t, []string{"reprise-replayer", "reprise-run"}, o.Spec.Template.Metadata.Labels["app.kubernetes.io/name"])
		})
	}
}
