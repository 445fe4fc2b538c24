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
	return applySessions(r, file)
}

// applySessions adds what is changed in requests.
func applySessions(r *replay.Options, file *rules.File) (err error) {
	if r.Host == "" {
		r.Host = file.Rewrite.Host
	}
	if r.Rewrite, err = file.Rewrite.Rules(); err != nil {
		return err
	}
	if r.Session.Options, err = file.Session.Options(); err != nil {
		return err
	}
	r.Session.Wait = file.Session.Wait
	for i := range file.Session.Credentials {
		c := &file.Session.Credentials[i]
		one := replay.CredentialOptions{Config: c.Config(), As: c.As}
		if one.Into, one.Where, err = c.Use(); err != nil {
			return err
		}
		r.Session.Credentials = append(r.Session.Credentials, one)
	}
	return nil
}
