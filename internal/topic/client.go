package topic

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/reprise-io/reprise/internal/fault"
)

// DialFunc opens a connection to a broker.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

const dialTimeout = 5 * time.Second

// options are what a client has that would rather not start than wait for certificates and secrets that cannot be read.
func (c Config) options(role string, more ...kgo.Opt) ([]kgo.Opt, error) {
	if err := c.Security.usage(); err != nil {
		return nil, err
	}
	if err := c.Security.readable(); err != nil {
		return nil, err
	}
	return c.patientOptions(role, more...)
}

// badAddress says why nothing can be reached at a broker's address; empty: it is HOST, HOST:PORT or an IPv6 address.
func badAddress(addr string) string {
	const want = "it must be HOST:PORT"
	_, port, err := net.SplitHostPort(addr)
	bare := addr
	if strings.HasPrefix(addr, "[") && strings.HasSuffix(addr, "]") {
		bare = addr[1 : len(addr)-1]
	}
	switch {
	case addr == "", strings.ContainsAny(addr, "/ \t"):
		return want
	case err == nil:
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "its port must be a number from 1 to 65535"
		}
	case net.ParseIP(bare) == nil && strings.ContainsAny(addr, "[]:"):
		return want + ", and an IPv6 address in brackets"
	}
	return ""
}

// patientOptions are what every client has, and the one place where the way to a broker is decided. role names the client
// in metrics and is one of a bounded set; empty: no metrics.
func (c Config) patientOptions(role string, more ...kgo.Opt) ([]kgo.Opt, error) {
	if err := c.Security.usage(); err != nil {
		return nil, err
	}
	if len(c.Brokers) == 0 {
		return nil, fault.BadUsage("no Kafka broker given", "", tryBrokers)
	}
	for _, b := range c.Brokers {
		if cause := badAddress(b); cause != "" {
			return nil, fault.BadUsage("bad broker address "+quote(b), cause, tryBrokers)
		}
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(c.clientID()),
		kgo.Dialer(c.dialer()),
		kgo.WithLogger(clientLog{c.logger()}),
		kgo.RetryBackoffFn(backoff),
		kgo.RequestTimeoutOverhead(max(5*time.Second, c.Patience)),
		kgo.DisableClientMetrics(),
	}
	if mechanism := c.Security.sasl(); mechanism != nil {
		opts = append(opts, kgo.SASL(mechanism))
	}
	if c.Registerer != nil && role != "" {
		opts = append(opts, kgo.WithHooks(clientMetrics(c.Registerer, role)))
	}
	opts = append(opts, more...)
	if err := kgo.ValidateOpts(opts...); err != nil {
		return nil, fault.BadUsage("bad Kafka settings", err.Error(), tryBrokers)
	}
	return opts, nil
}

func (c Config) clientID() string {
	if c.ClientID == "" {
		return "reprise"
	}
	return c.ClientID
}

func (c Config) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}

// dialer opens connections as a client needs them.
func (c Config) dialer() DialFunc { return c.Security.dialer(c.network()) }

// network opens connections without TLS.
func (c Config) network() DialFunc {
	if c.Dialer != nil {
		return c.Dialer
	}
	return (&net.Dialer{Timeout: max(dialTimeout, c.Patience), KeepAlive: 15 * time.Second}).DialContext
}

// codecs are the compressions in the order of preference; the broker's version decides.
func (c Config) codecs() ([]kgo.CompressionCodec, error) {
	switch c.Compression {
	case ZstdCompression, "":
		return []kgo.CompressionCodec{kgo.ZstdCompression().WithLevel(1), kgo.Lz4Compression(), kgo.NoCompression()}, nil
	case Lz4Compression:
		return []kgo.CompressionCodec{kgo.Lz4Compression(), kgo.NoCompression()}, nil
	case NoCompression:
		return []kgo.CompressionCodec{kgo.NoCompression()}, nil
	default:
		return nil, fault.BadUsage("bad compression "+quote(string(c.Compression)), "it must be zstd, lz4 or none", "")
	}
}

// backoff is how long the client waits before attempt n: short, since a broker that comes back should be found at once.
func backoff(n int) time.Duration {
	d := min(500*time.Millisecond, 25*time.Millisecond<<min(n, 10))
	return d/2 + rand.N(d/2+1)
}

// clientLog passes franz-go's log on at debug level only: it writes at every attempt, while this package says what
// changed, once.
type clientLog struct{ log *slog.Logger }

func (l clientLog) Level() kgo.LogLevel {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		return kgo.LogLevelInfo
	}
	return kgo.LogLevelNone
}

func (l clientLog) Log(_ kgo.LogLevel, msg string, keyvals ...any) {
	l.log.Debug("kafka client: "+msg, keyvals...)
}

// rootCause is the innermost error, which is what a person can act on.
func rootCause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
