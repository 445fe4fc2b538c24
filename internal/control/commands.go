package control

import (
	"cmp"
	"slices"
	"time"
	"unicode/utf8"

	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// AllTaps is the selector of every tap.
const AllTaps = "*"

// VerbReset undoes every command for the taps it names that was given before it.
const VerbReset = "reset"

// Command is an order to taps, as it stands in the control topic.
type Command struct {
	*reprisev1.Command
	Offset int64
	Time   time.Time // when it was given, by the giver's clock
	Writer string    // "host/user"
}

// CommandOf returns the command that the control record at an offset holds.
func CommandOf(offset int64, c *reprisev1.Control, cmd *reprisev1.Command) Command {
	return Command{Command: cmd, Offset: offset, Time: timeOf(c.GetTimeUnixNano()), Writer: c.GetWriter()}
}

// Bounds of what the fold remembers: someone else's records must not fill a tap's memory.
const (
	maxCommands = 1024
	maxSelector = 256 // bytes
	maxVerb     = 32
	maxArgument = 256 << 10
)

// Commands is the fold of the commands for taps: the newest, by offset, of every selector and verb. Records may come in any
// order and more than once. Of more than 1,024 the oldest are forgotten. The zero value is empty.
type Commands struct {
	newest map[commandID]Command
}

type commandID struct{ selector, verb string }

// Apply takes a command. It reports whether that is now the newest one of its selector and verb; false: it is older than
// what is known, not for taps, or out of bounds.
func (c *Commands) Apply(cmd Command) bool {
	id := commandID{cmd.GetTap(), cmd.GetVerb()}
	if id.selector == "" || id.verb == "" ||
		len(id.selector) > maxSelector || len(id.verb) > maxVerb || len(cmd.GetArgument()) > maxArgument {
		return false
	}
	if old, ok := c.newest[id]; ok && cmd.Offset <= old.Offset {
		return false
	}
	if c.newest == nil {
		c.newest = make(map[commandID]Command)
	}
	c.newest[id] = cmd
	if len(c.newest) > maxCommands {
		c.forgetOldest()
	}
	_, stays := c.newest[id]
	return stays
}

func (c *Commands) forgetOldest() {
	var oldest commandID
	at := int64(-1)
	for id, cmd := range c.newest {
		if at < 0 || cmd.Offset < at {
			oldest, at = id, cmd.Offset
		}
	}
	delete(c.newest, oldest)
}

// For returns the commands in force for a tap with that id, in hexadecimal, and name: of each verb the newest that names
// the tap by either or all taps, unless a reset is newer. They are in order of verbs.
func (c *Commands) For(id, name string) []Command {
	reset := int64(-1)
	of := make(map[string]Command)
	for key, cmd := range c.newest {
		switch {
		case !Selects(key.selector, id, name):
		case key.verb == VerbReset:
			reset = max(reset, cmd.Offset)
		default:
			if old, ok := of[key.verb]; !ok || cmd.Offset > old.Offset {
				of[key.verb] = cmd
			}
		}
	}
	in := make([]Command, 0, len(of))
	for _, cmd := range of {
		if cmd.Offset > reset {
			in = append(in, cmd)
		}
	}
	slices.SortFunc(in, func(a, b Command) int { return cmp.Compare(a.GetVerb(), b.GetVerb()) })
	return in
}

// Selects reports whether a selector names the tap with that id, in hexadecimal, and name; a tap without a name has "".
func Selects(selector, id, name string) bool {
	return selector == AllTaps || selector != "" && (selector == id || selector == name)
}

// CheckTapName reports whether a tap can have that name, so that commands can name it. None is a name too.
func CheckTapName(name string) bool {
	return len(name) <= maxSelector && utf8.ValidString(name) && name != AllTaps
}
