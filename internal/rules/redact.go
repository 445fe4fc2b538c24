package rules

import "github.com/reprise-io/reprise/internal/redact"

// Redact is the section that says what is redacted. It has no keys yet.
type Redact struct{}

// Rules are what the section comes to, with the version of the file.
func (s *Redact) Rules(version uint32) *redact.Rules {
	r := redact.DefaultRules()
	r.Version = version
	return r
}
