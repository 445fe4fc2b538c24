package tap

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/topic"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// follower keeps a board to the commands in the control topic. It is never in the way of traffic, and no state of Kafka or
// of the topic ends it.
type follower struct {
	cfg   topic.Config
	name  string // of the topic
	board *board
	log   *slog.Logger
	taken *prometheus.CounterVec

	troubled time.Time // since when the topic cannot be followed
	said     bool
	refused  string // the last reason that was logged
}

func newFollower(o Options, b *board) (*follower, error) {
	f := &follower{
		cfg: o.Topic, name: o.Names.Control, board: b, log: o.Logger,
		taken: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reprise_tap_commands_total", Help: "Commands for this tap read from the control topic: taken, refused.",
		}, []string{"result"}),
	}
	f.cfg.Registerer, f.cfg.Logger = nil, nil // the writers tell of Kafka
	f.taken.WithLabelValues(resultTaken)
	f.taken.WithLabelValues(resultRefused)
	return f, o.Registerer.Register(f.taken)
}

const (
	resultTaken   = "taken"
	resultRefused = "refused"
)

// Pauses between attempts to follow the topic, and how long it may be missed before that is worth a line.
const (
	firstPause  = time.Second
	longPause   = 5 * time.Second
	quietMisses = 15 * time.Second
)

// run follows until ctx ends.
func (f *follower) run(ctx context.Context) error {
	for pause := firstPause; ; pause = min(2*pause, longPause) {
		// Read anew each time: what comes back may be another topic. What is in force stays until it has been read.
		var fold control.Commands
		told := false
		err := topic.Follow(ctx, f.cfg, f.name,
			func(r *topic.Record) { told = f.take(&fold, r) || told },
			func(next int64) bool {
				f.found()
				f.board.follow(&fold, next, told)
				told, pause = false, firstPause
				return true
			})
		if ctx.Err() != nil {
			return nil
		}
		f.missed(err)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// take folds a record if it is a command for this tap that can be obeyed.
func (f *follower) take(fold *control.Commands, r *topic.Record) (told bool) {
	if !control.IsCommand(r.Key) || len(r.Value) == 0 {
		return false
	}
	c, err := control.Unmarshal(r.Value)
	if err != nil {
		f.refuse(r.Offset, "", err)
		return false
	}
	k, ok := c.GetKind().(*reprisev1.Control_Command)
	if !ok || !control.Selects(k.Command.GetTap(), f.board.id, f.board.name) {
		return false
	}
	if verb := k.Command.GetVerb(); verb != control.VerbReset {
		if err := new(Settings).set(verb, k.Command.GetArgument()); err != nil {
			f.refuse(r.Offset, c.GetWriter(), err)
			return false
		}
	}
	if fold.Apply(control.CommandOf(r.Offset, c, k.Command)) {
		f.taken.WithLabelValues(resultTaken).Inc()
	}
	return true
}

// refuse counts a command that this version cannot obey: it changes nothing. The same reason is logged once.
func (f *follower) refuse(offset int64, writer string, err error) {
	f.taken.WithLabelValues(resultRefused).Inc()
	if reason := err.Error(); reason != f.refused {
		f.refused = reason
		f.log.Warn("a command is not obeyed; it changes nothing", "offset", offset, "by", writer, "cause", reason)
	}
}

// missed notes that the topic cannot be followed, and says so once when that lasts: a tap that makes the topic itself
// misses it for a moment.
func (f *follower) missed(err error) {
	if topic.IsMissing(err) { // nobody has ever set anything
		f.board.known("")
	}
	if f.troubled.IsZero() {
		f.troubled = time.Now()
	}
	if !f.said && time.Since(f.troubled) >= quietMisses {
		f.said = true
		f.log.Warn("commands (tap set) do not reach this tap; the settings stay as they are", "topic", f.name, "cause", err)
	}
}

func (f *follower) found() {
	if f.said {
		f.log.Info("commands (tap set) reach this tap again", "topic", f.name)
	}
	f.troubled, f.said = time.Time{}, false
}
