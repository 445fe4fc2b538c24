package tap

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"strings"

	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/rewrite"
	"github.com/reprise-io/reprise/internal/sample"
	"github.com/reprise-io/reprise/internal/traffic"
)

var errRedactorPanic = errors.New("the redactor failed")

// NewID draws the id of a tap: new at each start, so that its sequence numbers are its own.
func NewID() (id [16]byte) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// HostID tells machines apart, so that a loopback address counts only where it was reported. It is a hash: the machine id
// itself is not to be published.
func HostID() string {
	id, err := os.ReadFile("/etc/machine-id")
	if err != nil || len(id) == 0 {
		id, _ = os.ReadFile("/proc/sys/kernel/random/boot_id")
	}
	name, _ := os.Hostname()
	sum := sha256.Sum256([]byte("reprise host\x00" + strings.TrimSpace(string(id)) + "\x00" + name))
	return hex.EncodeToString(sum[:8])
}

// identify gives x its session, as a pseudonym of what the rules say or else of the session cookie, and its sample hash. It comes
// before redaction, which takes either away.
func identify(x *traffic.Exchange, key rewrite.Key, by sample.Unit, tap [16]byte, r redactor) {
	value, ok := key.Of(x)
	if !ok {
		value, ok = redact.SessionCookie(x)
	}
	if ok && len(x.Session) == 0 {
		if r != nil {
			value = r.Pseudonym("session", value)
		}
		x.Session = value
	}
	x.SampleHash = sample.Hash(x, by, tap)
}
