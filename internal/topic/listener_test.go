package topic

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
)

// An HTTP server in --brokers is told from a Kafka that is down, whether it refuses what is no HTTP at once or waits for the end of a line.
func TestAnHTTPServerIsToldToBeNone(t *testing.T) {
	patient := func(ln net.Listener) {
		s := &http.Server{Handler: http.NotFoundHandler(), ErrorLog: log.New(io.Discard, "", 0)}
		_ = s.Serve(ln)
	}
	hasty := func(ln net.Listener) {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if n, _ := c.Read(make([]byte, 1000)); n > 0 {
				_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			}
			_ = c.Close()
		}
	}
	pair := newIdentity(t, "web", tomorrow(), nil).pair()
	for name, c := range map[string]struct {
		serve        func(net.Listener)
		theirs, ours bool // TLS
	}{
		"patient":         {patient, false, false},
		"patient, no TLS": {patient, false, true},
		"patient, TLS":    {patient, true, false},
		"patient, by TLS": {patient, true, true},
		"hasty":           {hasty, false, false},
		"hasty, no TLS":   {hasty, false, true},
		"hasty, by TLS":   {hasty, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := testNet{virtual: new(kfake.VirtualNetwork)}
				ln, err := n.virtual.Listen("tcp", "127.0.0.1:9092")
				require.NoError(t, err)
				defer n.cutAll()
				defer ln.Close()
				if c.theirs {
					ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{pair}})
				}
				go c.serve(ln)
				cfg := n.config()
				if c.ours {
					cfg.Security = NewSecurity(SecurityOptions{Insecure: true})
				}
				adm := newTestAdmin(t, cfg)
				for range 2 { // who asks again is told the same
					requireFault(t, adm.Ping(t.Context()), "cannot reach Kafka at 127.0.0.1:9092", "it is an HTTP server, and no Kafka broker", "")
				}
			})
		})
	}
}
