package kafka

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Issuer gives out bearer tokens (RS256 JWTs) for client credentials, and the key that a broker checks them with.
type Issuer struct {
	Clients map[string]string // id → secret; who may have a token

	key      *rsa.PrivateKey
	listener net.Listener
	server   *http.Server
	served   chan error
	down     atomic.Bool
	asked    atomic.Int64
}

const keyID, audience = "e2e", "kafka"

// NewIssuer serves on loopback until it is closed.
func NewIssuer(clients map[string]string) (*Issuer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	i := &Issuer{Clients: clients, key: key, listener: listener, served: make(chan error, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /jwks", i.keys)
	mux.HandleFunc("POST /token", i.token)
	i.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { i.served <- i.server.Serve(listener) }()
	return i, nil
}

// Close stops serving.
func (i *Issuer) Close() error {
	err := i.server.Close()
	if served := <-i.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

func (i *Issuer) url(path string) string { return "http://" + i.listener.Addr().String() + path }

// TokenURL is where tokens are had.
func (i *Issuer) TokenURL() string { return i.url("/token") }

// Asked is how many tokens were asked for.
func (i *Issuer) Asked() int { return int(i.asked.Load()) }

// Fail has the token endpoint answer 503, or no longer.
func (i *Issuer) Fail(down bool) { i.down.Store(down) }

func (i *Issuer) keys(w http.ResponseWriter, _ *http.Request) {
	encode := base64.RawURLEncoding.EncodeToString
	_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]string{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": keyID,
		"n": encode(i.key.N.Bytes()), "e": encode(big.NewInt(int64(i.key.E)).Bytes()),
	}}})
}

func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	i.asked.Add(1)
	id, given, _ := r.BasicAuth()
	want, known := i.Clients[id]
	switch {
	case i.down.Load():
		http.Error(w, "out of order", http.StatusServiceUnavailable)
		return
	case r.FormValue("grant_type") != "client_credentials" || !known || given != want:
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"error":"invalid_client"}`)
		return
	}
	const life = 5 * time.Minute
	token, err := i.Token(id, life)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": life.Seconds()})
}

// Token signs a token for subject. A negative life makes one that has expired.
func (i *Issuer) Token(subject string, life time.Duration) (string, error) {
	encode := base64.RawURLEncoding.EncodeToString
	head, err := json.Marshal(map[string]string{"alg": "RS256", "typ": "JWT", "kid": keyID})
	if err != nil {
		return "", err
	}
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"sub": subject, "aud": audience, "iss": i.url(""), "scope": "kafka",
		"iat": min(now.Unix(), now.Add(life).Unix()-60), "exp": now.Add(life).Unix(),
	})
	if err != nil {
		return "", err
	}
	signed := encode(head) + "." + encode(claims)
	digest := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, i.key, crypto.SHA256, digest[:])
	return signed + "." + encode(signature), err
}
