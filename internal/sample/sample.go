// Package sample chooses a share of the traffic: by a hash of what is to be kept whole, so that the same sessions are kept
// everywhere, and those that a smaller share keeps by a larger one too.
package sample

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
)

// Share is a part of the traffic: 0 none, math.MaxUint64 all. A sample hash below it is kept, so that raising a share
// keeps every session that a lower one kept.
type Share uint64

// All keeps everything.
const All = Share(math.MaxUint64)

// ParseShare reads "10%", "0.5%" or "0.1".
func ParseShare(s string) (Share, error) {
	number, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	p, err := strconv.ParseFloat(number, 64)
	if percent {
		p /= 100
	}
	if err != nil || math.IsNaN(p) || p < 0 || p > 1 {
		return 0, fault.BadUsage(fmt.Sprintf("bad share %q", s), "want 0% to 100%, or 0 to 1", "--sample 10%")
	}
	if p == 1 {
		return All, nil
	}
	return Share(p * math.MaxUint64), nil
}

// String writes the share as a percentage that ParseShare reads.
func (s Share) String() string {
	if s == All {
		return "100%"
	}
	return strconv.FormatFloat(float64(s)/math.MaxUint64*100, 'g', 6, 64) + "%"
}

// Keeps reports whether a hash falls into the share.
func (s Share) Keeps(hash uint64) bool { return s == All || hash < uint64(s) }

// Unit is what sampling keeps or leaves whole.
type Unit string

// The units of --sample-by.
const (
	BySession    Unit = "session" // falls back to the connection
	ByConnection Unit = "connection"
	ByRequest    Unit = "request"
)

// ParseUnit reads the value of --sample-by.
func ParseUnit(s string) (Unit, error) {
	switch u := Unit(s); u {
	case BySession, ByConnection, ByRequest:
		return u, nil
	}
	return "", fault.BadUsage(fmt.Sprintf("bad --sample-by %q", s), "", "session, connection or request")
}

// Salts of the hashes: what one sample keeps says nothing of what the other does.
const (
	tapSalt    = "sample\x00"
	replaySalt = "replay\x00"
)

// Hash hashes the unit that x belongs to. The session is a keyed pseudonym already, so the hash is keyed too, and
// the same on every tap that has the key. Connections are told apart by the tap's id; a request's hash is random.
func Hash(x *traffic.Exchange, by Unit, tap [16]byte) uint64 {
	switch {
	case by == BySession && len(x.Session) > 0:
		return hash(tapSalt, x.Session, nil)
	case by != ByRequest && len(x.Connection.ID) > 0:
		return hash(tapSalt, tap[:], x.Connection.ID)
	}
	return rand.Uint64()
}

// HashRecorded hashes the session that a recorded x belongs to, else its connection, else x itself, for a second sample: a tenth
// by it is a tenth of what was recorded, whatever share that is. It is the same wherever and however often x is read.
func HashRecorded(x *traffic.Exchange) uint64 {
	switch {
	case len(x.Session) > 0:
		return hash(replaySalt, x.Session, nil)
	case len(x.Connection.ID) > 0:
		return hash(replaySalt, x.ID[:16], x.Connection.ID)
	}
	return hash(replaySalt, x.ID[:], nil)
}

func hash(salt string, unit, more []byte) uint64 {
	var space [64]byte
	sum := sha256.Sum256(append(append(append(space[:0], salt...), unit...), more...))
	return binary.BigEndian.Uint64(sum[:8])
}
