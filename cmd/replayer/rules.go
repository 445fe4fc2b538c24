package main

import (
	"github.com/reprise-io/reprise/internal/replay"
	"github.com/reprise-io/reprise/internal/rules"
)

// applyRules adds what the rules file says. It is read once: what it means is part of what a run is. Flags narrow what it
// chooses.
func (o *options) applyRules(r *replay.Options) error {
	file := rules.Empty()
	if o.Rules != "" {
		var err error
		if file, err = rules.Load(o.Rules); err != nil {
			return err
		}
		r.RulesDigest = file.Digest()
	}
	var err error
	if r.RulesFilter, err = file.Filter.Set(); err != nil {
		return err
	}
	r.RedactRules = file.Redact.Rules(file.Version)
	return nil
}
