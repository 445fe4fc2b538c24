package rewrite

import (
	"bytes"

	"github.com/reprise-io/reprise/internal/traffic"
)

// Mask writes stars in the place of a secret wherever it stands in an answer, in copies. A body whose coding hides whether it is there is
// removed; its size stays.
func Mask(a *traffic.Response, secret []byte) {
	if len(secret) == 0 {
		return
	}
	stars := bytes.Repeat([]byte("*"), len(secret))
	for _, fields := range [][]traffic.Field{a.Headers, a.Trailers} {
		for i := range fields {
			fields[i].Value = bytes.ReplaceAll(fields[i].Value, secret, stars)
		}
	}
	as := coding(a.Headers)
	if as == "" {
		a.Body = bytes.ReplaceAll(a.Body, secret, stars)
		return
	}
	if len(a.Body) == 0 {
		return
	}
	if plain, err := decode(as, a.Body); err != nil || bytes.Contains(plain, secret) {
		a.Body = nil
	}
}
