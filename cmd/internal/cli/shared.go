package cli

import (
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/pflag"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/secret"
	"github.com/reprise-io/reprise/internal/topic"
)

// Shared holds the flags that mean the same in all three programs. The zero value is filled by the Add methods.
type Shared struct {
	Brokers     []string
	TopicPrefix string
	Security    topic.SecurityOptions
	RedactKey   string // "env:NAME" or "file:PATH"; empty: random
	Rules       string // path of the rules file; empty: none
	Admin       string // address of metrics and health; empty: off
	Pprof       bool
	LogFormat   string
	LogLevel    string
}

// AddLog adds --log-format and --log-level.
func (s *Shared) AddLog(fs *pflag.FlagSet) {
	fs.StringVar(&s.LogFormat, "log-format", "auto", "log lines on stderr as text or json; auto: text on a terminal")
	fs.StringVar(&s.LogLevel, "log-level", "info", "debug, info, warn or error")
}

// AddAdmin adds --admin and --pprof.
func (s *Shared) AddAdmin(fs *pflag.FlagSet) {
	fs.StringVar(&s.Admin, "admin", "", "serve /metrics, /healthz and /readyz on this address; off unless given")
	fs.BoolVar(&s.Pprof, "pprof", false, "serve /debug/pprof/ on the --admin address too")
}

// AddRedactKey adds --redact-key.
func (s *Shared) AddRedactKey(fs *pflag.FlagSet) {
	fs.StringVar(&s.RedactKey, "redact-key", "",
		"key of the pseudonyms, as env:NAME or file:PATH; absent: random, so that sessions of different taps do not join")
}

// rulesEnv names the rules file where --rules does not.
const rulesEnv = "REPRISE_RULES"

// AddRules adds --rules.
func (s *Shared) AddRules(fs *pflag.FlagSet) {
	fs.StringVar(&s.Rules, "rules", os.Getenv(rulesEnv), "YAML `FILE` of rules, see inspect rules --help (env "+rulesEnv+")")
	fs.Lookup("rules").DefValue = "" // of the program, not of this environment
}

// Level reads --log-level.
func (s *Shared) Level() (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.LogLevel)); err != nil {
		return 0, fault.BadUsage(fmt.Sprintf("bad --log-level %q", s.LogLevel), "", "debug, info, warn or error")
	}
	return level, nil
}

// Logger builds the logger that writes to w.
func (s *Shared) Logger(w io.Writer) (*slog.Logger, error) {
	log, _, err := s.LeveledLogger(w)
	return log, err
}

// spellDuration gives durations their units in JSON too, where slog writes nanoseconds.
func spellDuration(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// LeveledLogger builds the logger that writes to w, and what its level can be changed with.
func (s *Shared) LeveledLogger(w io.Writer) (*slog.Logger, *slog.LevelVar, error) {
	from, err := s.Level()
	if err != nil {
		return nil, nil, err
	}
	level := new(slog.LevelVar)
	level.Set(from)
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: spellDuration}
	format := s.LogFormat
	if format == "auto" || format == "" {
		format = "json"
		switch f := w.(type) {
		case *os.File:
			if IsTerminal(f) {
				format = "text"
			}
		case *Outlet:
			if IsTerminal(f.to) {
				format = "text"
			}
		case *Screen:
			format = "text"
		}
	}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), level, nil
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), level, nil
	}
	return nil, nil, fault.BadUsage(fmt.Sprintf("bad --log-format %q", s.LogFormat), "", "auto, text or json")
}

// minKey is the fewest bytes that a pseudonym key may have.
const minKey = 16

// Key reads the key named by --redact-key; without one it draws a random key and says so.
func (s *Shared) Key() (key []byte, random bool, err error) {
	if s.RedactKey == "" {
		key = make([]byte, 32)
		_, err = rand.Read(key)
		return key, true, err
	}
	ref, err := secret.Parse("--redact-key", s.RedactKey)
	if err != nil {
		return nil, false, err
	}
	if key, err = ref.Read(); err != nil {
		try := "head -c 32 /dev/urandom | base64 > " + ref.Name()
		if !ref.IsFile() {
			try = "export " + ref.Name() + "=$(head -c 32 /dev/urandom | base64)"
		}
		return nil, false, fault.BadUsage("cannot read --redact-key "+s.RedactKey, err.Error(), try)
	}
	if len(key) < minKey {
		return nil, false, fault.BadUsage(fmt.Sprintf("--redact-key %s: the key has %d bytes, want at least %d", s.RedactKey, len(key), minKey),
			"", "head -c 32 /dev/urandom | base64")
	}
	return key, false, nil
}
