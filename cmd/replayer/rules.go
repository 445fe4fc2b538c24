package main

import (
	"github.com/reprise-io/reprise/internal/replay"
	"github.com/reprise-io/reprise/internal/rules"
)

// applyRules adds what the rules file says. It is read once: what it means is part of what a run is. Flags narrow what it
// chooses, and add to what it allows and forbids.
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
	redaction, err := file.Redact.Options(file.Version, r.RedactKey)
	if err != nil {
		return err
	}
	r.RedactRules, r.RedactKey, r.RedactKeyID = redaction.Rules, redaction.Key, redaction.KeyID
	r.RandomKey = r.RandomKey && !file.Redact.Key.Given()
	if r.Compare, err = file.Compare.Rules(); err != nil {
		return err
	}
	if err := applyGuards(r, file); err != nil {
		return err
	}
	if err := o.applyLimits(r, &file.Limits); err != nil {
		return err
	}
	return applySessions(r, file)
}

// applyGuards adds what bounds what is sent, and where to.
func applyGuards(r *replay.Options, file *rules.File) error {
	r.AllowWrites = append(r.AllowWrites, file.Writes.Filters()...)
	for _, c := range file.Writes.Caps {
		r.Caps = append(r.Caps, replay.Cap{Route: c.Route, Most: c.Most})
	}
	if total := file.Writes.Total; total > 0 && (r.MaxTotal == 0 || total < r.MaxTotal) {
		r.MaxTotal = total
	}
	production, err := file.Production.Addresses()
	r.Production = append(r.Production, production...)
	return err
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
