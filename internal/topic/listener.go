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
	mechanisms []string // of which it wants one; nil: it wants no SASL, or did not tell
}

// lookTimeout bounds all looks at the brokers after a failure.
const lookTimeout = 2 * time.Second

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
	conn, err := c.network()(ctx, "tcp", address)
	if err != nil {
		return nil
	}
	mechanisms, err := askMechanisms(ctx, conn)
	_ = conn.Close()
	if err == nil {
		return &listener{address: address, mechanisms: mechanisms}
	}
	if conn, err = c.network()(ctx, "tcp", address); err != nil {
		return nil
	}
	defer conn.Close()
	found := &listener{address: address, tls: true}
	var asked atomic.Bool
	var files *loaded
	if c.Security.usesTLS() {
		files, _ = c.Security.files.load()
	}
	if files == nil {
		files = new(loaded)
	}
	settings := (&Security{}).clientConfig(files, address, &asked)
	settings.InsecureSkipVerify = true // it is only asked what it speaks, and told nothing
	secure := tls.Client(conn, settings)
	if err := secure.HandshakeContext(ctx); err != nil {
		if asked.Load() { // it speaks TLS and wants a certificate
			return found
		}
		return nil
	}
	found.mechanisms, _ = askMechanisms(ctx, secure)
	return found
}

// askMechanisms asks for a mechanism that does not exist: the answer lists those that do, or says that this is no place
// for a log-in. Anything but an answer of a Kafka broker is an error.
func askMechanisms(ctx context.Context, conn net.Conn) ([]string, error) {
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
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
