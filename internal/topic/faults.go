package topic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/reprise-io/reprise/internal/fault"
)

const (
	tryBrokers = "--brokers HOST:PORT or REPRISE_BROKERS"
	tryAccess  = "ask the cluster's administrator for access to this topic and group"
	trySASL    = "--kafka-sasl-mechanism scram-sha-512 --kafka-sasl-user NAME --kafka-sasl-password file:PATH"
)

func quote(s string) string { return fmt.Sprintf("%q", s) }

func (c Config) at() string { return strings.Join(c.Brokers, ",") }

// translate makes err readable. doing is what was asked for, as in `describe topic "x"`; waited is how long.
func (c Config) translate(ctx context.Context, err error, doing string, waited time.Duration) error {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	if parent := ctx.Err(); errors.Is(parent, context.Canceled) {
		return parent // who asked has gone
	}
	what := fmt.Sprintf("cannot %s on Kafka at %s", doing, c.at())
	switch {
	case isLogin(err):
		var found *listener
		if errors.Is(err, kerr.UnsupportedSaslMechanism) {
			found = c.look(ctx)
		}
		return c.refusedLogin(err, found)
	case isNotAuthorized(err):
		return &fault.Error{What: what, Cause: "not authorized: " + rootCause(err).Error(), Try: tryAccess, Err: err}
	case errors.Is(err, context.DeadlineExceeded) && c.Security.slow(waited) != nil:
		return c.Security.slow(waited)
	}
	if !isDial(err) && !errors.Is(err, context.DeadlineExceeded) && unknownCause(err) {
		if f := c.misspoken(c.look(ctx), err); f != nil {
			return f
		}
	}
	switch {
	case unreachable(err):
		return c.unreachable(err, waited)
	default:
		return &fault.Error{What: what, Cause: rootCause(err).Error(), Try: tryBrokers, Err: err}
	}
}

// atSight makes err readable as far as that can be done without asking Kafka.
func (c Config) atSight(err error) error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	if isLogin(err) {
		return c.refusedLogin(err, nil)
	}
	return rootCause(err)
}

// unreachable is the error for a broker that does not answer, or not as Kafka does.
func (c Config) unreachable(err error, waited time.Duration) error {
	cause, try := rootCause(err).Error(), tryBrokers
	firstEOF, _ := errors.AsType[*kgo.ErrFirstReadEOF](err)
	switch {
	case firstEOF != nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		cause = "it closed the connection without an answer: is this a Kafka broker?"
		if c.Security.usesSASL() { // some brokers refuse a log-in so
			cause = fmt.Sprintf("it closed the connection without an answer, perhaps to refuse %s with %s", c.Security.principal(), c.Security.mechanism)
			try = "the right user and password; else the broker's log tells"
		}
	case errors.Is(err, context.DeadlineExceeded):
		cause = fmt.Sprintf("no answer within %v", waited.Round(100*time.Millisecond))
	}
	return &fault.Error{What: "cannot reach Kafka at " + c.at(), Cause: cause, Try: try, Err: err}
}

// unknownCause reports whether err may come of speaking otherwise than the broker: it is no answer of Kafka's.
func unknownCause(err error) bool {
	answer, _ := errors.AsType[*kerr.Error](err)
	return answer == nil
}

func isDial(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// unreachable reports whether err is about the way to the broker, not about what it answered.
func unreachable(err error) bool {
	if _, ok := errors.AsType[*fault.Error](err); ok || isLogin(err) {
		return true // of the dialer or the log-in: nobody else gives the client one
	}
	if _, ok := errors.AsType[*kerr.Error](err); ok {
		return false
	}
	if _, ok := errors.AsType[net.Error](err); ok { // includes *net.OpError and context.DeadlineExceeded
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded) || kgo.IsRetryableBrokerErr(err)
}

func isNotAuthorized(err error) bool {
	if auth, _ := errors.AsType[*kadm.AuthError](err); auth != nil {
		return true
	}
	for _, e := range []error{
		kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed,
		kerr.TransactionalIDAuthorizationFailed,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func isUnknownTopic(err error) bool {
	return errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID)
}

// IsMissing tells whether an error says that Kafka has no such topic.
func IsMissing(err error) bool { return isUnknownTopic(err) }

// unknownTopic is the error for a topic that is not there; there are the topics that are.
func (c Config) unknownTopic(topic string, there []string) error {
	cause := "no tap has written with this prefix yet"
	switch n := len(there); {
	case n == 0:
		cause += " (no topics there)"
	case n > 10:
		cause += fmt.Sprintf(" (topics there: %s and %d more)", strings.Join(there[:10], ", "), n-10)
	default:
		cause += fmt.Sprintf(" (topics there: %s)", strings.Join(there, ", "))
	}
	return &fault.Error{
		What:  fmt.Sprintf("topic %q does not exist on %s", topic, c.at()),
		Cause: cause,
		Try:   "--topic-prefix NAME, or start a tap: tap proxy --listen :8080 --upstream 127.0.0.1:9000",
		Err:   kerr.UnknownTopicOrPartition,
	}
}

// dataLoss is the error for records that were to be read and are no longer in the log.
func dataLoss(topic string, partition int32, err error) error {
	return &fault.Error{
		What:  fmt.Sprintf("records of %s, partition %d, are gone before they were read", topic, partition),
		Cause: rootCause(err).Error() + " (retention deleted them, or the topic was created again)",
		Try:   "a later --from, or a longer retention.ms and retention.bytes of the topic",
		Code:  fault.Incomplete,
		Err:   err,
	}
}
