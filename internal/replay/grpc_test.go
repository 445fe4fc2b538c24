package replay_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

// Calls and ordinary requests of one recording go to one target, each as it was recorded, and what a call ended with
// counts as its status.
func TestGRPCCallsAreReplayedAndTheirStatusCompared(t *testing.T) {
	t.Parallel()
	s, _ := newStand(t, 2)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := traffic.ParseID(r.Header.Get("Reprise-Exchange-Id"))
		if r.ProtoMajor == 1 {
			fmt.Fprintf(w, `{"item":%d}`, id.Seq())
			return
		}
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
		_, _ = w.Write(body)
		w.Header().Set("Grpc-Status", map[bool]string{true: "14", false: "0"}[id.Seq()%10 == 0])
		w.Header().Set("Grpc-Message", "card 4111111111111111")
	}))
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	defer srv.Close()

	field := func(name, value string) traffic.Field { return traffic.Field{Name: []byte(name), Value: []byte(value)} }
	message := []byte("\x00\x00\x00\x00\x02hi")
	start := time.Now().Add(-time.Minute)
	var all []*traffic.Exchange
	for i := range 60 {
		x := s.exchange(start.Add(time.Duration(i) * time.Millisecond))
		if i%2 == 1 {
			r := &x.Request
			r.Method, r.Target, r.Protocol = []byte("POST"), []byte("/shop.Cart/Get"), []byte("HTTP/2.0")
			r.Headers = []traffic.Field{field("content-type", "application/grpc"), field("te", "trailers")}
			r.Body, r.BodySize = message, int64(len(message))
			x.Response.Headers, x.Response.Trailers = r.Headers[:1], []traffic.Field{field("grpc-status", "0")}
			x.Response.Body, x.Response.BodySize = message, int64(len(message))
		}
		all = append(all, x)
	}
	s.write(all...)
	o := s.optionsFor(srv.URL)
	o.AllowWrites = []string{"POST /shop.Cart/*"}
	r := s.run(o)
	require.EqualValues(t, 60, r.Fired)
	require.EqualValues(t, 54, r.Answers.Same)
	for id, stored := range s.outcomes() {
		require.Len(t, stored, 1)
		if id.Seq()%10 != 0 {
			require.Equal(t, traffic.Same, stored[0].Verdict)
			continue
		}
		require.Equal(t, traffic.StatusChanged, stored[0].Verdict)
		require.Equal(t, "grpc-status", stored[0].Differences[0].Path)
		require.NotContains(t, fmt.Sprintf("%s", stored[0].Answer.Trailers), "4111111111111111", "redacted before it is stored")
	}
}
