package redact

// keyTable has the shapes by the byte before the last of their prefix: what stands there tells most dashes and underscores of text from
// those of keys.
type keyTable [256][]keyShape

func newKeyTable() *keyTable {
	t := new(keyTable)
	for _, s := range markedKeys() {
		c := s.prefix[len(s.prefix)-2]
		t[c] = append(t[c], s)
	}
	return t
}

// at returns the key whose prefix ends with the dash or underscore at j.
func (t *keyTable) at(v []byte, floor, j int) (span, bool) {
	if j <= floor {
		return span{}, false
	}
	s, ok := prefixed(v, floor, j, t[v[j-1]]...)
	return s, ok && (v[j-1] != 'k' || isRandom(v[j+1:s.to])) // words may stand behind sk-
}

// markedKeys are the shapes whose prefix ends with a dash or an underscore.
func markedKeys() []keyShape {
	var list []keyShape
	add := func(least, most int, alphabet func(byte) bool, prefixes ...string) {
		for _, p := range prefixes {
			list = append(list, keyShape{p, least, most, alphabet})
		}
	}
	add(20, longest, isBase64URL, "sk-")                                     // OpenAI, Anthropic and others
	add(30, longest, isAlphanumeric, "ghp_", "gho_", "ghu_", "ghs_", "ghr_") // GitHub
	add(40, longest, isWordByte, "github_pat_")
	add(20, longest, isBase64URL, "glpat-", "glptt-", "gldt-", "glrt-", "glrtr-", "glcbt-", "glft-", "glffct-", "glimt-", "gloas-", "glsoat-", "glagent-") // GitLab
	add(16, longest, isAlphanumeric, "sk_live_", "sk_test_", "rk_live_", "rk_test_")                                                                       // Stripe
	add(24, longest, isBase64, "whsec_")
	add(10, longest, isBase64URL, "xoxa-", "xoxb-", "xoxc-", "xoxe-", "xoxo-", "xoxp-", "xoxr-", "xoxs-") // Slack
	add(20, longest, isBase64URL, "xapp-")
	add(32, 32, isHex, "shpat_", "shpca_", "shppa_", "shpss_")  // Shopify
	add(64, 64, isHex, "dop_v1_", "doo_v1_", "dor_v1_")         // DigitalOcean
	add(30, longest, isAlphanumeric, "npm_", "hf_", "api_org_") // and Hugging Face
	add(50, longest, isBase64URL, "pypi-")
	add(48, 48, isHex, "rubygems_")
	add(60, 60, isAlphanumeric, "CLOJARS_")
	add(27, longest, isBase64URL, "dckr_pat_") // Docker
	add(41, 41, isWordByte, "glsa_")           // Grafana
	add(32, longest, isBase64, "glc_")
	add(40, 40, isAlphanumeric, "lin_api_") // Linear
	add(64, 64, isHex, "lin_oauth_")
	add(32, 64, isKeyByte, "pscale_tkn_", "pscale_pw_", "pscale_oauth_") // PlanetScale
	add(60, longest, isKeyByte, "sntrys_")                               // Sentry
	add(64, 64, isHex, "sntryu_")
	add(43, 43, isBase64URL, "fo1_") // Fly.io
	add(60, longest, isBase64, "fm1_", "fm1a_", "fm1r_", "fm2_")
	add(40, 50, isAlphanumeric, "ntn_")                               // Notion
	add(40, longest, isBase64URL, "figd_")                            // Figma
	add(36, 36, isAlphanumeric, "pnu_")                               // Prefect
	add(48, 60, isAlphanumeric, "gsk_")                               // Groq
	add(40, 57, isWordByte, "sgp_")                                   // Sourcegraph
	add(70, 70, isAlphanumeric, "rdme_")                              // ReadMe
	add(40, 70, isBase64URL, "tfp_")                                  // Typeform
	add(36, 44, isAlphanumeric, "nfp_")                               // Netlify
	add(37, 37, isAlphanumeric, "r8_")                                // Replicate
	add(40, 40, isHex, "sbp_", "bkua_")                               // Supabase, Buildkite
	add(40, 40, isHex, "shippo_live_", "shippo_test_")                // Shippo
	add(40, 64, isKeyByte, "duffel_live_", "duffel_test_")            // Duffel
	add(16, longest, isAlphanumeric, "sm_aat_", "sm_pat_", "sm_sat_") // SettleMint
	add(200, 2*longest, isBase64, "ops_")                             // 1Password
	add(59, 59, isBase64URL, "PMAK-")                                 // Postman
	add(27, 27, isCapitalOrDigit, "NRAK-")                            // New Relic
	add(50, 64, isBase64URL, "HRKU-")                                 // Heroku
	add(32, 34, isBase64URL, "FLWSECK-")                              // Flutterwave
	add(12, 34, isBase64URL, "FLWSECK_TEST-")
	add(22, 60, isBase64URL, "sq0atp-", "sq0csp-")   // Square
	add(60, 70, isBase64URL, "nvapi-")               // NVIDIA
	add(48, 64, isAlphanumeric, "pplx-")             // Perplexity
	add(30, 60, isBase64URL, "tvly-")                // Tavily
	add(81, 81, isBase64URL, "xkeysib-")             // Brevo
	add(40, 40, isHex, "pul-")                       // Pulumi
	add(32, 32, isAlphanumeric, "ico-", "p8e-")      // Infracost, Adobe
	add(64, 64, isKeyByte, "fio-u-")                 // Frame.io
	add(48, 48, isBase64URL, "tk-us-")               // Scalingo
	add(26, 26, isCapitalOrDigit, "API-")            // Octopus Deploy
	add(28, 2*longest, isBase64, "bedrock-api-key-") // Amazon
	add(59, 59, isCapitalOrDigit, "AGE-SECRET-KEY-") // age
	return list
}

// isKeyByte reports whether c is of what makers draw keys from that are no Base64.
func isKeyByte(c byte) bool { return isBase64URL(c) || c == '=' || c == '.' || c == '+' || c == '/' }
