package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
	"github.com/spf13/pflag"

	"github.com/reprise-io/reprise/internal/yamlfile"
)

// config is what `tap run` is told: by its file, and on top by its command line.
type config struct {
	captureOptions
	flags   *pflag.FlagSet // of captureOptions
	sources []configSource
}

// configSource is a source of the file.
type configSource struct {
	placed
	flags *pflag.FlagSet
	at    map[string]*token.Token // where each key stands
	whole *token.Token
}

// loadConfig reads a file. Its keys are the names of flags and are set through them. Flags given on the command line are
// stronger. The error tells of all flaws at once.
func loadConfig(path string, commandLine *pflag.FlagSet) (*config, error) {
	text, err := yamlfile.Read(path, whatConfig, "--config")
	if err != nil {
		return nil, err
	}
	f := newConfigFile(path)
	c := f.build(text, commandLine)
	return c, f.Err()
}

// configFile is the file of `tap run`.
type configFile struct{ yamlfile.File }

const whatConfig = "configuration file"

func newConfigFile(path string) *configFile {
	return &configFile{yamlfile.File{Path: path, What: whatConfig, Try: "tap run --config " + path + " --check"}}
}

func (f *configFile) build(text string, commandLine *pflag.FlagSet) *config {
	c := &config{flags: pflag.NewFlagSet("run", pflag.ContinueOnError)}
	c.addFlags(c.flags)
	at := make(map[string]*token.Token)
	var sources ast.Node
	for _, kv := range f.Parse(text) {
		key := kv.Key.GetToken()
		at[key.Value] = key
		if key.Value == "sources" {
			sources = kv.Value
			continue
		}
		f.setFlag(c.flags, key, kv.Value, "sources")
	}
	if sources != nil {
		f.addSources(c, sources)
	}
	overrule(c.flags, commandLine)
	for _, p := range c.check() {
		if t, ok := at[p.flag]; ok {
			f.Flaw(t, "%s", says(p.err))
		} else {
			f.Flaw(nil, "%s (from the command line or a default)", says(p.err))
		}
	}
	if len(c.sources) == 0 && f.Err() == nil {
		f.Flaw(at["sources"], "no sources: at least one is needed, such as\nsources:\n  - kind: proxy\n    listen: :8080\n    upstream: 127.0.0.1:9000")
	}
	f.checkSources(c)
	return c
}

// setFlag sets the flag that a key names; others are keys that are no flags.
func (f *configFile) setFlag(fs *pflag.FlagSet, key *token.Token, value ast.Node, others ...string) {
	flag := fs.Lookup(key.Value)
	if flag == nil {
		f.Unknown(key, "key", append(others, flagNames(fs)...))
		return
	}
	texts, isList, ok := f.List(key.Value, value)
	if !ok {
		return
	}
	slice, repeatable := flag.Value.(pflag.SliceValue)
	if repeatable && isList {
		if err := slice.Replace(texts); err != nil {
			f.Flaw(value.GetToken(), "%s: %s", key.Value, says(err))
		}
		flag.Changed = true
		return
	}
	if isList {
		f.Flaw(value.GetToken(), "%s takes one value, not a list", key.Value)
		return
	}
	if err := fs.Set(key.Value, texts[0]); err != nil {
		f.Flaw(value.GetToken(), "%s", says(err))
		if !repeatable {
			_ = flag.Value.Set(flag.DefValue) // what is left of the bad one is no second flaw
		}
	}
}

// says is an error in one line.
func says(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func flagNames(fs *pflag.FlagSet) []string {
	var names []string
	fs.VisitAll(func(flag *pflag.Flag) { names = append(names, flag.Name) })
	return names
}

func (f *configFile) addSources(c *config, n ast.Node) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		f.Flaw(n.GetToken(), "sources must be a list: each entry begins with \"- kind: …\"")
		return
	}
	for _, entry := range seq.Values {
		if s, ok := f.addSource(entry); ok {
			c.sources = append(c.sources, s)
		}
	}
}

func (f *configFile) addSource(entry ast.Node) (s configSource, ok bool) {
	pairs := f.Mapping(entry, "a source")
	if len(pairs) == 0 {
		if entry != nil && pairs != nil {
			f.Flaw(entry.GetToken(), "an empty source: want kind: %s", strings.Join(kindNames(), ", "))
		}
		return s, false
	}
	s.at, s.whole = make(map[string]*token.Token), pairs[0].Key.GetToken()
	for _, kv := range pairs {
		s.at[kv.Key.GetToken().Value] = kv.Key.GetToken()
		var good bool
		switch kv.Key.GetToken().Value {
		case "kind":
			if s.kind, good = f.Text("kind", kv.Value); !good {
				return s, false
			}
			if s.source = newSource(s.kind); s.source == nil {
				f.Unknown(kv.Value.GetToken(), "kind of source", kindNames())
				return s, false
			}
		case "name":
			if s.name, good = f.Text("name", kv.Value); !good {
				return s, false
			}
		}
	}
	if s.source == nil {
		f.Flaw(s.whole, "a source without a kind: want kind: %s", strings.Join(kindNames(), ", "))
		return s, false
	}
	s.flags = pflag.NewFlagSet(s.kind, pflag.ContinueOnError)
	s.addFlags(s.flags)
	for _, kv := range pairs {
		if key := kv.Key.GetToken(); key.Value != "kind" && key.Value != "name" {
			f.setFlag(s.flags, key, kv.Value, "kind", "name")
		}
	}
	return s, true
}

// checkSources finds what is wrong with each source and with all of them together, and names those without a name.
func (f *configFile) checkSources(c *config) {
	names, addresses := make(map[string]bool), make(map[string]string)
	for i := range c.sources {
		s := &c.sources[i]
		for _, p := range s.check() {
			if t, ok := s.at[p.flag]; ok {
				f.Flaw(t, "%s", says(p.err))
			} else {
				f.Flaw(s.whole, "this source lacks %s", p.flag)
			}
		}
		if s.name == "" {
			s.name = s.kind
			for n := 2; names[s.name]; n++ {
				s.name = s.kind + "-" + strconv.Itoa(n)
			}
		} else if names[s.name] {
			f.Flaw(s.at["name"], "another source is named %s", s.name)
		}
		names[s.name] = true
		listen := s.flags.Lookup("listen")
		if listen == nil || listen.Value.String() == "" {
			continue
		}
		for other, of := range addresses {
			if sameAddress(other, listen.Value.String()) {
				f.Flaw(s.at["listen"], "source %s listens on %s already", of, other)
			}
		}
		addresses[listen.Value.String()] = s.name
	}
}

// sameAddress reports whether two sockets cannot listen on both.
func sameAddress(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	all := func(host string) bool {
		ip := net.ParseIP(host)
		return host == "" || ip != nil && ip.IsUnspecified()
	}
	return hostA == hostB || all(hostA) || all(hostB)
}

// overrule sets the flags that the command line was given.
func overrule(fs, commandLine *pflag.FlagSet) {
	if commandLine == nil {
		return
	}
	commandLine.Visit(func(given *pflag.Flag) {
		flag := fs.Lookup(given.Name)
		if flag == nil {
			return // of tap run itself
		}
		flag.Changed = true
		if slice, ok := given.Value.(pflag.SliceValue); ok {
			if to, ok := flag.Value.(pflag.SliceValue); ok {
				_ = to.Replace(slice.GetSlice()) // it was read once already
			}
			return
		}
		_ = flag.Value.Set(given.Value.String())
	})
}

// effective writes the configuration as a file that says all of it, defaults included.
func (c *config) effective() ([]byte, error) {
	all := flagValues(c.flags)
	var sources []yaml.MapSlice
	for _, s := range c.sources {
		of := yaml.MapSlice{{Key: "kind", Value: s.kind}, {Key: "name", Value: s.name}}
		sources = append(sources, append(of, flagValues(s.flags)...))
	}
	return yaml.Marshal(append(all, yaml.MapItem{Key: "sources", Value: sources}))
}

func flagValues(fs *pflag.FlagSet) yaml.MapSlice {
	var all yaml.MapSlice
	fs.VisitAll(func(flag *pflag.Flag) { all = append(all, yaml.MapItem{Key: flag.Name, Value: flagValue(flag)}) })
	return all
}

func flagValue(flag *pflag.Flag) any {
	if slice, ok := flag.Value.(pflag.SliceValue); ok {
		return append([]string{}, slice.GetSlice()...)
	}
	text := flag.Value.String()
	if secret := yamlfile.MaskSecret(flag.Name + ": " + text); text != "" && secret != flag.Name+": "+text {
		return fmt.Sprintf("(not shown: %d bytes)", len(text))
	}
	switch flag.Value.Type() {
	case "bool":
		return text == "true"
	case "int", "int32", "int64", "float64":
		if n, err := strconv.ParseFloat(text, 64); err == nil && n == float64(int64(n)) {
			return int64(n)
		} else if err == nil {
			return n
		}
	}
	return text
}
