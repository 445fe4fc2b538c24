package control

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
)

// Key is the Kafka key of a control record: what a newer record under the same key replaces.
type Key string

const ofTaps = "tap/"

// TapKey is where a tap reports itself: the newest report replaces the older ones.
func TapKey(tapID []byte) Key { return Key(ofTaps + hex.EncodeToString(tapID)) }

// SpecKey is where one writer proposes what a run is. A writer is one process and proposes once, so no proposal ever
// replaces another one.
func SpecKey(run, writer string) Key { return Key("run/" + run + "/spec/" + writer) }

// BaseKey is where one writer proposes the time base of one loop of one generation of a run.
func BaseKey(run string, generation, loop uint32, writer string) Key {
	if loop > 0 {
		return Key("run/" + run + "/base/" + number(generation) + "/" + number(loop) + "/" + writer)
	}
	return Key("run/" + run + "/base/" + number(generation) + "/" + writer)
}

// ReplicaKey is where one process tells how its work on one generation of a run goes: the newest report replaces the older ones.
func ReplicaKey(run string, generation uint32, writer string) Key {
	return Key("run/" + run + "/replica/" + number(generation) + "/" + writer)
}

// TallyKey is where one process tells what it has sent of one generation of a run: the newest tally replaces the older ones.
func TallyKey(run string, generation uint32, writer string) Key {
	return Key("run/" + run + "/tally/" + number(generation) + "/" + writer)
}

// VerdictKey is where one process proposes by what one generation of a run is judged.
func VerdictKey(run string, generation uint32, writer string) Key {
	return Key("run/" + run + "/verdict/" + number(generation) + "/" + writer)
}

// EndKey is where the end of one generation of a run is told, with its report.
func EndKey(run string, generation uint32) Key {
	return Key("run/" + run + "/end/" + number(generation))
}

// CommandKey is where a command for the replayers of a run stands: for itself.
func CommandKey(id string) Key { return Key(commandPrefix + id) }

// TapCommandKey is where the newest command of one verb stands for the taps that a selector names. Of commands for taps the
// newest wins, so an older one under the same key decides nothing any more and may be compacted away.
func TapCommandKey(selector, verb string) Key {
	return Key(commandPrefix + "tap/" + verb + "/" + selector)
}

const commandPrefix = "command/"

// IsCommand reports whether a record under that key is a command.
func IsCommand(key []byte) bool { return bytes.HasPrefix(key, []byte(commandPrefix)) }

func number(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// maxRunName keeps group ids and keys well below Kafka's limits.
const maxRunName = 128

// CheckRunName reports whether a run can have that name: it becomes part of a consumer group's id and of record keys.
func CheckRunName(name string) error {
	if name == "" || len(name) > maxRunName {
		return fmt.Errorf("run name %q: want 1 to %d characters", name, maxRunName)
	}
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return fmt.Errorf("run name %q: only letters, digits, '.', '_' and '-' are allowed", name)
		}
	}
	return nil
}
