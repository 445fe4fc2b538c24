package topic

import (
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/reprise-io/reprise/internal/fault"
)

// right is what Kafka may allow or not, in the words of kafka-acls.sh.
type right struct {
	operation string // Read, Write, Create
	kind      string // topic, group
	name      string
}

func readTopic(name string) right  { return right{"Read", "topic", name} }
func writeTopic(name string) right { return right{"Write", "topic", name} }
func joinGroup(name string) right  { return right{"Read", "group", name} }

// doing is the right in words: `write to topic "x"`.
func (r right) doing() string {
	verb := map[string]string{"Read group": "join", "Read topic": "read", "Write topic": "write to", "Create topic": "create"}[r.operation+" "+r.kind]
	return fmt.Sprintf("%s %s %q", verb, r.kind, r.name)
}

// denied is the error for a right that we do not have. err is what Kafka answered.
func (c Config) denied(r right, err error) error {
	return &fault.Error{
		What:  fmt.Sprintf("%s may not %s on Kafka at %s", c.Security.principal(), r.doing(), c.at()),
		Cause: fmt.Sprintf("no ACL allows %s (%s)", r.operation, codeOf(err)),
		Try:   c.grant(r), Err: err,
	}
}

// codeOf is Kafka's name for what it answered.
func codeOf(err error) string {
	if k, ok := errors.AsType[*kerr.Error](err); ok {
		return k.Message
	}
	return err.Error()
}

// unlessDenied is err, or the error for the right when that is what err says.
func (c Config) unlessDenied(err error, r right) error {
	if isNotAuthorized(err) {
		return c.denied(r, err)
	}
	return err
}

// grant is the command that gives the right.
func (c Config) grant(r right) string {
	return fmt.Sprintf("kafka-acls.sh %s --add --allow-principal %s --operation %s --%s %s",
		c.adminAt(), shellWord(c.Security.principal()), r.operation, r.kind, r.name)
}

// adminAt is how Kafka's own tools reach the cluster.
func (c Config) adminAt() string {
	at := "--bootstrap-server " + c.Brokers[0]
	if c.Security != nil {
		at += " --command-config admin.properties"
	}
	return at
}

// shellWord quotes s for a shell, if it needs that.
func shellWord(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("_-.:/@%+,", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
