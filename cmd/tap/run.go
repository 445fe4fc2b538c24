package main

import (
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/reprise-io/reprise/internal/rules"
	"github.com/reprise-io/reprise/internal/yamlfile"
)

func newRunCommand() *cobra.Command {
	var path string
	var check bool
	var onTop captureOptions
	c := &cobra.Command{
		Use:   "run --config FILE",
		Short: "Run several sources from one file",
		Long: `Run several sources in one process: they share the tap's name, memory, filters and connection to Kafka.

The file's keys are the flags below, without the dashes; lists stand for flags that can be repeated. Each entry of
"sources" has a kind (` + strings.Join(kindNames(), ", ") + `), a name that shows in its records, and the flags of tap KIND as keys.
Flags on the command line are stronger than the file. Secrets are never in the file: env:NAME or file:PATH.

SIGHUP reads the file again, and the rules file (--rules). What it says about capture, sample (and -by, -keep), include, exclude, rate-limit
and log-level counts from then on; what else is different is named, and waits for a restart. A bad file changes nothing. Commands given with
tap set stay stronger than the file.

  # /etc/reprise/tap.yaml
  brokers: [kafka-1:9092, kafka-2:9092]
  name: gateway-2
  redact-key: file:/etc/reprise/key
  sample: 10%
  exclude: [GET /health]
  sources:
    - kind: proxy
      name: shop
      listen: :8080
      upstream: 127.0.0.1:9000
    - kind: proxy
      name: search
      listen: :8081
      upstream: 127.0.0.1:9001`,
		Example: `  tap run --config /etc/reprise/tap.yaml
  tap run --config tap.yaml --check              # what is in force, or all that is wrong, with line and column
  tap run --config tap.yaml --sample 1%          # the command line is stronger
  kill -HUP PID                                  # read the file again`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(path, c.Flags())
			if err != nil {
				return err
			}
			if check {
				if cfg.Rules != "" {
					if _, err := rules.Load(cfg.Rules); err != nil {
						return err
					}
				}
				text, err := cfg.effective()
				if err == nil {
					_, err = os.Stdout.Write(text)
				}
				return err
			}
			r := &rereading{path: path, commandLine: c.Flags(), started: cfg, current: cfg}
			return cfg.run(c.Context(), cfg.placed(), r.again)
		},
	}
	fs := c.Flags()
	fs.StringVar(&path, "config", "", "the configuration, a YAML file")
	fs.BoolVar(&check, "check", false, "check the file, print what is in force of it and the command line, and exit")
	onTop.addFlags(fs)
	_ = c.MarkFlagRequired("config")
	return c
}

func (c *config) placed() []placed {
	all := make([]placed, len(c.sources))
	for i, s := range c.sources {
		all[i] = s.placed
	}
	return all
}

// rereading is the answer of `tap run` to a SIGHUP.
type rereading struct {
	path        string
	commandLine *pflag.FlagSet
	started     *config // what the process was started with
	current     *config // the last that was read
}

// changeable are the keys that count without a restart.
func changeable() []string {
	return []string{"capture", "sample", "sample-by", "sample-keep", "include", "exclude", "rate-limit", "log-level"}
}

func (r *rereading) again(p running) {
	next, err := loadConfig(r.path, r.commandLine)
	if err != nil {
		flaws := []string{err.Error()}
		if bad, ok := errors.AsType[*yamlfile.Bad](err); ok {
			flaws = bad.Flaws
		}
		p.log.Error("THE CONFIGURATION WAS NOT READ AGAIN: the settings stay as they were", "file", r.path, "flaws", flaws)
		return
	}
	if err := p.tap.Rebase(p.book.settings(&next.captureOptions)); err != nil { // it was checked: a fault of this program
		p.log.Error("THE CONFIGURATION WAS NOT READ AGAIN: the settings stay as they were", "file", r.path, "error", err)
		return
	}
	changed := slices.DeleteFunc(differ(r.current.flags, next.flags), func(key string) bool { return !slices.Contains(changeable(), key) })
	r.current = next
	p.log.Info("the configuration was read again", "file", r.path, "changed", changed)
	if level, err := next.Level(); err == nil {
		p.level.Set(level)
	}
	if waits := r.waits(next); len(waits) > 0 {
		p.log.Warn("some of the configuration counts after a restart only", "file", r.path, "differs", waits)
	}
}

// waits names what differs from what the process was started with and cannot change while it runs.
func (r *rereading) waits(next *config) []string {
	names := slices.DeleteFunc(differ(r.started.flags, next.flags), func(key string) bool { return slices.Contains(changeable(), key) })
	for _, old := range r.started.sources {
		i := slices.IndexFunc(next.sources, func(s configSource) bool { return s.name == old.name })
		switch {
		case i < 0:
			names = append(names, "source "+old.name+" (not in the file any more)")
		case next.sources[i].kind != old.kind:
			names = append(names, "source "+old.name+": kind")
		default:
			for _, key := range differ(old.flags, next.sources[i].flags) {
				names = append(names, "source "+old.name+": "+key)
			}
		}
	}
	for _, s := range next.sources {
		if !slices.ContainsFunc(r.started.sources, func(old configSource) bool { return s.name == old.name }) {
			names = append(names, "source "+s.name+" (new)")
		}
	}
	return names
}

// differ names the flags with another value.
func differ(a, b *pflag.FlagSet) []string {
	names := []string{}
	a.VisitAll(func(flag *pflag.Flag) {
		if other := b.Lookup(flag.Name); other == nil || flag.Value.String() != other.Value.String() {
			names = append(names, flag.Name)
		}
	})
	return names
}
