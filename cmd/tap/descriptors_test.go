package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/broker"
)

// asks sends a request and returns what is to come back.
func asks(t *testing.T, c net.Conn, i int) (want string) {
	t.Helper()
	_, err := fmt.Fprintf(c, "GET /%d HTTP/1.1\r\nHost: shop\r\n\r\n", i)
	require.NoError(t, err)
	return fmt.Sprintf("/%d ", i)
}

// hears reads an answer of newOrigin, which ends with want.
func hears(t *testing.T, c net.Conn, want string) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	var got []byte
	for b := make([]byte, 512); !strings.HasSuffix(string(got), want); {
		n, err := c.Read(b)
		require.NoError(t, err, "%q", got)
		got = append(got, b[:n]...)
	}
}

func metricsOf(t *testing.T, admin string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := client.Get("http://" + admin + "/metrics")
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return string(text)
}

func TestCaptureHasDescriptorsWhenTrafficHasTakenAllOthers(t *testing.T) {
	const limit, connections = 128, 80
	at := broker.Options{Data: t.TempDir(), Listen: freePort(t)} // where it comes back, so none that a client could have meanwhile
	kafka, err := broker.Start(at)
	require.NoError(t, err)
	defer func() { require.NoError(t, kafka.Close()) }()
	tapAt, admin, origin := freePort(t), "", newOrigin(t)
	tap := startTap(t, []string{fmt.Sprint(withDescriptors, "=", limit)}, "--brokers", kafka.Addr(), "--listen", tapAt, "--upstream", origin,
		"--admin", "127.0.0.1:0", "--spool-dir", t.TempDir(), "--loops", "1", "--partitions", "1", "--linger", "10ms", "--log-format", "json")
	tap.saysWithin(t, `"msg":"admin"`)
	_, rest, _ := strings.Cut(tap.said(), `"msg":"admin","listen":"`)
	admin, _, _ = strings.Cut(rest, `"`)
	becomes := func(what string, wanted func(n int) bool) {
		t.Helper()
		require.Eventually(t, func() bool {
			_, value, _ := strings.Cut(metricsOf(t, admin), "\n"+what+" ")
			n := -1
			_, err := fmt.Sscan(value, &n)
			return err == nil && wanted(n)
		}, patience, 50*time.Millisecond, what)
	}
	const produced = `reprise_tap_exchanges_total{reason="",result="produced"}`
	first, err := net.Dial("tcp", tapAt)
	require.NoError(t, err)
	defer first.Close()
	hears(t, first, asks(t, first, 0))
	becomes(produced, func(n int) bool { return n == 1 }) // Kafka is connected to

	var clients []net.Conn
	var wants []string
	for i := range connections {
		c, err := net.Dial("tcp", tapAt) // by the kernel
		require.NoError(t, err)
		defer c.Close()
		clients, wants = append(clients, c), append(wants, asks(t, c, i))
	}
	hears(t, clients[0], wants[0])
	tap.saysWithin(t, "kept for capture")
	require.NoError(t, kafka.Close()) // its connections with it
	hears(t, first, asks(t, first, 0))
	at.Listen = kafka.Addr()
	kafka, err = broker.Start(at)
	require.NoError(t, err)
	hears(t, first, asks(t, first, 0))

	served := 0
	becomes("reprise_tap_connections", func(n int) bool { served = n; return n > connections/2 && n < connections })
	becomes("reprise_tap_accept_pauses_total", func(n int) bool { return n > 0 })
	// first asked three times, the others that are served once; one that tries again and again to get in may be among these.
	becomes(produced, func(n int) bool { return n == 2+served || n == 1+served })

	for i, c := range clients { // in the order in which the kernel let them in
		if i > 0 {
			hears(t, c, wants[i])
		}
		require.NoError(t, c.Close())
	}
	becomes(produced, func(n int) bool { return n == 3+connections })
	becomes("reprise_tap_refused_total", func(n int) bool { return n == 0 })
}
