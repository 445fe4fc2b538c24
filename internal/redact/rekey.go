package redact

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/reprise-io/reprise/internal/traffic"
)

// Identity names a value that tells one user from another and is no secret, so that redaction leaves it. One of the three is
// set.
type Identity struct {
	Header string // the whole value of that field
	// Field is a query parameter, form field or JSON member of that name, with everything inside it; case, separators and
	// digits in names do not count: user_id is userId.
	Field string
	// Path begins a path: "/users/*". What stands at a * is the value.
	Path string
}

// Swap is one such value and what stands in its place.
type Swap struct{ Was, Is []byte }

// What stands for identities, and for fields that name one request, where rules have names.
const (
	identityRule = "identity"
	onceRule     = "once"
)

// once are the fields that tell a request from all others: a copy with the same value would be taken for the same request.
func once() []string {
	return []string{
		"idempotency-key", "x-idempotency-key", "idempotence-key", "x-idempotence-key", "idempotency-token", "x-idempotency-token",
		"request-id", "correlation-id", "x-correlation-id", "x-request-token", "paypal-request-id", "x-client-request-id",
		"client-request-id",
	}
}

// Rekeyer makes another user of the one that a redacted request comes from: every pseudonym in it, each identity that it
// was told of, and idempotency keys become others of the same type, shape and length. Within one clone equal values stay
// equal, in each loop the same, and no value is the recorded one; idempotency keys are others in each loop, those of clone 0
// too, which is else as recorded. It is safe for concurrent use.
type Rekeyer struct{ r *Redactor }

// NewRekeyer returns one whose pseudonyms depend on the key alone.
func NewRekeyer(key []byte, identities []Identity) (*Rekeyer, error) {
	rules := DefaultRules()
	own := KeyRule{Name: identityRule, Kind: Secret}
	headers := HeaderRule{Name: identityRule, Action: Credential}
	var paths [][]string
	for _, id := range identities {
		if id.Path != "" {
			pattern := strings.Split(strings.TrimPrefix(id.Path, "/"), "/")
			if !strings.HasPrefix(id.Path, "/") || !slices.Contains(pattern, "*") || len(pattern) > maxPathPattern {
				return nil, fmt.Errorf("path %q: want the beginning of a path with a * where the user stands, as in /users/*", id.Path)
			}
			paths = append(paths, pattern)
			continue
		}
		if id.Header != "" {
			name := strings.ToLower(id.Header)
			for _, h := range rules.Headers {
				for _, known := range h.Names {
					if known == name {
						return nil, fmt.Errorf("header %q is none that names a user: credentials and cookies are made anew as they are, "+
							"and the rest belongs to the message", id.Header)
					}
				}
			}
			headers.Names = append(headers.Names, name)
			continue
		}
		name := keyName(id.Field)
		if name == "" {
			return nil, fmt.Errorf("field name %q has no letter", id.Field)
		}
		own.Exact = append(own.Exact, name)
	}
	rules.Keys = append(rules.Keys, own) // last: what another rule knows keeps its kind
	rules.Headers = append(rules.Headers, HeaderRule{Name: onceRule, Action: Credential, Names: once()}, headers)
	r, err := New(Options{Key: key, Rules: rules})
	if err != nil {
		return nil, err
	}
	r.rekey, r.paths = true, paths
	return &Rekeyer{r}, nil
}

var errBody = errors.New("redact: the body cannot be read again")

// keyName is a name as rules have it: letters only, in lower case; one with foreign letters as it is.
func keyName(name string) string {
	lower := strings.ToLower(name)
	var b strings.Builder
	for i := range len(lower) {
		switch c := lower[i]; {
		case c >= 0x80:
			return lower
		case isLetter(c):
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Request makes x's request that of a clone, in a loop, both from 0, in place: it replaces slices and never writes into them. What it did is found
// by x's list of redactions, so x must have gone through Redactor.Exchange. The swaps are those of identities: nothing in the
// record says where these stand in an answer. With an error the request must not be sent.
func (k *Rekeyer) Request(x *traffic.Exchange, clone, loop uint32) (swaps []Swap, err error) {
	err = k.r.run(func(p *pass) error {
		p.who, p.request, p.swaps = uint64(clone), uint64(loop)<<32|uint64(clone), nil
		p.list(x.Redactions)
		q := &x.Request
		p.method, p.route = q.Method, PathOf(q.Target)
		p.enter("request")
		p.authority(q.Authority, 0)
		q.Authority = p.apply(q.Authority)
		p.target(q.Target, string(q.Method) == "CONNECT")
		q.Target = p.apply(q.Target)
		q.Headers = p.fields(q.Headers, inHeader)
		q.Trailers = p.fields(q.Trailers, inTrailer)
		body, ok := p.body(q.Body, q.Headers)
		if !ok {
			return errBody
		}
		q.Headers, q.BodySize = resized(q.Headers, q.BodySize, len(q.Body), len(body))
		q.Body, swaps = body, p.swaps
		return p.err
	})
	return swaps, err
}

// Response returns the answer of x as a clone's request would have had it: the same pseudonyms replaced in the same way. x stays as it is;
// it has one.
func (k *Rekeyer) Response(x *traffic.Exchange, clone, loop uint32) (*traffic.Response, error) {
	res := *x.Response
	res.Headers, res.Trailers = slices.Clone(res.Headers), slices.Clone(res.Trailers)
	err := k.r.run(func(p *pass) error {
		p.who, p.request, p.swaps = uint64(clone), uint64(loop)<<32|uint64(clone), nil
		p.list(x.Redactions)
		p.response(&res)
		return p.err
	})
	return &res, err
}

// maxPathPattern bounds the segments of Identity.Path.
const maxPathPattern = 32

// usersIn returns the segments of a path that are identities, as bits from the first one behind the first slash.
func (r *Redactor) usersIn(path []byte) (at uint32) {
	for _, pattern := range r.paths {
		rest, found, fits := bytes.TrimPrefix(path, []byte("/")), uint32(0), len(path) > 0 && path[0] == '/'
		for i := 0; fits && i < len(pattern); i++ {
			var segment []byte
			var more bool
			if segment, rest, more = bytes.Cut(rest, []byte("/")); pattern[i] == "*" {
				found |= 1 << i
			} else {
				fits = string(segment) == pattern[i]
			}
			fits = fits && (more || i == len(pattern)-1)
		}
		if fits {
			at |= found
		}
	}
	return at
}

// user replaces a segment of a path that is an identity.
func (p *pass) user(raw []byte, base, n int) {
	p.push(scope{kind: inPath, index: n})
	v, changed := p.decoded(raw, false)
	at, mark, floor := base, len(p.edits), p.floor
	if changed {
		at, p.floor = 0, mark
	}
	if len(v) > 0 && p.claim(identityRule, "", -1) {
		p.whole(Secret, v, at)
	}
	if changed {
		p.encodePercent(raw, base, mark, v)
		p.floor = floor
	}
	p.pop()
}

// anew decides for a Rekeyer about the value that claim is at, and whose pseudonym it gets.
func (p *pass) anew(rule string, listed bool) bool {
	p.clone, p.identity = p.who, !listed && rule == identityRule
	switch {
	case rule == onceRule:
		p.clone = p.request
		return true
	case p.who == 0:
		return false
	}
	return p.identity || listed
}

// swap notes the replacement of an identity.
func (p *pass) swap(was, is []byte) {
	for _, s := range p.swaps {
		if bytes.Equal(s.Was, was) {
			return
		}
	}
	p.swaps = append(p.swaps, Swap{bytes.Clone(was), bytes.Clone(is)})
}
