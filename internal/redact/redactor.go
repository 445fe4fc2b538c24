// Package redact replaces secrets and personal data in recorded exchanges by keyed pseudonyms before anything is stored.
package redact

import "github.com/reprise-io/reprise/internal/traffic"

// Options configure a Redactor.
type Options struct {
	Key   []byte // pseudonym key; empty: a random one, so that nothing joins with another process
	KeyID string // name of the key in the record; empty: derived from the key, never revealing it
	Rules *Rules // nil: DefaultRules
}

// Rules is the rule set as data.
type Rules struct{ Version uint32 }

// Redactor is safe for concurrent use.
type Redactor struct{ digest []byte }

// New compiles the rules.
func New(o Options) (*Redactor, error) { return &Redactor{}, nil }

// Digest identifies the rule set and the key.
func (r *Redactor) Digest() []byte { return r.digest }

// Exchange redacts x in place.
func (r *Redactor) Exchange(x *traffic.Exchange) error { return nil }

// Response redacts an answer in place and returns the flags to set.
func (r *Redactor) Response(res *traffic.Response) (traffic.Flags, error) { return 0, nil }

// Pseudonym returns the keyed pseudonym of a value.
func (r *Redactor) Pseudonym(domain string, value []byte) []byte { return nil }

// Path returns the redacted path of a raw request target.
func (r *Redactor) Path(target []byte) []byte { return nil }

// Text returns v with the values that the detectors find replaced.
func (r *Redactor) Text(v []byte) []byte { return v }

// SessionCookie returns the value of the first cookie of x whose name looks like a session's.
func SessionCookie(x *traffic.Exchange) ([]byte, bool) { return nil, false }
