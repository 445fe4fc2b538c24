package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/e2e/proc"
	"github.com/reprise-io/reprise/e2e/sink"
	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/topic"
	"github.com/reprise-io/reprise/internal/traffic"
)

// Who fires at given times, by the names that they have in the tables.
const (
	reference    = "reference pacer"
	vegeta       = "vegeta"
	goReplayFile = "GoReplay, from a file"
	oneReplayer  = "replayer"
)

func replayers(n int) string { return fmt.Sprintf("%d replayers", n) }

// attempt is one turn of one of them: a lot at a speed.
type attempt struct {
	*lot
	speed float64
	turn  string // names the replayer's run
}

// took is how long it takes when it goes well.
func (a attempt) took() time.Duration {
	return time.Duration(float64(a.all[len(a.all)-1].Capture.Sub(a.all[0].Capture)) / a.speed)
}

func (a attempt) perSecond() float64 { return a.rate * a.speed }

// available tells who can be measured here, and what is left out.
func (b *bench) available(names []string) (there []string, missing []string) {
	for _, name := range names {
		path := map[string]string{vegeta: b.vegeta, goReplayFile: b.gor}[name]
		if path != "" {
			if _, err := os.Stat(path); err != nil {
				missing = append(missing, fmt.Sprintf("%s is not there (%s): nothing to compare with.", name, filepath.Base(path)))
				continue
			}
		}
		there = append(there, name)
	}
	return there, missing
}

// aim has one of them fire and judges when it arrived.
func (b *bench) aim(ctx context.Context, who string, a attempt) (timed, shot, error) {
	switch who {
	case reference:
		return b.aimPacer(ctx, a)
	case vegeta:
		return b.aimVegeta(ctx, a)
	case goReplayFile:
		return b.aimGoReplay(ctx, a)
	}
	n := 1
	if who != oneReplayer {
		if _, err := fmt.Sscanf(who, "%d replayers", &n); err != nil {
			return timed{}, shot{}, fmt.Errorf("nobody knows how %s fires", who)
		}
	}
	return b.aimReplayers(ctx, n, a)
}

func (b *bench) aimPacer(ctx context.Context, a attempt) (t timed, s shot, err error) {
	self, err := os.Executable()
	if err != nil {
		return t, s, err
	}
	s, err = b.fire(ctx, firing{within: a.took() + time.Minute, sink: sink.Options{Stamps: true}, programs: func(addr string) ([]proc.Options, error) {
		return []proc.Options{{Path: self, Args: []string{
			"pace", "-target", addr, "-count", strconv.Itoa(len(a.all)), "-rate", fmt.Sprint(a.perSecond()),
		}}}, nil
	}})
	if err != nil {
		return t, s, err
	}
	base, err := strconv.ParseInt(strings.TrimSpace(s.stdout), 10, 64)
	if err != nil {
		return t, s, err
	}
	due := make(map[string]time.Time, len(a.all))
	for i, after := range schedule(len(a.all), a.perSecond()) {
		due[traffic.MakeID([16]byte{1}, uint64(i+1)).String()] = time.Unix(0, base).Add(after)
	}
	return judge(s.arrivals, due), s, nil
}

// aimVegeta asks it for the same rate, evenly: it knows no other arrivals.
func (b *bench) aimVegeta(ctx context.Context, a attempt) (t timed, s shot, err error) {
	length := time.Duration(float64(len(a.all)) / a.perSecond() * float64(time.Second)).Round(time.Millisecond)
	s, err = b.fire(ctx, firing{within: length + time.Minute, programs: func(addr string) ([]proc.Options, error) {
		targets, err := b.targetsFile(a.lot, addr)
		return []proc.Options{{Path: b.vegeta, Args: []string{
			"attack", "-targets", targets, "-rate", fmt.Sprint(int(a.perSecond())), "-duration", length.String(), "-output", os.DevNull,
		}}}, err
	}})
	if err != nil {
		return t, s, err
	}
	after := make(map[string]time.Duration, len(a.all))
	for i, x := range a.all {
		after[x.ID.String()] = time.Duration(float64(i) / a.perSecond() * float64(time.Second))
	}
	return judge(s.arrivals, anchored(s.arrivals, after)), s, nil
}

// aimGoReplay gives it as long as it should take and a quarter more: it may fall behind without end.
func (b *bench) aimGoReplay(ctx context.Context, a attempt) (t timed, s shot, err error) {
	file, err := b.gorFile(a.lot, false)
	if err != nil {
		return t, s, err
	}
	s, err = b.fire(ctx, firing{
		within: a.took()*5/4 + 4*time.Second, endless: len(a.all),
		programs: func(addr string) ([]proc.Options, error) { return b.goReplaying(file, a.speed, addr), nil },
	})
	if err != nil {
		return t, s, err
	}
	return judge(s.arrivals, anchored(s.arrivals, a.after(a.speed))), s, nil
}

func (b *bench) goReplaying(file string, speed float64, addr string) []proc.Options {
	return []proc.Options{{Path: b.gor, Args: []string{
		"--input-file", fmt.Sprintf("%s|%g%%", file, 100*speed), "--output-http", "http://" + addr,
	}}}
}

func (b *bench) aimReplayers(ctx context.Context, n int, a attempt) (t timed, s shot, err error) {
	s, err = b.fire(ctx, firing{within: a.took() + 2*time.Minute, sink: sink.Options{Stamps: true}, programs: func(addr string) ([]proc.Options, error) {
		return slices.Repeat([]proc.Options{b.replaying(a.prefix, addr, a.turn, fmt.Sprint(a.speed), "--wait-replicas", strconv.Itoa(n))}, n), nil
	}})
	if err != nil {
		return t, s, err
	}
	epoch, wall, err := b.timeBase(ctx, topic.NamesOf(a.prefix), a.turn)
	if err != nil {
		return t, s, err
	}
	due := make(map[string]time.Time, len(a.all))
	for _, x := range a.all {
		due[x.ID.String()] = wall.Add(time.Duration(float64(x.Capture.Sub(epoch)) / a.speed))
	}
	return judge(s.arrivals, due), s, nil
}

// replaying is a replayer at work on a run.
func (b *bench) replaying(prefix, target, run, speed string, more ...string) proc.Options {
	return proc.Options{
		Path: filepath.Join(b.bin, "replayer"), Env: []string{keyEnv + "=" + benchKey},
		Args: append([]string{
			"run", "--brokers", b.broker.Addr(), "--topic-prefix", prefix, "--target", "http://" + target, "--allow-target", target,
			"--run", run, "--speed", speed, "--redact-key", "env:" + keyEnv, "-o", "json",
		}, more...),
	}
}

// timeBase reads what the replayers of a run had agreed on.
func (b *bench) timeBase(ctx context.Context, names topic.Names, run string) (epoch, wall time.Time, err error) {
	err = feed.Records(ctx, b.broker.Addr(), names.Control, func(r *topic.Record) error {
		c, err := control.Unmarshal(r.Value)
		if err != nil {
			return err
		}
		if base := c.GetTimeBase(); base.GetRun() == run && wall.IsZero() { // the first one wins
			epoch, wall = time.Unix(0, int64(base.GetCaptureUnixNano())), time.Unix(0, int64(base.GetWallUnixNano()))
		}
		return nil
	})
	if err == nil && wall.IsZero() {
		err = fmt.Errorf("no time base of run %s in %s", run, names.Control)
	}
	return epoch, wall, err
}

// first is how long after a moment the first request arrived.
func first(began time.Time, arrivals []sink.Arrival) time.Duration {
	if len(arrivals) == 0 {
		return 0
	}
	return arrivals[0].At.Sub(began)
}
