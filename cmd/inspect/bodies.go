package main

import (
	"log/slog"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/reprise-io/reprise/cmd/internal/cli"
	"github.com/reprise-io/reprise/internal/inspect"
	"github.com/reprise-io/reprise/internal/topic"
)

// showing holds the flag that shows bodies.
type showing struct {
	show bool
	flag *pflag.Flag // nil: show is decided
}

func (s *showing) addFlag(fs *pflag.FlagSet) {
	fs.BoolVar(&s.show, "show-bodies", false, "show bodies; NDJSON, JSON and raw have them where stdout is no terminal, unless =false")
	s.flag = fs.Lookup("show-bodies")
}

// bodies says whether to show them, and tells the log when the first is. what says which exchanges were asked for, in pairs for slog.
func (s *showing) bodies(o *reading, form inspect.Form, command string, what ...any) (*inspect.Bodies, error) {
	show := s.show
	if s.flag != nil && !s.flag.Changed {
		show = form != inspect.Table && !cli.IsTerminal(os.Stdout)
	}
	audit := o.Shared
	audit.LogLevel = "info" // whatever else is told
	log, err := audit.Logger(os.Stderr)
	if err != nil {
		return nil, err
	}
	return &inspect.Bodies{Show: show, Shown: func() {
		name, uid := "unknown", os.Getuid()
		if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
			name = u.Username
		}
		log.Info("bodies shown", append([]any{
			slog.Bool("audit", true), slog.String("user", name), slog.Int("uid", uid), slog.String("command", command),
			slog.String("topic", topic.NamesOf(o.TopicPrefix).Exchanges), slog.String("brokers", strings.Join(o.Brokers, ",")),
		}, what...)...)
	}}, nil
}

// asked is what of a topic was asked for.
func (c *choosing) asked() []any {
	return []any{
		slog.String("from", c.from), slog.String("to", c.to), slog.Any("filter", c.filters), slog.Int("partition", int(c.partition)),
	}
}
