package fire_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/traffic"
)

// arena is a production that nobody must reach, pre-production at another loopback address and the same port, and a name server
// of whoever wants the one to be taken for the other.
type arena struct {
	port       string
	production atomic.Int64 // connections
	preprod    atomic.Int64 // requests
	names      *net.Resolver
	attempts   atomic.Int64
	answer     func(n int64) string // of pre-production
	seed       uint64               // of what is tried and answered by chance
}

const (
	productionIP = "127.0.0.1"
	preprodIP    = "127.0.0.2"
)

func newArena(t *testing.T) *arena {
	a := &arena{answer: func(int64) string { return ok }, seed: rand.Uint64()}
	t.Log("seed", a.seed)
	var production, preprod net.Listener
	var err error
	for range 20 { // until a port is free at both
		production, err = net.Listen("tcp", productionIP+":0")
		require.NoError(t, err)
		_, a.port, _ = net.SplitHostPort(production.Addr().String())
		if preprod, err = net.Listen("tcp", preprodIP+":"+a.port); err == nil {
			break
		}
		production.Close()
	}
	require.NoError(t, err)
	var wg sync.WaitGroup
	accept := func(l net.Listener, serve func(net.Conn)) {
		wg.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				wg.Go(func() {
					defer c.Close()
					serve(c)
				})
			}
		})
	}
	decoys := []net.Listener{production}
	if six, err := net.Listen("tcp", "[::1]:"+a.port); err == nil {
		decoys = append(decoys, six)
	}
	for _, l := range decoys {
		accept(l, func(net.Conn) { a.production.Add(1) })
	}
	accept(preprod, a.serve)
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	wg.Go(func() { answerNames(server, a.random(1)) })
	a.names = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
	t.Cleanup(func() {
		server.Close()
		for _, l := range append(decoys, preprod) {
			l.Close()
		}
		wg.Wait()
	})
	return a
}

// random is one goroutine's; stream tells them apart.
func (a *arena) random(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(a.seed, stream)) }

// serve answers one request a connection.
func (a *arena) serve(c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if raw, err := readRequest(bufio.NewReader(c)); err != nil || !strings.Contains(raw, "\r\nReprise-Replay: test;") {
		return
	}
	_, _ = io.WriteString(c, a.answer(a.preprod.Add(1)))
}

// answerNames says of every name, from one question to the next, that it is pre-production or production.
func answerNames(server net.PacketConn, random *rand.Rand) {
	four := [][]string{{preprodIP}, {preprodIP}, {productionIP}, {"0.0.0.0"}, {preprodIP, productionIP}, {productionIP, preprodIP}}
	six := [][]string{nil, nil, nil, {"::ffff:" + productionIP}, {"::1"}, {"::"}, {"64:ff9b::7f00:1"}, {"::127.0.0.1"}, {"2002:7f00:1::"}}
	buf := make([]byte, 1500)
	for {
		n, from, err := server.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		q := m.Questions[0]
		m.Header = dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true}
		m.Additionals = nil
		head := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
		switch q.Type {
		case dnsmessage.TypeA:
			for _, s := range four[random.IntN(len(four))] {
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AResource{A: [4]byte(net.ParseIP(s).To4())}})
			}
		case dnsmessage.TypeAAAA:
			for _, s := range six[random.IntN(len(six))] {
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AAAAResource{AAAA: [16]byte(net.ParseIP(s).To16())}})
			}
		}
		if packed, err := m.Pack(); err == nil {
			_, _ = server.WriteTo(packed, from)
		}
	}
}

// config is that of a guard who knows of this production as rules name it.
func (a *arena) config(target *url.URL, allow ...string) fire.GuardConfig {
	return fire.GuardConfig{
		Target: target, Allow: allow, HostID: "here", Resolver: a.names,
		Production: []fire.Address{{HostPort: productionIP + "/32"}, {HostPort: "::1/128"}},
	}
}

// guard tries until the name server says that the target is pre-production.
func (a *arena) guard(t *testing.T, target *url.URL, allow ...string) *fire.Guard {
	for {
		g, err := fire.NewGuard(t.Context(), a.config(target, allow...))
		if err == nil {
			return g
		}
		a.attempts.Add(1)
		require.ErrorContains(t, err, "refused")
	}
}

// fire tries one exchange in every way that a sender has.
func (a *arena) fire(t *testing.T, s *fire.Sender, x *traffic.Exchange) (answered bool) {
	a.attempts.Add(1)
	shot, reason := s.Prepare(x, fire.Mark{})
	if reason != "" {
		return false
	}
	defer s.Recycle(shot)
	s.Begin(shot)
	return s.Fire(t.Context(), shot).Response != nil
}

func TestTenThousandAttemptsDoNotReachProduction(t *testing.T) {
	a := newArena(t)
	decoy := productionIP + ":" + a.port
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"} {
		t.Setenv(name, "http://"+decoy)
	}
	t.Run("a name that means something else each time", func(t *testing.T) { a.rebind(t, 3000) })
	t.Run("other spellings of the target", func(t *testing.T) { a.spell(t, 3000) })
	t.Run("answers that lead elsewhere", func(t *testing.T) { a.redirect(t, decoy, 1500) })
	t.Run("requests that name production", func(t *testing.T) { a.name(t, decoy, 3000) })
	require.GreaterOrEqual(t, a.attempts.Load(), int64(10_000))
	require.Zero(t, a.production.Load(), "connections to production in %d attempts", a.attempts.Load())
	t.Logf("%d attempts, %d requests at pre-production, none at production", a.attempts.Load(), a.preprod.Load())

	c, err := net.Dial("tcp", decoy)
	require.NoError(t, err)
	_, _ = io.Copy(io.Discard, c)
	c.Close()
	require.EqualValues(t, 1, a.production.Load(), "it was there all the time")
}

func (a *arena) rebind(t *testing.T, attempts int) {
	target := parseURL(t, "http://preprod.test:"+a.port)
	g := a.guard(t, target, "preprod.test")
	var wg sync.WaitGroup
	var answered atomic.Int64
	for _, protocol := range []fire.Protocol{fire.AsRecorded, fire.AsRecorded, fire.AsRecorded, fire.OnlyHTTP2} {
		s := sender(t, target, func(cfg *fire.SenderConfig) { cfg.Guard, cfg.Protocol, cfg.Retries = g, protocol, 0 })
		wg.Go(func() {
			for range attempts / 4 {
				if a.fire(t, s, get()) {
					answered.Add(1)
				}
			}
		})
	}
	wg.Wait()
	require.Positive(t, answered.Load(), "when the name meant pre-production it was reached")
}

// spell makes targets of production's address, which whoever starts the replayer has even allowed.
func (a *arena) spell(t *testing.T, attempts int) {
	hosts := []string{
		"127.0.0.1", "127.0.0.1.", "2130706433", "0x7f000001", "0X7F.1", "017700000001", "127.1", "127.0.1", "0177.0.0.1", "0x7f.0.0.0x1",
		"[::ffff:127.0.0.1]", "[::FFFF:7F00:1]", "[0:0:0:0:0:ffff:7f00:0001]", "[::1]", "[0:0:0:0:0:0:0:1]", "[::1%25lo]",
		"[::ffff:127.0.0.1%25lo]", "[64:ff9b::127.0.0.1]", "[::127.0.0.1]", "[2002:7f00:1::]", "0.0.0.0", "0", "[::]", "[::%25lo]",
		"１２７.0.0.1", "127。0。0。1", "①27.0.0.1", "loc\u00adalhost", "ⓛocalhost", "localhost", "LOCALHOST.", "a.localhost",
		"127.0.0.1\t", "127.0.0.1%00", "127.0.0.1%2e", "127.0.0.1#@preprod.test", "preprod.test@127.0.0.1", "u:p@127.0.0.1", "127.0.0.1\\@preprod.test",
		"shop.example", "SHOP.Example.", "shop.example..",
	}
	ports := []string{":" + a.port, ":0" + a.port, ":00" + a.port}
	schemes := []string{"http://", "HTTP://", "http:\\\\", "https://", "//"}
	random := a.random(2)
	for n := range attempts {
		a.attempts.Add(1)
		host := hosts[n%len(hosts)]
		text := schemes[random.IntN(len(schemes))] + host + ports[random.IntN(len(ports))] + []string{"", "/"}[random.IntN(2)]
		target, err := url.Parse(text)
		if err != nil {
			continue
		}
		cfg := a.config(target, host, strings.Trim(host, "[]"), target.Hostname(), target.Host, "*.localhost", "*.example")
		cfg.Production = append(cfg.Production, fire.Address{HostPort: "shop.example"})
		for i, s := range cfg.Allow { // only what is an allowance at all
			if _, err := fire.NewGuard(t.Context(), fire.GuardConfig{Target: target, Allow: []string{s}, Resolver: new(resolver)}); err != nil && strings.Contains(err.Error(), "bad --allow-target") {
				cfg.Allow[i] = "localhost"
			}
		}
		g, err := fire.NewGuard(t.Context(), cfg)
		if err != nil {
			continue
		}
		// The name server has just said that it is pre-production; it will say something else.
		s, err := fire.NewSender(fire.SenderConfig{Target: target, Guard: g, Run: "test", Timeout: 10 * time.Second})
		if err == nil {
			a.fire(t, s, get())
			s.Close()
		}
	}
}

func (a *arena) redirect(t *testing.T, decoy string, attempts int) {
	target := parseURL(t, "http://"+preprodIP+":"+a.port)
	locations := []string{
		"http://" + decoy + "/", "//" + decoy + "/x", "http://u:p@" + decoy, "HTTP://" + decoy, "https://" + decoy + "/", "http:\\\\" + decoy,
		"http://2130706433:" + a.port, "http://[::ffff:127.0.0.1]:" + a.port + "/", " http://" + decoy, "http://" + decoy + "%zz", "/\\" + decoy,
	}
	fields := []string{"Location", "Content-Location", "Alt-Svc", "Link", "Refresh", "URI"}
	a.answer = func(n int64) string {
		location := locations[n%int64(len(locations))]
		field := fields[n/3%int64(len(fields))]
		switch field {
		case "Alt-Svc":
			location = `h2="` + decoy + `"; ma=86400; persist=1`
		case "Link":
			location = "<" + location + ">; rel=preload"
		case "Refresh":
			location = "0; url=" + location
		}
		status := []int{301, 302, 303, 307, 308, 300, 305, 201, 200, 421, 503, 401, 407}[n%13]
		return fmt.Sprintf("HTTP/1.1 %d X\r\n%s: %s\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status, field, location)
	}
	defer func() { a.answer = func(int64) string { return ok } }()
	before, answered := a.preprod.Load(), 0
	s := sender(t, target, func(cfg *fire.SenderConfig) {
		cfg.Guard, cfg.Retries, cfg.RetryStatus = a.guard(t, target, preprodIP), 1, true
	})
	for range attempts {
		if a.fire(t, s, get()) {
			answered++
		}
	}
	require.Equal(t, attempts, answered)
	require.GreaterOrEqual(t, a.preprod.Load()-before, int64(attempts))
}

// name fires requests that say in every way they can that they are for production.
func (a *arena) name(t *testing.T, decoy string, attempts int) {
	target := parseURL(t, "http://"+preprodIP+":"+a.port)
	heads := []string{
		"GET / \nHost: " + decoy, "GET http://" + decoy + "/x\nHost: " + decoy, "GET http://u:p@" + decoy + "/\nHost: x", "GET //" + decoy + "/\nHost: x",
		"CONNECT " + decoy + "\nHost: " + decoy, "GET /\nHost: " + decoy + "\nConnection: Upgrade\nUpgrade: websocket", "OPTIONS *\nHost: " + decoy,
		"GET /\nHost: " + decoy + "\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", "GET /\nHost: " + decoy + "\r\nHost: " + decoy,
		"GET / HTTP/1.1\r\nHost: " + decoy + "\r\n\r\nGET /\nHost: x", "GET /\nHost: x\nX-Forwarded-Host: " + decoy + "\nForwarded: host=" + decoy,
		"GET /\nHost: x\nProxy-Connection: keep-alive\nProxy-Authorization: Basic eA==", "GET /\nHost: x\nX-Original-URL: http://" + decoy + "/",
		"GET /\nHost: [::ffff:127.0.0.1]:" + a.port, "GET /\nHost: LOCALHOST.:" + a.port, "GET /\nHost: 2130706433:" + a.port,
		"GET @" + decoy + "/\nHost: x", "GET HTTPS://" + decoy + "?q#f\nHost: x", "GET \\\\" + decoy + "\nHost: x", "GET /\n:authority: " + decoy,
		"GET /\nHost: u@" + decoy, "GET /\nHost: " + decoy + "\x00", "GET /\nReprise-Replay: none\nConnection: Reprise-Replay", "GET /\nTE: trailers\nHost: x",
	}
	g := a.guard(t, target, preprodIP, "*.example")
	var senders []*fire.Sender
	for _, host := range []string{"", "recorded", decoy} {
		g := g
		if host == decoy {
			_, err := fire.NewSender(fire.SenderConfig{Target: target, Run: "test", Guard: g, Host: host})
			require.ErrorContains(t, err, "is a name of production")
			g = a.guard(t, target, preprodIP, decoy) // who says so has it sent, to pre-production
		}
		for _, protocol := range []fire.Protocol{fire.AsRecorded, fire.OnlyHTTP1} {
			senders = append(senders, sender(t, target, func(cfg *fire.SenderConfig) { cfg.Guard, cfg.Host, cfg.Protocol = g, host, protocol }))
		}
	}
	before := a.preprod.Load()
	for n := range attempts {
		x := exchange(heads[n%len(heads)], "")
		x.Request.Scheme = []byte([]string{"http", "https", ""}[n%3])
		a.fire(t, senders[n/len(heads)%len(senders)], x)
	}
	require.Greater(t, a.preprod.Load()-before, int64(attempts/4))
}

func TestHTTP2SaysNobodyElsesAuthority(t *testing.T) {
	var authorities sync.Map
	server := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		authorities.Store(r.Host, r.Header.Get("Reprise-Replay"))
	})}
	server.Protocols.SetUnencryptedHTTP2(true)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	target := &url.URL{Scheme: "http", Host: l.Addr().String()}
	s := sender(t, target, func(cfg *fire.SenderConfig) { cfg.Protocol = fire.OnlyHTTP2 })
	for i, head := range []string{
		"GET /\nHost: shop.example", "GET http://shop.example/\nHost: shop.example", "GET /\n:authority: shop.example\nHost: shop.example",
		"GET /\nReprise-Replay: x\nHost: shop.example",
	} {
		x := exchange(head, "")
		x.Request.Protocol = []byte("HTTP/2.0")
		shot, reason := s.Prepare(x, fire.Mark{Loop: uint32(i)})
		if reason != "" {
			continue // a field that is none
		}
		require.Empty(t, s.Fire(t.Context(), shot).Reason)
		s.Recycle(shot)
		mark, known := authorities.LoadAndDelete(target.Host)
		require.True(t, known, head)
		require.Equal(t, "test;loop="+strconv.Itoa(i)+";clone=0", mark)
	}
	authorities.Range(func(k, _ any) bool { t.Errorf("%v was named", k); return true })
	require.NoError(t, s.Close())
	require.NoError(t, server.Close())
	require.ErrorIs(t, <-done, http.ErrServerClosed)
}
