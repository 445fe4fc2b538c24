package rewrite

import (
	"strings"

	"github.com/reprise-io/reprise/internal/traffic"
)

// Key says whose an exchange is, where no cookie tells: the first of these places that has a value. The zero value: nobody's.
type Key []keyPlace

type keyPlace struct {
	Place
	answer bool
}

// ParseKey reads places as ParsePlace does: "header Authorization". One that begins with answer is in the answer: with "answer json
// $.token" a log-in belongs to the session of which the token is.
func ParseKey(places []string) (Key, error) {
	var k Key
	for _, s := range places {
		rest, answer := strings.CutPrefix(strings.TrimSpace(s), "answer ")
		p, err := ParsePlace(rest)
		if err != nil {
			return nil, err
		}
		if answer {
			if err := p.InAnswer(); err != nil {
				return nil, err
			}
		}
		k = append(k, keyPlace{p, answer})
	}
	return k, nil
}

// Of returns the value that names the session of x: a secret, of which only a pseudonym may be kept. It aliases x.
func (k Key) Of(x *traffic.Exchange) ([]byte, bool) {
	for _, p := range k {
		var value []byte
		var ok bool
		switch {
		case !p.answer:
			value, ok = p.OfRequest(&x.Request)
		case x.Response != nil:
			value, ok = p.OfAnswer(x.Response)
		}
		if ok && len(value) > 0 {
			return value, true
		}
	}
	return nil, false
}
