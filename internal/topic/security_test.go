package topic

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/reprise-io/reprise/internal/fault"
)

// identity is a certificate, itself signed or by another, with its key.
type identity struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newIdentity(t *testing.T, name string, until time.Time, by *identity) *identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until, DNSNames: []string{"kafka-1"},
		BasicConstraintsValid: true, IsCA: by == nil, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	id := &identity{template, key}
	if by == nil {
		by = id
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, &key.PublicKey, by.key)
	require.NoError(t, err)
	id.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	return id
}

func (id *identity) write(t *testing.T, cert, key string) {
	t.Helper()
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: id.cert.Raw}), 0o600))
	if key != "" {
		der, err := x509.MarshalPKCS8PrivateKey(id.key)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	}
}

func (id *identity) pair() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{id.cert.Raw}, PrivateKey: id.key}
}

func tomorrow() time.Time { return time.Now().Add(24 * time.Hour) }

// tcpCluster starts a broker on loopback: in memory, a TLS alert waits for its reader.
func tcpCluster(t *testing.T, opts ...kfake.Opt) Config {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return Config{Brokers: c.ListenAddrs()}
}

func ping(t *testing.T, cfg Config) error {
	t.Helper()
	admin, err := NewAdmin(cfg)
	if err != nil {
		return err
	}
	defer admin.Close()
	return admin.Ping(t.Context())
}

func requireExplained(t *testing.T, err error, cause, try string) {
	t.Helper()
	f, ok := errors.AsType[*fault.Error](err)
	require.True(t, ok, "%v", err)
	require.Contains(t, f.What+": "+f.Cause, cause)
	require.Contains(t, f.Try, try)
}

func TestBrokersCertificateIsCheckedAndExplained(t *testing.T) {
	authority := newIdentity(t, "our authority", tomorrow(), nil)
	ca, other := filepath.Join(t.TempDir(), "ca.pem"), filepath.Join(t.TempDir(), "other.pem")
	authority.write(t, ca, "")
	newIdentity(t, "another", tomorrow(), nil).write(t, other, "")
	yesterday := time.Now().Add(-24 * time.Hour)
	for name, c := range map[string]struct {
		until      time.Time
		o          SecurityOptions
		cause, try string // "": all is well
	}{
		"good":         {tomorrow(), SecurityOptions{CA: ca, ServerName: "kafka-1"}, "", ""},
		"unknown":      {tomorrow(), SecurityOptions{CA: other, ServerName: "kafka-1"}, `issuer "CN=our authority" is not in ` + other, "--kafka-tls-ca"},
		"none of ours": {tomorrow(), SecurityOptions{TLS: true, ServerName: "kafka-1"}, `none of this machine's`, `"CN=our authority"`},
		"expired":      {yesterday, SecurityOptions{CA: ca, ServerName: "kafka-1"}, `"CN=broker" has expired: it was valid until ` + day(yesterday), "new certificate"},
		"other name":   {tomorrow(), SecurityOptions{CA: ca, ServerName: "kafka-2"}, `for kafka-1, not for "kafka-2"`, "--kafka-tls-server-name kafka-1"},
		"address":      {tomorrow(), SecurityOptions{CA: ca}, `not for "127.0.0.1"`, "--kafka-tls-server-name kafka-1"},
		"insecure":     {yesterday, SecurityOptions{Insecure: true}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			broker := newIdentity(t, "broker", c.until, authority)
			cfg := tcpCluster(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{broker.pair()}}))
			cfg.Security = NewSecurity(c.o)
			err := ping(t, cfg)
			if c.cause == "" {
				require.NoError(t, err)
				return
			}
			requireExplained(t, err, c.cause, c.try)
		})
	}
}

func TestClientCertificateIsReadAgainWhenItChanges(t *testing.T) {
	authority := newIdentity(t, "our authority", tomorrow(), nil)
	dir := t.TempDir()
	ca, cert, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	authority.write(t, ca, "")
	newIdentity(t, "stranger", tomorrow(), nil).write(t, cert, key)
	trusted := x509.NewCertPool()
	trusted.AddCert(authority.cert)
	broker := newIdentity(t, "broker", tomorrow(), authority)
	cfg := tcpCluster(t, kfake.TLS(&tls.Config{
		Certificates: []tls.Certificate{broker.pair()}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: trusted,
	}))

	cfg.Security = NewSecurity(SecurityOptions{CA: ca, ServerName: "kafka-1"})
	requireExplained(t, ping(t, cfg), "wants a client certificate", "--kafka-tls-cert")

	cfg.Security = NewSecurity(SecurityOptions{CA: ca, ServerName: "kafka-1", Cert: cert, Key: key})
	requireExplained(t, ping(t, cfg), `refuses our certificate "CN=stranger" of issuer "CN=stranger"`, "truststore")
	require.Equal(t, "User:CN=stranger", cfg.Security.principal())

	newIdentity(t, "tap", tomorrow(), authority).write(t, cert, key)
	require.NoError(t, ping(t, cfg))
	require.Equal(t, "User:CN=tap", cfg.Security.principal())

	require.NoError(t, os.WriteFile(key, []byte("half of a ke"), 0o600))
	require.Equal(t, fault.Usage, fault.Code(ping(t, cfg)))
}

func TestLogIns(t *testing.T) {
	secrets := t.TempDir()
	good, bad := filepath.Join(secrets, "good"), filepath.Join(secrets, "bad")
	require.NoError(t, os.WriteFile(good, []byte("good-pw\n"), 0o600))
	require.NoError(t, os.WriteFile(bad, []byte("bad-pw\n"), 0o600))
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			var n testNet
			n.cluster(t, kfake.EnableSASL(), kfake.Superuser(mechanism, "alice", "good-pw"))
			with := func(o SecurityOptions) error {
				cfg := n.config()
				cfg.Security = NewSecurity(o)
				return ping(t, cfg)
			}
			require.NoError(t, with(SecurityOptions{Mechanism: mechanism, User: "alice", Password: "file:" + good}))

			err := with(SecurityOptions{Mechanism: mechanism, User: "alice", Password: "file:" + bad})
			requireExplained(t, err, "perhaps to refuse User:alice with "+mechanism, "password") // this broker hangs up, Kafka tells
			require.NotContains(t, err.Error(), "bad-pw")

			requireExplained(t, ping(t, n.config()), "wants a log-in by SASL", "--kafka-sasl-mechanism")
		})
	}
}

func TestReadMechanismsRefusesWhatIsNoAnswer(t *testing.T) {
	resp := kmsg.NewPtrSASLHandshakeResponse()
	resp.Version, resp.ErrorCode, resp.SupportedMechanisms = handshakeVersion, 33, []string{"PLAIN", "X"}
	body := resp.AppendTo(nil)
	good := append([]byte{0, 0, 0, byte(len(body) + 4), 0, 0, 0, correlation}, body...)
	got, err := readMechanisms(bytes.NewReader(good))
	require.NoError(t, err)
	require.Equal(t, []string{"PLAIN", "X"}, got)
	for _, bad := range [][]byte{nil, good[:6], good[:len(good)-1], {0x15, 3, 3, 0, 2, 2, 80, 0}, []byte("HTTP/1.1 400 Bad Request\r\n")} {
		_, err := readMechanisms(bytes.NewReader(bad))
		require.Error(t, err, "%q", bad)
	}
}

func FuzzReadMechanisms(f *testing.F) {
	f.Add([]byte{0, 0, 0, 10, 0, 0, 0, 1, 0, 33, 0, 0, 0, 0})
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = readMechanisms(bytes.NewReader(b)) })
}

// What a right is missing for waits, and is written when the right is given.
func TestWriterWaitsForTheRightToWrite(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("pw"), 0o600))
	var n testNet
	n.cluster(t, kfake.EnableSASL(), kfake.EnableACLs(), kfake.SeedTopics(1, "x"),
		kfake.Superuser("PLAIN", "admin", "pw"),
		kfake.User("PLAIN", "tap", "pw", kfake.ACL{
			Resource: kmsg.ACLResourceTypeTopic, Name: "x", Pattern: kmsg.ACLResourcePatternTypeLiteral,
			Operation: kmsg.ACLOperationDescribe, Allow: true,
		}))
	as := func(user string) Config {
		cfg := n.config()
		cfg.Security = NewSecurity(SecurityOptions{Mechanism: "plain", User: user, Password: "file:" + secret})
		return cfg
	}
	b := newBook()
	log := new(logBuffer)
	cfg := as("tap")
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	w, stop := runWriter(t, WriterConfig{Config: cfg, Topic: "x", OnDone: b.done})
	for id := range uint64(100) {
		w.Put(numbered(id, 100))
	}
	require.Eventually(t, func() bool { _, cause := w.trouble.get(); return cause != nil && log.count(sayBegin) == 1 }, time.Minute, 5*time.Millisecond)
	_, cause := w.trouble.get()
	requireExplained(t, cause, `User:tap may not write to topic "x"`, "--allow-principal User:tap --operation Write --topic x")
	require.Zero(t, b.all(), "nothing is lost")

	admin, err := NewAdmin(as("admin"))
	require.NoError(t, err)
	defer admin.Close()
	acl := kadm.NewACLs().Allow("User:tap").AllowHosts().Topics("x").ResourcePatternType(kadm.ACLPatternLiteral).Operations(kadm.OpWrite)
	_, err = admin.adm.CreateACLs(context.WithoutCancel(t.Context()), acl)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return b.of(Acknowledged, "") == 100 && log.count(sayOver) == 1 }, time.Minute, 5*time.Millisecond)
	stop()
	require.Equal(t, 1, log.count(sayBegin), "said once: %s", log)
}

func TestTroubleIsSaidAgainWhenItsCureIsAnother(t *testing.T) {
	log := new(logBuffer)
	logger := slog.New(slog.NewTextHandler(log, nil))
	var x trouble
	now := time.Now()
	pause := sayAfter
	step := func(cause error) {
		now = now.Add(pause)
		x.begin(now, cause)
		x.say(logger, now, "trouble")
	}
	refused := fault.New("cannot reach Kafka", "connection refused", tryBrokers)
	step(refused)
	step(fault.New("cannot reach Kafka", "no answer within 3s", tryBrokers))
	step(errors.New("no acknowledgement"))
	require.Equal(t, 1, log.count("msg=trouble"), "causes come and go: %s", log)
	step(fault.New("cannot log in", "wrong password", "the right one"))
	pause = 0
	step(errors.New("no acknowledgement"))
	require.Equal(t, 2, log.count("msg=trouble"), "%s", log)
	pause = sayAfter / 4
	step(refused)
	require.Equal(t, 2, log.count("msg=trouble"), "not at every turn: %s", log)
	x.over(logger, now, "over")
	x.over(logger, now, "over")
	require.Equal(t, 1, log.count("msg=over"))
	step(refused)
	require.Equal(t, 3, log.count("msg=trouble"), "a new one: %s", log)
}
