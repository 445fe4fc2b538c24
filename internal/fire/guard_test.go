package fire_test

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/traffic"
)

func TestGuardRefusesATargetThatIsNotAllowed(t *testing.T) {
	names := &resolver{}
	for _, host := range []string{"preprod.internal", "a.preprod.internal", "preprod.internal.evil", "xpreprod.internal"} {
		names.set(host, "192.0.2.1")
	}
	for _, row := range []struct {
		target, allow string
		ok            bool
	}{
		{"http://preprod.internal:8080", "preprod.internal:8080", true},
		{"http://preprod.internal:8080", "preprod.internal", true}, // every port
		{"http://PreProd.Internal.:8080", "preprod.internal", true},
		{"http://preprod.internal", "preprod.internal:80", true}, // the default port
		{"https://preprod.internal", "preprod.internal:443", true},
		{"http://preprod.internal:8081", "preprod.internal:8080", false},
		{"http://a.preprod.internal", "*.preprod.internal", true},
		{"http://preprod.internal", "*.preprod.internal", false}, // below only
		{"http://xpreprod.internal", "*.preprod.internal", false},
		{"http://preprod.internal.evil", "preprod.internal", false},
		{"http://preprod.internal", "192.0.2.1", false}, // what is named is compared, not what it means today
		{"http://[::1]:8080", "[::1]:8080", true},
		{"http://[::1]:8080", "::1", true},
		{"http://[::ffff:127.0.0.1]:8080", "127.0.0.1:8080", true},
		{"http://127.0.0.1:8080", "127.0.0.1:80", false},
	} {
		_, err := fire.NewGuard(t.Context(), fire.GuardConfig{
			Target: parseURL(t, row.target), Allow: []string{row.allow}, Resolver: names,
		})
		require.Equal(t, row.ok, err == nil, "%s with --allow-target %s: %v", row.target, row.allow, err)
	}
	_, err := fire.NewGuard(t.Context(), fire.GuardConfig{Target: parseURL(t, "http://127.0.0.1:8080")})
	require.EqualError(t, err, "refused: target 127.0.0.1:8080 is not allowed: no --allow-target was given")
	require.Equal(t, fault.Usage, fault.Code(err))
}

func TestGuardRefusesWhatItCannotRead(t *testing.T) {
	for _, target := range []string{
		"ftp://x", "http://", "http://x/api", "http://x?q", "http://u:secret@x", "http://x:0", "x:80", "http://a,b",
	} {
		_, err := fire.NewGuard(t.Context(), fire.GuardConfig{Target: parseURL(t, target), Allow: []string{"x"}})
		require.Error(t, err, target)
		require.Equal(t, fault.Usage, fault.Code(err), target)
		require.NotContains(t, err.Error(), "secret")
	}
	_, err := fire.NewGuard(t.Context(), fire.GuardConfig{})
	require.Error(t, err)
	for _, allow := range []string{"", "*", "http://x", "x:y", "x:70000", "a b", "*.*.x", "x/y"} {
		_, err := fire.NewGuard(t.Context(), fire.GuardConfig{Target: parseURL(t, "http://x"), Allow: []string{allow}})
		require.ErrorContains(t, err, "bad --allow-target", allow)
	}
	_, err = fire.NewGuard(t.Context(), fire.GuardConfig{
		Target: parseURL(t, "http://nowhere.example"), Allow: []string{"nowhere.example"}, Resolver: &resolver{},
	})
	require.ErrorContains(t, err, "cannot find target nowhere.example:80")
}

func TestGuardRefusesProduction(t *testing.T) {
	names := &resolver{}
	names.set("preprod.internal", "192.0.2.1", "198.51.100.7")
	names.set("shop.internal", "198.51.100.7")
	names.set("gateway-2", "198.51.100.7")
	names.set("localalias", "127.0.0.1")
	for _, row := range []struct {
		name       string
		target     string
		production fire.Address
		refused    bool
	}{
		{"an upstream by its address", "http://10.0.3.7:8080", fire.Address{HostPort: "10.0.3.7:8080"}, true},
		{"another port", "http://10.0.3.7:8081", fire.Address{HostPort: "10.0.3.7:8080"}, false},
		{"every port", "http://10.0.3.7:8081", fire.Address{HostPort: "10.0.3.7"}, true},
		{"IPv4 in IPv6", "http://[::ffff:10.0.3.7]:8080", fire.Address{HostPort: "10.0.3.7:8080"}, true},
		{"a network", "http://10.0.3.7:8081", fire.Address{HostPort: "10.0.0.0/16"}, true},
		{"another network", "http://10.1.3.7:8081", fire.Address{HostPort: "10.0.0.0/16"}, false},
		{"by name", "http://shop.internal:8080", fire.Address{HostPort: "Shop.Internal:8080"}, true},
		{"a URL", "http://shop.internal:8080", fire.Address{HostPort: "http://shop.internal:8080/"}, true},
		{"a name that means an address of it", "http://preprod.internal:80", fire.Address{HostPort: "shop.internal:80"}, true},
		{"the address of a name", "http://198.51.100.7:80", fire.Address{HostPort: "shop.internal:80"}, true},
		{"a name of the address", "http://preprod.internal:80", fire.Address{HostPort: "198.51.100.7:80"}, true},
		{"an unknown name", "http://198.51.100.7:80", fire.Address{HostPort: "unknown.internal:80"}, false},
		{"our loopback", "http://127.0.0.1:9000", fire.Address{HostPort: "127.0.0.1:9000", HostID: "here"}, true},
		{"our loopback by name", "http://localhost:9000", fire.Address{HostPort: "127.0.0.1:9000", HostID: "here"}, true},
		{"our loopback, the other family", "http://[::1]:9000", fire.Address{HostPort: "localhost:9000", HostID: "here"}, true},
		{"our loopback through an alias", "http://localalias:9000", fire.Address{HostPort: ":9000", HostID: "here"}, true},
		{"the loopback of another machine", "http://127.0.0.1:9000", fire.Address{HostPort: "127.0.0.1:9000", HostID: "there"}, false},
		{"localhost of another machine", "http://localhost:9000", fire.Address{HostPort: "localhost:9000", HostID: "there"}, false},
		{"nobody's loopback may be ours", "http://127.0.0.1:9000", fire.Address{HostPort: "127.0.0.1:9000"}, true},
		{"listening everywhere here", "http://127.0.0.1:8080", fire.Address{HostPort: ":8080", HostID: "here"}, true},
		{"listening on 0.0.0.0 here", "http://127.0.0.1:8080", fire.Address{HostPort: "0.0.0.0:8080", HostID: "here"}, true},
		{"listening on :: here", "http://127.0.0.1:8080", fire.Address{HostPort: "[::]:8080", HostID: "here"}, true},
		{"0.0.0.0 is here too", "http://0.0.0.0:8080", fire.Address{HostPort: ":8080", HostID: "here"}, true},
		{"an address with a zone", "http://[fe80::1%25lo]:8080", fire.Address{HostPort: "[fe80::1]:8080"}, true},
		{"listening on :: with a zone", "http://127.0.0.1:8080", fire.Address{HostPort: "[::%0]:8080", HostID: "here"}, true},
		{"listening everywhere there", "http://127.0.0.1:8080", fire.Address{HostPort: ":8080", HostID: "there"}, false},
		{
			"listening everywhere on a known host", "http://198.51.100.7:8080",
			fire.Address{HostPort: ":8080", HostID: "there", Host: "gateway-2"},
			true,
		},
		{"a port by its name may be any", "http://10.0.3.7:8081", fire.Address{HostPort: "10.0.3.7:http"}, true},
		{"by name, a port that is none", "http://shop.internal:8080", fire.Address{HostPort: "shop.internal:99999"}, true},
		{"what cannot be read counts for nothing", "http://127.0.0.1:8080", fire.Address{HostPort: "::::"}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			names.set("localhost", "127.0.0.1")
			target := parseURL(t, row.target)
			_, err := fire.NewGuard(t.Context(), fire.GuardConfig{
				Target: target, Allow: []string{target.Hostname()}, HostID: "here", Resolver: names,
				Production: []fire.Address{row.production},
			})
			if !row.refused {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, "refused: target")
			require.Equal(t, fault.Usage, fault.Code(err))
		})
	}
}

func TestRefusalSaysWhatCauseAndTry(t *testing.T) {
	_, err := fire.NewGuard(t.Context(), fire.GuardConfig{
		Target: parseURL(t, "http://10.0.3.7:8080"), Allow: []string{"10.0.3.7"},
		Production: []fire.Address{{
			HostPort: "10.0.3.7:8080", Origin: "the upstream of tap gateway-2",
			Reported: time.Date(2026, 11, 22, 13, 41, 58, 0, time.UTC),
		}},
	})
	refused, isFault := errors.AsType[*fault.Error](err)
	require.True(t, isFault)
	require.Equal(t, "refused: target 10.0.3.7:8080 is the upstream of tap gateway-2", refused.What)
	require.Equal(t, "the tap report of 13:41:58 lists it as production", refused.Cause)
	require.Equal(t, "name the pre-production address with --target and --allow-target", refused.Try)
}

type matcher func(x *traffic.Exchange) (bool, error)

func (m matcher) Match(x *traffic.Exchange) (bool, error) { return m(x) }

func TestAdmit(t *testing.T) {
	target := parseURL(t, "http://127.0.0.1:8080")
	carts := matcher(func(x *traffic.Exchange) (bool, error) { return string(x.Request.Target) == "/cart", nil })
	broken := matcher(func(*traffic.Exchange) (bool, error) { return true, errors.New("broken rule") })
	for _, row := range []struct {
		name   string
		x      *traffic.Exchange
		allow  []fire.Matcher
		reason string
	}{
		{"GET", get(), nil, ""},
		{"HEAD", exchange("HEAD /", ""), nil, ""},
		{"OPTIONS", exchange("OPTIONS *", ""), nil, ""},
		{"POST", post(), nil, fire.WriteNotAllowed},
		{"POST by rule", post(), []fire.Matcher{carts}, ""},
		{"POST elsewhere", exchange("POST /login", ""), []fire.Matcher{carts}, fire.WriteNotAllowed},
		{"a rule that fails allows nothing", post(), []fire.Matcher{broken}, fire.WriteNotAllowed},
		{"the method is case-sensitive", exchange("get /", ""), nil, fire.WriteNotAllowed},
		{"TRACE", exchange("TRACE /", ""), nil, fire.WriteNotAllowed},
		{"no method", exchange(" /", ""), nil, fire.UnsafeBytes},
		{"a write inside a GET", exchange("GET /\nX-HTTP-Method-Override: DELETE", ""), nil, fire.WriteNotAllowed},
		{"in another spelling", exchange("GET /\nx-method-override: put", ""), nil, fire.WriteNotAllowed},
		{"an override that reads", exchange("GET /\nX-HTTP-Method: HEAD", ""), nil, ""},
		{"recorded at the target", exchange("GET /\nHost: 127.0.0.1:8080", ""), nil, fire.AuthorityIsTarget},
		{"at another port", exchange("GET /\nHost: 127.0.0.1:8081", ""), nil, ""},
		{"without port", exchange("GET /\nHost: 127.0.0.1", ""), nil, ""},
		{"absolute form", exchange("GET http://127.0.0.1:8080/x\nHost: other", ""), nil, fire.AuthorityIsTarget},
		{"with user info", exchange("GET http://u@127.0.0.1:8080/x\nHost: other", ""), nil, fire.AuthorityIsTarget},
	} {
		t.Run(row.name, func(t *testing.T) {
			g := guard(t, target, func(cfg *fire.GuardConfig) { cfg.AllowWrites = row.allow })
			s := sender(t, target, func(cfg *fire.SenderConfig) { cfg.Guard = g })
			reason, ok := g.Admit(row.x)
			if ok {
				var shot *fire.Shot
				shot, reason = s.Prepare(row.x, fire.Mark{})
				ok = shot != nil
			}
			require.Equal(t, row.reason, reason)
			require.Equal(t, row.reason == "", ok)
			if !ok {
				require.NotEmpty(t, g.Explain(reason))
			}
		})
	}
	g := guard(t, target, nil)
	for _, flag := range []traffic.Flags{
		traffic.TruncatedRequest, traffic.Gap, traffic.AmbiguousFraming, traffic.Upgraded, traffic.Connect,
		traffic.RedactionFailedRequest,
	} {
		x := get()
		x.Flags = flag
		reason, ok := g.Admit(x)
		require.False(t, ok)
		require.Equal(t, fire.BadFlags, reason, flag.String())
	}
	x := get()
	x.Flags = traffic.RequestOnly | traffic.NoResponse | traffic.TruncatedResponse
	_, ok := g.Admit(x)
	require.True(t, ok)
}

func TestAuthorityIsTargetKnowsDefaultPorts(t *testing.T) {
	names := &resolver{}
	names.set("shop.example.com", "192.0.2.1")
	for _, row := range []struct {
		target, authority string
		is                bool
	}{
		{"http://shop.example.com", "shop.example.com", true},
		{"http://shop.example.com", "SHOP.example.com.:80", true},
		{"https://shop.example.com", "shop.example.com", true},
		{"https://shop.example.com", "shop.example.com:80", false},
		{"http://shop.example.com:8080", "shop.example.com", false},
		{"http://shop.example.com:8080", "shop.example.com:8080", true},
		{"http://shop.example.com", "www.shop.example.com", false},
		{"http://shop.example.com", "", false},
		{"http://shop.example.com", "\x00:::", false},
	} {
		g := guard(t, parseURL(t, row.target), func(cfg *fire.GuardConfig) {
			cfg.Resolver, cfg.Allow = names, []string{"shop.example.com"}
		})
		for range 2 { // the second is answered from memory
			_, admitted := g.Admit(exchange("GET /\nHost: "+row.authority, ""))
			require.Equal(t, row.is, !admitted, "%s recorded at %q", row.target, row.authority)
		}
	}
}

func TestNotProductionLetsAnAuthorityPass(t *testing.T) {
	target := parseURL(t, "http://127.0.0.1:8080")
	x := exchange("GET /\nHost: 127.0.0.1:8080", "")
	g := guard(t, target, nil)
	for range 5 {
		g.Admit(x)
	}
	require.InDelta(t, 0.005, g.AuthorityIsTargetShare(), 1e-9)
	for range 1000 {
		g.Admit(get())
	}
	require.Zero(t, g.AuthorityIsTargetShare(), "only the last 1,000 count")

	g = guard(t, target, func(cfg *fire.GuardConfig) { cfg.NotProduction = []string{"127.0.0.1:8080"} })
	_, ok := g.Admit(x)
	require.True(t, ok)
	_, err := fire.NewGuard(t.Context(), fire.GuardConfig{
		Target: target, Allow: []string{"127.0.0.1"}, NotProduction: []string{"127.0.0.1"},
	})
	require.ErrorContains(t, err, "bad --not-production")
}

// decoy is a listener that stands for production and counts who comes.
func decoy(t *testing.T) (*url.URL, *atomic.Int64) {
	var visits atomic.Int64
	return listen(t, func(c net.Conn, n int) {
		visits.Add(1)
		answering(ok)(c, n)
	}), &visits
}

func TestNothingReachesProductionWhenTheNameIsReboundToIt(t *testing.T) {
	production, visits := decoy(t)
	names := &resolver{}
	names.set("preprod.internal", "192.0.2.1") // documentation network: nobody is there
	target := parseURL(t, "http://preprod.internal:"+production.Port())
	g := guard(t, target, func(cfg *fire.GuardConfig) {
		cfg.Resolver, cfg.Allow = names, []string{"preprod.internal"}
		cfg.Production = []fire.Address{{HostPort: production.Host, HostID: "here", Origin: "production"}}
	})
	s := sender(t, target, func(cfg *fire.SenderConfig) { cfg.Guard = g })
	http2 := sender(t, target, func(cfg *fire.SenderConfig) { cfg.Guard, cfg.Protocol = g, fire.OnlyHTTP2 })
	for i, addrs := range [][]string{
		{"127.0.0.1"},
		{"192.0.2.1", "127.0.0.1"},
		{"127.0.0.1", "192.0.2.1"},
		{"127.0.0.2"},
		{"0.0.0.0"},
		{"::1"},
		{"::ffff:127.0.0.1"},
	} {
		names.set("preprod.internal", addrs...)
		for n := range 20 {
			by := s
			if n%2 == 1 {
				by = http2
			}
			a := fireOne(t, by, get())
			require.Equal(t, fire.TargetIsProduction, a.Reason, "%d: %v", i, a.Err)
			require.Nil(t, a.Response)
		}
	}
	require.Zero(t, visits.Load())
}

func TestNothingReachesProductionOnceItIsReported(t *testing.T) {
	production, visits := decoy(t)
	g := guard(t, production, nil)
	s := sender(t, production, func(cfg *fire.SenderConfig) { cfg.Guard = g })
	shot, _ := s.Prepare(get(), fire.Mark{})
	require.Empty(t, s.Fire(t.Context(), shot).Reason, "nobody has said yet that it is production")
	require.Equal(t, 1, s.Stats().Idle)

	err := g.SetProduction(t.Context(), []fire.Address{{HostPort: production.Host, HostID: "here", Origin: "the upstream of tap a"}})
	require.ErrorContains(t, err, "is the upstream of tap a")
	require.Error(t, g.Err())
	reason, ok := g.Admit(get())
	require.False(t, ok)
	require.Equal(t, fire.TargetIsProduction, reason)
	require.Contains(t, g.Explain(reason), "the upstream of tap a")
	require.False(t, s.Begin(shot), "not over the kept connection either")
	require.Equal(t, fire.TargetIsProduction, s.Fire(t.Context(), shot).Reason)
	require.EqualValues(t, 1, visits.Load())
	require.Zero(t, s.Stats().Open, "the connection to it is closed")

	require.NoError(t, g.SetProduction(t.Context(), nil))
	require.Empty(t, s.Fire(t.Context(), shot).Reason)
}

func TestAKeptConnectionIsNotUsedWhenItsAddressBecomesProduction(t *testing.T) {
	production, visits := decoy(t)
	names := &resolver{}
	names.set("preprod.internal", "127.0.0.1")
	target := parseURL(t, "http://preprod.internal:"+production.Port())
	g := guard(t, target, func(cfg *fire.GuardConfig) { cfg.Resolver, cfg.Allow = names, []string{"preprod.internal"} })
	s := sender(t, target, func(cfg *fire.SenderConfig) { cfg.Guard = g })
	require.Empty(t, fireOne(t, s, get()).Reason)
	names.set("preprod.internal") // the name is gone, the connection is not
	require.NoError(t, g.SetProduction(t.Context(), []fire.Address{{HostPort: production.Host, HostID: "here"}}))
	require.Equal(t, fire.NameNotFound, fireOne(t, s, get()).Reason)
	require.EqualValues(t, 1, visits.Load())
	require.Zero(t, s.Stats().Open)
}

func TestProductionNamesAreLookedUpAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := &resolver{}
		names.set("preprod.internal", "192.0.2.1")
		names.set("shop.internal", "198.51.100.7")
		target := parseURL(t, "http://preprod.internal:8080")
		g := guard(t, target, func(cfg *fire.GuardConfig) {
			cfg.Resolver, cfg.Allow = names, []string{"preprod.internal"}
			cfg.Production = []fire.Address{{HostPort: "shop.internal:8080"}}
		})
		names.set("shop.internal", "192.0.2.1") // production fails over
		time.Sleep(2 * time.Minute)
		_, err := g.Dial(t.Context())
		require.ErrorContains(t, err, "production")
		require.Error(t, g.Err())
	})
}

func FuzzEndpoint(f *testing.F) {
	for _, s := range []string{
		"a:80", "[::1]:80", "::1", "a", ":80", "[a]", "[]:1", "a:b:c", "10.0.0.0/8", "]:1", "[", "::%0",
		"0x7f.1", "017700000001:80", "2130706433", "*.a", "64:ff9b::1", "::ffff:10.0.0.0/104", "bücher.example", "1.2.3.4.5", "0x", "a..",
	} {
		f.Add(s)
	}
	names := &resolver{}
	f.Fuzz(func(t *testing.T, s string) {
		cfg := fire.GuardConfig{
			Target: &url.URL{Scheme: "http", Host: s}, Allow: []string{s}, Resolver: names, HostID: "here",
			Production: []fire.Address{{HostPort: s, HostID: "here"}},
		}
		g, err := fire.NewGuard(t.Context(), cfg)
		require.Error(t, err, "what is named as production is never a target")
		require.Nil(t, g)
		cfg.Production = nil
		if g, err = fire.NewGuard(t.Context(), cfg); err == nil {
			_, ok := g.Admit(exchange(fmt.Sprintf("GET /\nHost: %s", s), ""))
			require.False(t, ok)
		}
	})
}
