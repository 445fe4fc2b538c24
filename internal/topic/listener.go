package topic

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/reprise-io/reprise/internal/fault"
)

// listener is what a look at a broker's port tells.
type listener struct {
	address    string
	tls        bool
	http       bool     // it is no Kafka at all
	mechanisms []string // of which it wants one; nil: it wants no SASL, or did not tell
}

// lookTimeout bounds all looks at the brokers after a failure, and questionTimeout each question there: what is no Kafka may wait for more
// instead of an answer.
const (
	lookTimeout     = 3 * time.Second
	questionTimeout = time.Second
)

// look finds out what the first broker that tells anything speaks. The client cannot know: a broker that is spoken to in
// the wrong way hangs up without a word.
func (c Config) look(ctx context.Context) *listener {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	for _, address := range c.Brokers {
		if found := c.lookAt(ctx, address); found != nil {
			return found
		}
	}
	return nil
}

func (c Config) lookAt(ctx context.Context, address string) *listener {
	found := &listener{address: address}
	var err error
	if reached := c.ask(ctx, address, func(conn net.Conn) { found.mechanisms, err = askMechanisms(conn) }); !reached {
		return nil
	}
	if err == nil {
		return found
	}
	if found.http = c.isHTTP(ctx, address, false); found.http {
		return found
	}
	if found.tls, found.mechanisms, err = c.lookSecurely(ctx, address); !found.tls {
		return nil
	}
	if err != nil {
		found.http = c.isHTTP(ctx, address, true)
	}
	return found
}

// ask connects, and gives a question its time. false: nobody is there.
func (c Config) ask(ctx context.Context, address string, question func(net.Conn)) (reached bool) {
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	conn, err := c.network()(ctx, "tcp", address)
	if err != nil {
		return false
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	question(conn)
	return true
}

// lookSecurely asks by TLS. speaks tells whether that is spoken there at all.
func (c Config) lookSecurely(ctx context.Context, address string) (speaks bool, mechanisms []string, err error) {
	c.ask(ctx, address, func(conn net.Conn) {
		var asked atomic.Bool
		secure := c.unchecked(conn, address, &asked)
		if err = secure.HandshakeContext(ctx); err != nil {
			speaks, err = asked.Load(), nil // it wants a certificate
			return
		}
		speaks = true
		mechanisms, err = askMechanisms(secure)
	})
	return speaks, mechanisms, err
}

// unchecked speaks TLS with whoever it is: that one is only asked what it speaks, and told nothing.
func (c Config) unchecked(conn net.Conn, address string, asked *atomic.Bool) *tls.Conn {
	var files *loaded
	if c.Security.usesTLS() {
		files, _ = c.Security.files.load()
	}
	if files == nil {
		files = new(loaded)
	}
	settings := (&Security{}).clientConfig(files, address, asked)
	settings.InsecureSkipVerify = true
	return tls.Client(conn, settings)
}

// isHTTP reports whether a server answers there as HTTP does.
func (c Config) isHTTP(ctx context.Context, address string, secure bool) (is bool) {
	c.ask(ctx, address, func(conn net.Conn) {
		if secure {
			conn = c.unchecked(conn, address, new(atomic.Bool))
		}
		if _, err := io.WriteString(conn, "HEAD / HTTP/1.1\r\nHost: "+address+"\r\nConnection: close\r\n\r\n"); err != nil {
			return
		}
		var begin [5]byte
		_, err := io.ReadFull(conn, begin[:])
		is = err == nil && string(begin[:]) == "HTTP/"
	})
	return is
}

// askMechanisms asks for a mechanism that does not exist: the answer lists those that do, or says that this is no place
// for a log-in. Anything but an answer of a Kafka broker is an error.
func askMechanisms(conn net.Conn) ([]string, error) {
	req := kmsg.NewPtrSASLHandshakeRequest()
	req.Version, req.Mechanism = handshakeVersion, "?"
	if _, err := conn.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("reprise")).AppendRequest(nil, req, correlation)); err != nil {
		return nil, err
	}
	return readMechanisms(conn)
}

const handshakeVersion, correlation = 1, 1

// readMechanisms reads the answer, which is small.
func readMechanisms(r io.Reader) ([]string, error) {
	const most = 64 << 10
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:4])
	if size < 4 || size > most || binary.BigEndian.Uint32(head[4:]) != correlation {
		return nil, errors.New("not Kafka's answer")
	}
	body := make([]byte, size-4)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	resp := kmsg.NewPtrSASLHandshakeResponse()
	resp.Version = handshakeVersion
	if err := resp.ReadFrom(body); err != nil {
		return nil, err
	}
	if errors.Is(kerr.ErrorForCode(resp.ErrorCode), kerr.UnsupportedSaslMechanism) {
		return resp.SupportedMechanisms, nil
	}
	return nil, nil
}

// misspoken is the error for a broker that speaks otherwise than we do; nil when that is not it.
func (c Config) misspoken(found *listener, err error) error {
	if found == nil {
		return nil
	}
	what := "no TLS connection to Kafka at " + found.address
	switch ours := c.Security.usesTLS(); {
	case found.http:
		return notKafka(found.address, err)
	case found.tls && !ours:
		return &fault.Error{
			What: "cannot reach Kafka at " + found.address, Cause: "it speaks TLS, and we do not",
			Try: "--kafka-tls, with --kafka-tls-ca FILE unless its certificate is of a public authority", Err: err,
		}
	case !found.tls && ours:
		return &fault.Error{
			What: what, Cause: "it does not speak TLS on this port",
			Try: "the port of its TLS listener: --brokers HOST:PORT; or no --kafka-tls… (and no REPRISE_KAFKA_TLS…)", Err: err,
		}
	case found.mechanisms != nil && !c.Security.usesSASL():
		return &fault.Error{
			What:  "cannot log in to Kafka at " + found.address,
			Cause: fmt.Sprintf("it wants a log-in by SASL (%s), and none is given", strings.Join(found.mechanisms, ", ")),
			Try:   trySASL, Err: err,
		}
	}
	return nil
}

// notKafka is the error for a server of another kind.
func notKafka(address string, err error) error {
	return &fault.Error{
		What: "cannot reach Kafka at " + address, Cause: "it is an HTTP server, and no Kafka broker",
		Try: "--brokers HOST:PORT or REPRISE_BROKERS with a broker's port: 9092 by default, and often 9093 with TLS", Err: err,
	}
}
