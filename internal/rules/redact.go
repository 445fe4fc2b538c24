package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/secret"
	"github.com/reprise-io/reprise/internal/yamlfile"
)

// Redact is the section that says what is replaced before anything is stored.
type Redact struct {
	Defaults  string       `yaml:"defaults" enum:"on,off" default:"on" doc:"credentials, cookies, named keys and what detectors find; off: only the rules here, and the detectors that are named"`
	Rules     []RedactRule `yaml:"rules" doc:"values by where they stand; they come before the built-in rules"`
	Detectors Detectors    `yaml:"detectors" doc:"what is looked for wherever it stands"`
	Key       secret.Ref   `yaml:"key" doc:"key of the pseudonyms, as env:NAME or file:PATH, in the place of --redact-key; read with this file, so that a reload takes another"`
	KeyID     string       `yaml:"key-id" doc:"name of the key in the record; default: made of the key"`
}

// Detectors turns detectors on and off, by the names of kinds.
type Detectors struct {
	On  []string `yaml:"on" doc:"kinds that are off by default"`
	Off []string `yaml:"off" doc:"kinds that are on by default"`
}

// RedactRule names values of one place of messages.
type RedactRule struct {
	Name      string `yaml:"name" doc:"the rule's name in the record; default: the place, such as header:X-Loyalty"`
	Header    string `yaml:"header" doc:"field name; * stands for any characters"`
	Cookie    string `yaml:"cookie" doc:"cookie name"`
	Query     string `yaml:"query" doc:"name of a parameter of the target"`
	Form      string `yaml:"form" doc:"field name of an urlencoded form"`
	Multipart string `yaml:"multipart" doc:"field name of a multipart form"`
	JSON      string `yaml:"json" doc:"path: $.user.cards[*].no, $..token, $['x y'][0]"`
	XML       string `yaml:"xml" doc:"path: /order/card, //pan, /order/*/@no"`
	GRPC      string `yaml:"grpc" doc:"method and field numbers: /shop.Cart/*:1.3"`
	Body      string `yaml:"body" doc:"regular expression (RE2) on the decoded body; of one with a group, what the group matches"`
	Action    string `yaml:"action" enum:"hash,mask,drop,replace" default:"hash" doc:"hash: a pseudonym of the same shape and length; mask: stars; drop: taken out with its name; replace: another text"`
	Kind      string `yaml:"kind" doc:"what the value is, for its pseudonym: secret (default), cn-mobile, cn-id, card, email …"`
	With      string `yaml:"with" doc:"what replace puts in"`
	On        string `yaml:"on" enum:"both,request,response" default:"both" doc:"which messages"`
	Where     string `yaml:"where" doc:"METHOD and path of the requests that it is for: 'POST /api/**'"`
}

// maxKeyID bounds the name of a key: it stands in every redaction.
const maxKeyID = 32

// Check implements yamlfile.Checker.
func (s *Redact) Check(f *yamlfile.File) {
	if len(s.KeyID) > maxKeyID {
		f.At(&s.KeyID, "key-id is longer than %d bytes: it stands in every record", maxKeyID)
	}
	for _, list := range [...][]string{s.Detectors.On, s.Detectors.Off} {
		for i := range list {
			if _, ok := redact.KindNamed(list[i]); !ok || list[i] == redact.Secret.String() {
				f.At(&list[i], "unknown detector %q: want one of %s", list[i], strings.Join(redact.DetectorNames(), ", "))
			}
		}
	}
}

// Check implements yamlfile.Checker.
func (r *RedactRule) Check(f *yamlfile.File) {
	s, at, err := r.selector()
	if err == nil {
		err = s.Check()
	}
	if err != nil {
		f.At(at, "%s", err)
	}
}

// selector is the rule as the engine has it. at is what is wrong, when it is.
func (r *RedactRule) selector() (s redact.Selector, at any, err error) {
	s = redact.Selector{Name: r.Name, With: r.With, Only: r.Where}
	at = r
	for _, p := range [...]struct {
		name string
		path *string
		part redact.Part
	}{
		{"header", &r.Header, redact.InHeader},
		{"cookie", &r.Cookie, redact.InCookie},
		{"query", &r.Query, redact.InQuery},
		{"form", &r.Form, redact.InForm},
		{"multipart", &r.Multipart, redact.InMultipart},
		{"json", &r.JSON, redact.InJSON},
		{"xml", &r.XML, redact.InXML},
		{"grpc", &r.GRPC, redact.InGRPC},
		{"body", &r.Body, redact.InBody},
	} {
		switch {
		case *p.path == "":
		case s.Part != 0:
			return s, p.path, fmt.Errorf("a rule is for one place: %s is the second one", p.name)
		default:
			s.Part, s.Path, at = p.part, *p.path, p.path
			if s.Name == "" {
				s.Name = p.name + ":" + *p.path
			}
		}
	}
	if s.Part == 0 {
		return s, r, fmt.Errorf("a rule says what it is for: header, cookie, query, form, multipart, json, xml, grpc or body")
	}
	var known bool
	if s.Kind, known = redact.KindNamed(r.Kind); !known && r.Kind != "" {
		return s, &r.Kind, fmt.Errorf("unknown kind %q: want %s or one of %s", r.Kind, redact.Secret, strings.Join(redact.DetectorNames(), ", "))
	}
	switch r.Action {
	case "mask":
		s.Action = redact.Mask
	case "drop":
		s.Action = redact.Drop
	case "replace":
		s.Action = redact.Replace
	}
	if r.With != "" && s.Action != redact.Replace {
		return s, &r.With, fmt.Errorf("with is the text of the action replace")
	}
	switch r.On {
	case "request":
		s.On = redact.Requests
	case "response":
		s.On = redact.Answers
	}
	if r.Where != "" {
		where, err := filter.Compile(r.Where)
		if err == nil && !strings.Contains(r.Where, "/") || err == nil && !where.HeaderOnly() {
			err = fmt.Errorf("where is METHOD and path, as in 'POST /api/**': %q", r.Where)
		}
		if err != nil {
			return s, &r.Where, err
		}
		s.Where = func(method, path []byte) bool {
			is, err := where.MatchHeaders(filter.Meta{Method: string(method), Path: string(path)})
			return is || err != nil // what cannot be told is redacted
		}
	}
	return s, at, nil
}

// Options are what the section comes to, with the version of the file; key and id are those of the flags, which count where
// the section names no key. The error is that its key cannot be read.
func (s *Redact) Options(version uint32, key []byte) (redact.Options, error) {
	o := redact.Options{Key: key, KeyID: s.KeyID, Rules: s.Set(version)}
	if s.Key.Given() {
		var err error
		if o.Key, err = s.Key.Read(); err != nil {
			return o, fault.BadUsage("cannot read the redact key of the rules file, "+s.Key.String(), err.Error(), "head -c 32 /dev/urandom | base64")
		}
		if len(o.Key) < redact.ShortestKey {
			return o, fault.BadUsage(fmt.Sprintf("the redact key of the rules file, %s, has %d bytes, want at least %d", s.Key, len(o.Key), redact.ShortestKey),
				"", "head -c 32 /dev/urandom | base64")
		}
	}
	return o, nil
}

// Set is the rule set: the built-in one with the changes of the section.
func (s *Redact) Set(version uint32) *redact.Rules {
	r := redact.DefaultRules()
	if s.Defaults == "" && len(s.Rules)+len(s.Detectors.On)+len(s.Detectors.Off) == 0 {
		return r // and the built-in version: records are the same with and without the file
	}
	r.Version = version
	if s.Defaults == "off" {
		r = r.Bare()
	}
	for i := range s.Rules {
		if selector, _, err := s.Rules[i].selector(); err == nil { // it was checked
			r.Selectors = append(r.Selectors, selector)
		}
	}
	for _, name := range s.Detectors.On {
		if k, ok := redact.KindNamed(name); ok && !slices.Contains(r.Detectors, k) {
			r.Detectors = append(r.Detectors, k)
		}
	}
	for _, name := range s.Detectors.Off {
		if k, ok := redact.KindNamed(name); ok {
			r.Detectors = slices.DeleteFunc(r.Detectors, func(d redact.Kind) bool { return d == k })
		}
	}
	return r
}
