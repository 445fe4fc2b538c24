package redact

// Rules is a rule set as data. DefaultRules gives the built-in one; a rules file builds another.
type Rules struct {
	Version   uint32       // written into every redaction; raise it whenever the set or its meaning changes
	Keys      []KeyRule    // named values in queries, forms, JSON and multipart forms; the first match counts
	Headers   []HeaderRule // by whole name; what is not listed is tried against HeaderWords
	Words     KeyRule      // a header with one of these words in its name is a credential
	Selectors []Selector   `json:",omitempty"` // values by place; they come before all others
	Detectors []Kind       // values that are looked for everywhere; Secret has none
}

// KeyRule names keys whose values are replaced. Names are written in lower case without separators: "apikey" stands
// for api_key, API-Key and apiKey.
type KeyRule struct {
	Name     string   // the rule's name in the record
	Kind     Kind     // domain and shape for values that no detector knows
	Words    []string // match the end of a key from the start of a word: "token" is in access_token, not in tokens
	Glued    []string // match the end of a key, inside a word too: authtoken
	Exact    []string // match a whole key
	TextOnly []string // as Words, for strings only: tokens=12 is a count, pass=3 a result

	Action   Treatment `json:",omitempty"`
	With     string    `json:",omitempty"` // what Replace writes
	selected bool      // made of a Selector
}

// HeaderRule says what happens to the header fields with these names (lower case).
type HeaderRule struct {
	Name   string // the rule's name in the record
	Action Action
	Names  []string
}

// Action is what happens to a header field.
type Action uint8

// The actions.
const (
	Scan          Action = iota // look for values, and for URLs and JSON with named keys
	Keep                        // structural: digits in it mean nothing, and changing them breaks the message
	Credential                  // replace the whole value
	Authorization               // keep the scheme and names of parameters, replace the rest
	Cookie                      // replace every cookie's value
	SetCookie                   // replace the cookie's value, keep its attributes
	URL                         // treat as a request target
	Agent                       // as Scan, but addresses stay: they are those of robots' owners
	Protocols                   // replace the credentials among the protocols of a websocket
)

// Kind is the type of a value: it names the domain of its pseudonym and the shape that is kept.
type Kind uint8

// The kinds. Equal values of one kind get equal pseudonyms wherever they stand.
const (
	Secret   Kind = iota + 1 // passwords, tokens, cookies: one domain, so that a login's token joins with its later use
	Mobile                   // mainland Chinese mobile number
	IDNumber                 // mainland Chinese resident identity number, 18 or (old) 15 characters
	Card                     // payment card number
	Email
	Landline      // mainland Chinese landline number with its area code
	IBAN          // international bank account number
	Passport      // Chinese passport number beside a word for it
	PassportShape // what looks like one, anywhere
	JWT           // JSON web token
	APIKey        // key whose maker marked it with a prefix: AKIA…, ghp_…, sk_live_…
	Bearer        // what follows "Bearer "
	PrivateKey    // content of a PEM block

	lastKind = PrivateKey
)

// AllKinds returns every kind that a detector knows, also those that are off by default.
func AllKinds() []Kind {
	return append(DefaultRules().Detectors, PassportShape)
}

// domain is where equal values get equal pseudonyms: a token is the same beside its name, where only the name tells that it is secret.
func (k Kind) domain() string {
	switch k {
	case JWT, APIKey, Bearer, PrivateKey:
		return Secret.String()
	case PassportShape:
		return Passport.String()
	}
	return k.String()
}

// KindNamed returns the kind of that name.
func KindNamed(name string) (Kind, bool) {
	for k := Secret; k <= lastKind; k++ {
		if k.String() == name {
			return k, true
		}
	}
	return 0, false
}

// String returns the kind's name, which the record has as the rule's; it is the pseudonym's domain but for credentials.
func (k Kind) String() string {
	switch k {
	case Mobile:
		return "cn-mobile"
	case IDNumber:
		return "cn-id"
	case Card:
		return "card"
	case Email:
		return "email"
	case Landline:
		return "cn-landline"
	case IBAN:
		return "iban"
	case Passport:
		return "passport"
	case PassportShape:
		return "passport-shape"
	case JWT:
		return "jwt"
	case APIKey:
		return "api-key"
	case Bearer:
		return "bearer"
	case PrivateKey:
		return "private-key"
	default:
		return "secret"
	}
}

// DefaultRules returns the set that applies without a rules file.
func DefaultRules() *Rules {
	return &Rules{
		Version: 3,
		Keys: []KeyRule{
			{
				Name: "credential-key", Kind: Secret,
				Words: []string{
					"password", "passwd", "pwd", "passphrase", "passcode", "passwords", "token", "secret", "secrets",
					"apikey", "appkey", "accesskey", "accesskeyid", "secretkey", "privatekey", "authkey", "authorization",
					"credential", "credentials", "session", "sessionid", "sessionkey", "sid", "jwt", "bearer", "otp", "pin",
					"pincode", "signature", "cookie", "cookies", "codeverifier", "assertion", "samlresponse",
				},
				Glued:    []string{"password", "passwd", "passphrase", "token", "secret", "apikey", "sessid", "sessionid"},
				Exact:    []string{"sig", "密码", "口令"},
				TextOnly: []string{"pass", "tokens", "auth"},
			},
			{
				Name: "phone-key", Kind: Mobile,
				Words: []string{
					"phone", "phones", "phoneno", "phonenum", "phonenumber", "mobile", "mobiles", "mobileno", "mobilenum",
					"mobilenumber", "mobilephone", "cellphone", "tel", "telno", "telephone", "msisdn",
				},
				Exact: []string{"手机", "手机号", "手机号码", "电话", "电话号码"},
			},
			{
				Name: "identity-key", Kind: IDNumber,
				Words: []string{
					"idcard", "idcardno", "idcardnum", "idcardnumber", "idnumber", "idno", "identityno", "identitynumber",
					"identitycard", "ssn", "socialsecuritynumber", "nationalid", "citizenid", "passport", "passportno",
					"passportnumber", "certno",
				},
				Exact: []string{"identity", "身份证", "身份证号", "身份证号码"},
			},
			{
				Name: "card-key", Kind: Card,
				Words: []string{
					"cardno", "cardnum", "cardnumber", "creditcard", "debitcard", "bankcard", "bankaccount", "accountnumber",
					"iban", "cvv", "cvc", "cvn", "securitycode",
				},
				Exact: []string{"card", "pan", "银行卡", "银行卡号"},
			},
			{
				Name: "email-key", Kind: Email,
				Words: []string{"email", "emails", "emailaddress"},
				Exact: []string{"mail", "邮箱"},
			},
		},
		Headers: []HeaderRule{
			{Name: "authorization-header", Action: Authorization, Names: []string{
				"authorization", "proxy-authorization", "x-authorization", "x-original-authorization",
				"x-forwarded-authorization", "authentication-info", "proxy-authentication-info",
			}},
			{Name: "cookie", Action: Cookie, Names: []string{"cookie", "cookie2", "x-cookie"}},
			{Name: "cookie", Action: SetCookie, Names: []string{"set-cookie", "set-cookie2"}},
			{Name: "credential-header", Action: Credential, Names: []string{"x-vault-key", "x-functions-key", "x-goog-iap-jwt-assertion"}},
			{Name: "url", Action: URL, Names: []string{
				"location", "content-location", "referer", "referrer", "destination", "x-original-url", "x-rewrite-url",
				"x-original-uri", "x-forwarded-uri", "x-request-uri",
			}},
			{Name: "agent", Action: Agent, Names: []string{"user-agent", "x-user-agent", "x-original-user-agent", "x-device-user-agent"}},
			{Name: "credential-header", Action: Protocols, Names: []string{"sec-websocket-protocol"}},
			{Name: "structural", Action: Keep, Names: []string{
				"content-length", "content-type", "content-encoding", "content-range", "range", "accept-ranges",
				"transfer-encoding", "te", "trailer", "connection", "keep-alive", "upgrade", "upgrade-insecure-requests",
				"date", "age", "expires", "last-modified", "if-modified-since", "if-unmodified-since", "etag",
				"if-match", "if-none-match", "if-range", "cache-control", "pragma", "vary", "accept", "accept-encoding",
				"accept-language", "accept-charset", "allow", "expect", "max-forwards", "www-authenticate",
				"proxy-authenticate", "strict-transport-security", "content-security-policy", "x-content-type-options",
				"x-frame-options", "access-control-allow-credentials", "access-control-allow-headers",
				"access-control-allow-methods", "access-control-expose-headers", "access-control-max-age",
				"access-control-request-headers", "access-control-request-method", "sec-fetch-site", "sec-fetch-mode",
				"sec-fetch-dest", "sec-fetch-user", "sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform",
				"sec-websocket-key", "sec-websocket-accept", "sec-websocket-version", "sec-websocket-extensions",
				"traceparent", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "retry-after",
			}},
		},
		Words: KeyRule{
			Name: "credential-header", Kind: Secret,
			Words: []string{
				"token", "secret", "password", "passwd", "pwd", "apikey", "accesskey", "secretkey", "authkey", "auth",
				"authorization", "session", "sessionid", "sid", "credential", "credentials", "signature", "jwt", "cookie",
			},
			Glued: []string{"token", "secret", "password", "passwd", "apikey", "sessionid"},
		},
		Detectors: []Kind{Mobile, IDNumber, Card, Email, Landline, IBAN, Passport, JWT, APIKey, Bearer, PrivateKey},
	}
}

// Bare returns the set without what is known by name or found by detectors: only the fields of the message's frame stay.
func (r *Rules) Bare() *Rules {
	bare := &Rules{Version: r.Version, Selectors: r.Selectors}
	for _, h := range r.Headers {
		if h.Action == Keep {
			bare.Headers = append(bare.Headers, h)
		}
	}
	return bare
}

// DetectorNames are the names of the kinds that detectors find.
func DetectorNames() (names []string) {
	for _, k := range AllKinds() {
		names = append(names, k.String())
	}
	return names
}
