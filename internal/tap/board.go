package tap

import (
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/sample"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// board joins the settings that a tap was started with and the commands for it, and hands what follows to the workers.
type board struct {
	id, name string
	apply    func(*inForce)
	known    func(why string) // called when what is in force is known: the commands, or that there can be none
	log      *slog.Logger
	changed  chan struct{} // a report is due; of capacity 1

	mu       sync.Mutex
	base     Settings // of flags or the configuration file
	now      *inForce
	commands []control.Command // in force, by verb
	since    map[string]time.Time
	below    int64 // commands before this offset of the control topic are obeyed
	followed bool  // the control topic has been read once
}

func newBoard(o Options, id [16]byte, apply func(*inForce), known func(why string)) (*board, error) {
	now, err := o.Settings.compile(nil)
	if err != nil {
		return nil, err
	}
	apply(now)
	return &board{
		id: hex.EncodeToString(id[:]), name: o.Name, apply: apply, known: known, log: o.Logger, changed: make(chan struct{}, 1),
		base: o.Settings, now: now,
	}, nil
}

// rebase changes what the commands are on top of.
func (b *board) rebase(base Settings) error {
	if err := base.Check(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.base
	b.base = base
	if was.Rules != base.Rules {
		b.due()
	}
	for _, c := range b.commands {
		if verb := c.GetVerb(); was.argument(verb) != base.argument(verb) {
			b.log.Warn(fmt.Sprintf("%s %s does not count: a command is stronger: tap set --reset", verb, base.say(verb)),
				"by", c.Writer, "command_of", c.Time)
		}
	}
	return b.enforce()
}

// follow takes the commands that the control topic holds below an offset. told: some of them name this tap, and whoever
// gave them waits for its report.
func (b *board) follow(commands *control.Commands, below int64, told bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.commands
	b.commands, b.below = commands.For(b.id, b.name), below
	now, since := time.Now(), make(map[string]time.Time, len(b.commands))
	for _, c := range b.commands {
		since[c.GetVerb()] = now
		for _, old := range before {
			if old.Offset == c.Offset {
				since[c.GetVerb()] = b.since[c.GetVerb()]
			}
		}
	}
	b.since = since
	if !b.followed {
		b.followed = true
		b.warn()
	}
	if err := b.enforce(); err != nil { // each command was checked: a fault of this program
		b.log.Error("commands cannot be obeyed; the settings stay as they were", "error", err)
	}
	b.known("")
	if told {
		b.due()
	}
}

// warn says at the start which commands are stronger than what the tap was started with.
func (b *board) warn() {
	for _, c := range b.commands {
		got := b.base.obeying([]control.Command{c})
		b.log.Warn(fmt.Sprintf("%s %s by command of %s (%s); flags say %s: tap set --reset",
			c.GetVerb(), got.say(c.GetVerb()), c.Time.Format("2006-01-02 15:04 MST"), c.Writer, b.base.say(c.GetVerb())))
	}
}

// enforce gives the workers what base and commands come to, and says what has changed.
func (b *board) enforce() error {
	next, err := b.base.obeying(b.commands).compile(b.now)
	if err != nil {
		return err
	}
	was := b.now
	b.now = next
	b.apply(next)
	for _, verb := range verbs() {
		if was.argument(verb) == next.argument(verb) {
			continue
		}
		b.due()
		by := []any{"by", "flags or configuration file"}
		for _, c := range b.commands {
			if c.GetVerb() == verb {
				by = []any{"by", c.Writer, "command_of", c.Time, "after", time.Since(c.Time).Round(time.Millisecond).String()}
			}
		}
		b.log.Info(fmt.Sprintf("%s %s, was %s", verb, next.say(verb), was.say(verb)), by...)
	}
	return nil
}

// rules is what the rules file says; nil: there is none.
func (b *board) rules() *Rules {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now.Rules
}

// quota is what the quota of the sample has done since it came into force.
func (b *board) quota() sample.Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now.quota.Stats()
}

func (b *board) register(r prometheus.Registerer) error { return r.Register((*rulesMetrics)(b)) }

// due asks for a report at once.
func (b *board) due() {
	select {
	case b.changed <- struct{}{}:
	default: // one is due already
	}
}

// report is what the tap tells of its settings.
func (b *board) report() *reprisev1.TapSettings {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.now.proto()
	s.ObeyedBelow = b.below
	for _, c := range b.commands {
		s.ByCommand = append(s.ByCommand, &reprisev1.TapCommand{
			Command: c.Command, Offset: c.Offset, TimeUnixNano: unixNano(c.Time), Writer: c.Writer,
			ObeyedUnixNano: unixNano(b.since[c.GetVerb()]),
		})
	}
	return s
}

func unixNano(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixNano())
}
