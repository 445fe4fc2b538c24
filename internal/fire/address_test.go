package fire_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/fire"
)

func TestPublicTargetsAreRefusedUnlessAllowed(t *testing.T) {
	names := new(resolver)
	for _, row := range []struct {
		addr    string
		refused string // part of what is said; empty: it is let through
	}{
		{"10.1.2.3", ""},
		{"172.31.255.255", ""},
		{"192.168.1.1", ""},
		{"127.0.0.1", ""},
		{"100.64.3.4", ""},
		{"169.254.1.2", ""},
		{"fd12::1", ""},
		{"fe80::1", ""},
		{"64:ff9b::10.0.0.1", ""},
		{"172.32.0.1", "public"},
		{"8.8.8.8", "public"},
		{"::ffff:8.8.8.8", "public"},
		{"2606:4700::1111", "public"},
		{"64:ff9b::8.8.8.8", "public"},
		{"2002:808:808::", "public"},
		{"169.254.169.254", "credentials"},
		{"::ffff:169.254.169.254", "credentials"},
		{"64:ff9b::a9fe:a9fe", "credentials"},
		{"fd00:ec2::254", "credentials"},
		{"100.100.100.200", "credentials"},
	} {
		names.set("preprod.internal", "10.0.0.1", row.addr)
		target := parseURL(t, "http://preprod.internal:8080")
		cfg := fire.GuardConfig{Target: target, Allow: []string{"preprod.internal:8080"}, HostID: "here", Resolver: names}
		_, err := fire.NewGuard(t.Context(), cfg)
		if row.refused == "" {
			require.NoError(t, err, row.addr)
			continue
		}
		require.ErrorContains(t, err, row.refused, row.addr)
		require.Equal(t, fault.Usage, fault.Code(err))
		for _, allow := range []func(){
			func() { cfg.AllowPublic = true },
			func() { cfg.AllowPublic, cfg.Allow = false, append(cfg.Allow, row.addr) },
		} {
			allow()
			_, err = fire.NewGuard(t.Context(), cfg)
			if row.refused == "public" {
				require.NoError(t, err, row.addr)
			} else {
				require.Error(t, err, "not even then: %s", row.addr)
			}
		}
	}
}

func TestANameThatBecomesPublicIsNotDialled(t *testing.T) {
	names := new(resolver)
	names.set("preprod.internal", "127.0.0.1")
	target := parseURL(t, "http://preprod.internal:8080")
	g := guard(t, target, func(cfg *fire.GuardConfig) { cfg.Allow, cfg.Resolver = []string{"preprod.internal"}, names })
	s := sender(t, target, func(cfg *fire.SenderConfig) { cfg.Guard = g })
	names.set("preprod.internal", "8.8.8.8")
	require.Equal(t, fire.TargetIsPublic, fireOne(t, s, get()).Reason)
	names.set("preprod.internal", "169.254.169.254")
	require.Equal(t, fire.TargetIsMetadata, fireOne(t, s, get()).Reason)
	require.Error(t, g.SetProduction(t.Context(), nil))
	reason, ok := g.Admit(get())
	require.False(t, ok)
	require.Equal(t, fire.TargetIsMetadata, reason)
	require.Contains(t, g.Explain(reason), "credentials")
}

func TestProductionIsKnownInEverySpelling(t *testing.T) {
	names := new(resolver)
	names.set("xn--bcher-kva.example", "10.0.3.7")
	names.set("www.shop.example", "10.0.3.8")
	for target, production := range map[string]string{
		"http://10.0.3.7:8080":                 "0xa000307:8080",
		"http://10.775:8080":                   "10.0.3.7:8080",
		"http://0012.0.3.07:8080":              "10.0.3.7",
		"http://167773959:8080":                "10.0.0.0/16",
		"http://[::ffff:a00:307]:8080":         "::ffff:10.0.0.0/112",
		"http://[64:ff9b::a00:307]:8080":       "10.0.3.7",
		"http://xn--bcher-kva.example:8080":    "Bücher.example:8080",
		"http://XN--BCHER-KVA.EXAMPLE...:8080": "bücher。example",
		"http://www.shop.example":              "*.Shop.Example.",
	} {
		u := parseURL(t, target)
		a, err := fire.ParseProduction(production, "--production")
		require.NoError(t, err, production)
		cfg := fire.GuardConfig{Target: u, Allow: []string{u.Hostname()}, HostID: "here", Resolver: names}
		_, err = fire.NewGuard(t.Context(), cfg)
		require.NoError(t, err, "%s is a target like any other", target)
		cfg.Production = []fire.Address{a}
		_, err = fire.NewGuard(t.Context(), cfg)
		require.ErrorContains(t, err, "named as production (--production)", "%s is %s", target, production)
	}
	for _, bad := range []string{"", "http://shop", "10.0.0.0/33", "shop:0", "shop:x", "a b", "*"} {
		_, err := fire.ParseProduction(bad, "--production")
		require.ErrorContains(t, err, "bad --production", bad)
		require.Equal(t, fault.Usage, fault.Code(err))
	}
	_, err := fire.NewGuard(t.Context(), fire.GuardConfig{Target: parseURL(t, "http://bücher.example:8080"), Allow: []string{"*.example"}, Resolver: names})
	require.ErrorContains(t, err, "as it is in DNS")
}

func TestARecordedNameOfProductionIsSentOnlyWhenItIsAllowedAsSuch(t *testing.T) {
	target := parseURL(t, "http://127.0.0.1:8080")
	for _, row := range []struct{ allow, reason string }{{"*.example", fire.HostNotAllowed}, {"shop.example", ""}} {
		g := guard(t, target, func(cfg *fire.GuardConfig) {
			cfg.Allow = append(cfg.Allow, row.allow)
			cfg.Resolver, cfg.Production = new(resolver), []fire.Address{{HostPort: "shop.example"}}
		})
		s := sender(t, target, func(cfg *fire.SenderConfig) { cfg.Guard, cfg.Host = g, "recorded" })
		_, reason := s.Prepare(exchange("GET /\nHost: shop.example", ""), fire.Mark{})
		require.Equal(t, row.reason, reason)
		_, reason = s.Prepare(exchange("GET /\nHost: shop.example.:443", ""), fire.Mark{})
		require.Equal(t, row.reason, reason)
	}
}

func TestNothingIsSentOnceHalted(t *testing.T) {
	target := listen(t, answering(ok))
	g := guard(t, target, nil)
	for _, protocol := range []fire.Protocol{fire.AsRecorded, fire.OnlyHTTP2} {
		s := sender(t, target, func(cfg *fire.SenderConfig) { cfg.Guard, cfg.Protocol, cfg.Retries = g, protocol, 3 })
		if protocol == fire.AsRecorded {
			require.Empty(t, fireOne(t, s, get()).Reason)
			require.Equal(t, 1, s.Stats().Idle)
		}
		g.Halt()
		shot, _ := s.Prepare(get(), fire.Mark{})
		require.False(t, s.Begin(shot))
		answer := s.Fire(t.Context(), shot)
		require.Equal(t, fire.Canceled, answer.Reason)
		require.Equal(t, 1, answer.Attempts)
		require.Zero(t, s.Stats().Open)
	}
	_, ok := g.Admit(get())
	require.True(t, ok, "it is not refused for good: who resumes sends it")
}

func TestMarksCannotBeChanged(t *testing.T) {
	target := parseURL(t, "http://127.0.0.1:8080")
	for _, name := range []string{"Reprise-Replay", "reprise-replay", "REPRISE-Exchange-Id", "Reprise-Capture-Time", "Reprise-Original-Host", "Reprise-Any"} {
		for _, cfg := range []fire.SenderConfig{
			{RemoveHeaders: []string{name}},
			{SetHeaders: exchange("GET /\n"+name+": no", "").Request.Headers},
		} {
			cfg.Target, cfg.Run, cfg.Guard = target, "test", guard(t, target, nil)
			_, err := fire.NewSender(cfg)
			require.ErrorContains(t, err, "every request is marked as a replay", name)
		}
	}
	s := sender(t, target, nil)
	shot, reason := s.Prepare(exchange("GET /\nHost: shop.example\nReprise-Replay: other;loop=9\nreprise-exchange-id: 1\nConnection: close, Reprise-Replay", ""), fire.Mark{Loop: 2, Clone: 3})
	require.Empty(t, reason)
	req, _ := mustParse(t, shot.Bytes())
	require.Equal(t, []string{"test;loop=2;clone=3"}, req.Header["Reprise-Replay"])
	require.Len(t, req.Header["Reprise-Exchange-Id"], 1)
	require.Equal(t, "shop.example", req.Header.Get("Reprise-Original-Host"))
	require.Empty(t, req.Header["Connection"])
}

func FuzzProduction(f *testing.F) {
	for _, s := range []string{"shop.example", "10.0.0.7:443", "10.0.0.0/8", "*.example", "::ffff:10.0.0.0/104", "0x7f.1:80", "fe80::1%eth0", "[::1]"} {
		f.Add(s, "preprod.internal")
	}
	names := new(resolver)
	names.set("preprod.internal", "10.0.0.7")
	f.Fuzz(func(t *testing.T, s, target string) {
		a, err := fire.ParseProduction(s, "--production")
		if err != nil {
			require.Equal(t, fault.Usage, fault.Code(err))
			return
		}
		// What can be named as production can be looked for in any target.
		_, _ = fire.NewGuard(t.Context(), fire.GuardConfig{
			Target: &url.URL{Scheme: "http", Host: target}, Allow: []string{target}, Resolver: names, Production: []fire.Address{a},
		})
	})
}

func FuzzHandshake(f *testing.F) {
	f.Add("X-Preprod: yes", "/")
	f.Fuzz(func(t *testing.T, header, path string) {
		h, err := fire.ParseHandshake(header, path)
		if err == nil && h != nil {
			require.NotEmpty(t, h.Value)
			req, err := http.NewRequest(http.MethodHead, "http://preprod"+path, http.NoBody)
			if err == nil {
				require.Equal(t, "preprod", req.URL.Host, "the path leads nowhere else")
			}
		}
	})
}
