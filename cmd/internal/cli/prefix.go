package cli

import (
	"errors"
	"strings"

	"github.com/spf13/pflag"
)

// longestPrefix leaves room for the longest name of ours in the 249 characters that Kafka allows.
const longestPrefix = 249 - len(".exchanges")

// AddTopicPrefix adds --topic-prefix.
func (s *Shared) AddTopicPrefix(fs *pflag.FlagSet, usage string) {
	s.TopicPrefix = "reprise"
	fs.Var((*prefix)(&s.TopicPrefix), "topic-prefix", usage)
}

// prefix is --topic-prefix: what Kafka takes in the name of a topic. Else a tap would go on without its topics for ever.
type prefix string

func (p *prefix) String() string { return string(*p) }

func (p *prefix) Type() string { return "string" }

func (p *prefix) Set(s string) error {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	}
	if s == "" || len(s) > longestPrefix || strings.ContainsFunc(s, odd) {
		return errors.New("want letters, digits and ._-, as Kafka does in the names of topics")
	}
	*p = prefix(s)
	return nil
}
