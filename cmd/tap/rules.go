package main

import (
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/rules"
	"github.com/reprise-io/reprise/internal/sample"
	"github.com/reprise-io/reprise/internal/tap"
	"github.com/reprise-io/reprise/internal/yamlfile"
)

// ruleBook is the rules file of a tap. It is read at the start, at SIGHUP, and when it has changed. A bad one never stops the
// traffic: the rules before stay in force, and if there were none nothing is recorded. It belongs to one goroutine at a time.
type ruleBook struct {
	path      string // empty: there is none
	redaction redaction
	log       *slog.Logger
	builtIn   *redact.Redactor // where there is no file; nil: redaction is off

	seen   fileStamp   // when it was read
	looked fileStamp   // when it was last looked at
	file   *rules.File // the last good one
	now    *tap.Rules
}

// rulesEvery is how often it is looked whether the file has changed.
const rulesEvery = 2 * time.Second

// fileStamp tells whether a file was changed. A file that is replaced, as a ConfigMap's is, has another one too.
type fileStamp struct {
	info os.FileInfo // nil: it is not there
}

func stampOf(path string) fileStamp {
	info, err := os.Stat(path)
	if err != nil {
		return fileStamp{}
	}
	return fileStamp{info}
}

func (s fileStamp) same(other fileStamp) bool {
	if s.info == nil || other.info == nil {
		return s.info == other.info
	}
	return os.SameFile(s.info, other.info) && s.info.ModTime().Equal(other.info.ModTime()) && s.info.Size() == other.info.Size()
}

// openRules reads the rules file for the first time. The error is about redaction by flags; a bad file is none.
func (o *captureOptions) openRules(log *slog.Logger) (*ruleBook, error) {
	redaction, err := o.redaction(&o.Shared, log)
	if err != nil {
		return nil, err
	}
	b := &ruleBook{path: o.Rules, redaction: redaction, log: log}
	if b.builtIn, err = redaction.by(rules.Empty()); err != nil {
		return nil, err
	}
	b.read()()
	return b, nil
}

// every is how often changed is to be asked; 0: never.
func (b *ruleBook) every() time.Duration {
	if b.path == "" {
		return 0
	}
	return rulesEvery
}

// changed reports whether the file is another one than was read last, and has been since the last call: of one that is being
// written, the first half may be good rules too, with less in them.
func (b *ruleBook) changed() bool {
	now := stampOf(b.path)
	settled := now.same(b.looked)
	b.looked = now
	return settled && !now.same(b.seen)
}

// read reads the file. say tells what came of it: to be called once that is in force, or who acts on it is too early.
func (b *ruleBook) read() (say func()) {
	if b.path == "" {
		return func() {}
	}
	b.seen = stampOf(b.path) // before: a change while it is read is seen the next time
	next, file, err := b.load()
	if err != nil {
		return b.refuse(err)
	}
	was := b.now
	b.file, b.now = file, next
	said := []any{"file", b.path, "version", file.Version, "digest", hex.EncodeToString(file.Digest())}
	return func() {
		switch {
		case was == nil:
			b.log.Info("rules", said...)
		case was.Unknown:
			b.log.Warn("THE RULES FILE IS GOOD NOW: capture begins", said...)
		default:
			b.log.Info("the rules file was read again", said...)
		}
	}
}

func (b *ruleBook) load() (*tap.Rules, *rules.File, error) {
	file, err := rules.Load(b.path)
	if err != nil {
		return nil, nil, err
	}
	next := &tap.Rules{Path: b.path, Version: file.Version, Digest: file.Digest(), Read: time.Now()}
	if next.Filter, err = file.Filter.Set(); err != nil {
		return nil, nil, err
	}
	if next.SessionKey, err = file.Session.By(); err != nil {
		return nil, nil, err
	}
	redactor, err := b.redaction.by(file)
	if redactor != nil {
		next.Redactor = redactor
	}
	return next, file, err
}

// refuse keeps what there was before the file went bad.
func (b *ruleBook) refuse(err error) (say func()) {
	next := tap.Rules{Path: b.path, Unknown: true}
	if b.now != nil {
		next = *b.now
	}
	flaws := flawsOf(err)
	next.Flaw = strings.Join(flaws, "; ")
	b.now = &next
	return func() {
		if next.Unknown {
			b.log.Error("THE RULES FILE IS BAD, AND NOTHING IS RECORDED UNTIL IT IS MENDED: traffic passes",
				"file", b.path, "flaws", flaws, "try", "inspect rules check "+b.path)
		} else {
			b.log.Error("THE RULES FILE IS BAD: the rules before it stay in force",
				"file", b.path, "flaws", flaws, "try", "inspect rules check "+b.path, "in_force", hex.EncodeToString(next.Digest))
		}
	}
}

// flawsOf is what is wrong with a file, one line each.
func flawsOf(err error) []string {
	if bad, ok := errors.AsType[*yamlfile.Bad](err); ok {
		return bad.Flaws
	}
	return []string{says(err)}
}

// settings are those of the flags, which are stronger, and of the rules file.
func (b *ruleBook) settings(o *captureOptions) tap.Settings {
	s, _ := o.settings() // they were checked
	s.Rules = b.now
	if b.file == nil {
		return s
	}
	if o.sample == "" && b.file.Sample.Rate != "" {
		s.Sample, _ = sample.ParseShare(b.file.Sample.Rate) // checked too
	}
	if o.sampleBy == "" {
		s.SampleBy = sample.Unit(b.file.Sample.By)
	}
	if o.keep == "" {
		s.Keep, _ = sample.ParseKeep(b.file.Sample.Keep)
	}
	return s
}

// rebase puts what flags and the rules file say in force.
func (o *captureOptions) rebase(t *tap.Tap, b *ruleBook) {
	if err := t.Rebase(b.settings(o)); err != nil { // all of it was checked: a fault of this program
		b.log.Error("THE RULES ARE NOT IN FORCE: the settings stay as they were", "error", err)
	}
}
