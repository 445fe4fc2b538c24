package rules

import (
	"time"

	"github.com/reprise-io/reprise/internal/rewrite"
	"github.com/reprise-io/reprise/internal/yamlfile"
)

// Session is the section that keeps sessions going: key is the tap's, the rest the replayer's.
type Session struct {
	Key         []string      `yaml:"key" doc:"by what the tap tells sessions apart where no session cookie does: header Authorization, or answer json $.token for the log-in that gives it"`
	Jar         bool          `yaml:"jar" default:"false" doc:"cookies that the target sets replace recorded ones of the same name"`
	Extract     []Extract     `yaml:"extract" doc:"values of the target's answers that stand for recorded ones later in the session"`
	Inject      []Inject      `yaml:"inject" doc:"where values with a name are put, if not wherever the recorded one stands"`
	Credentials []Credentials `yaml:"credentials" doc:"tokens for the target; what was answered 401 or 403 stays without"`
	Missing     string        `yaml:"missing" enum:"send,refuse" default:"send" doc:"what becomes of a request whose value has not come: sent as it was recorded, or not at all"`
	Wait        time.Duration `yaml:"wait" doc:"for how long a request waits for the answer that brings its value; default: --order-wait"`
	Remember    int           `yaml:"remember" default:"65536" doc:"sessions that are remembered at most; they take no more than 32 MiB"`
}

// Extract is one value of an answer.
type Extract struct {
	Name   string `yaml:"name" doc:"by which inject knows it; else it replaces the recorded value wherever that stands"`
	From   string `yaml:"from" doc:"filter: of the answers to which requests; none: of all"`
	Header string `yaml:"header" doc:"a header of the answer"`
	Cookie string `yaml:"cookie" doc:"a cookie that the answer sets"`
	JSON   string `yaml:"json" doc:"path of one value in its body: $.user.id, $.items[0]['id'], $..id for the first of that name"`
	Body   string `yaml:"body" doc:"regular expression for its body; the first group is the value"`
}

// Inject is one place in requests.
type Inject struct {
	Value string `yaml:"value,required" doc:"name of the extracted value"`
	Into  string `yaml:"into,required" doc:"header NAME, cookie NAME, query NAME, segment N (of the path, from 1), form NAME or json $.PATH"`
	As    string `yaml:"as" doc:"with ${} for the value: 'Bearer ${}'"`
	Where string `yaml:"where" doc:"filter: only in requests that match"`
}

// place is where the value is; ok is false when there is none, or several.
func (e *Extract) place() (text string, ok bool) {
	n := 0
	for _, one := range [][2]string{{"header ", e.Header}, {"cookie ", e.Cookie}, {"json ", e.JSON}, {"body ", e.Body}} {
		if one[1] != "" {
			text = one[0] + one[1]
			n++
		}
	}
	return text, n == 1
}

// Check implements yamlfile.Checker.
func (e *Extract) Check(f *yamlfile.File) {
	checkFilter(f, &e.From)
	text, ok := e.place()
	if !ok {
		f.At(e, "want one of header, cookie, json and body")
		return
	}
	if _, err := rewrite.ParsePlace(text); err != nil {
		f.At(e, "%s", err)
	}
}

// Check implements yamlfile.Checker.
func (i *Inject) Check(f *yamlfile.File) {
	checkFilter(f, &i.Where)
	checkPlace(f, &i.Into, rewrite.Place.InRequest)
}

// Check implements yamlfile.Checker.
func (s *Session) Check(f *yamlfile.File) {
	for i := range s.Key {
		if _, err := rewrite.ParseKey(s.Key[i : i+1]); err != nil {
			f.At(&s.Key[i], "%s", err)
		}
	}
	if s.Wait < 0 {
		f.At(&s.Wait, "wait cannot be below 0")
	}
	if s.Remember < 0 {
		f.At(&s.Remember, "remember cannot be below 0")
	}
	names := make(map[string]bool)
	for _, e := range s.Extract {
		names[e.Name] = e.Name != ""
	}
	for i := range s.Inject {
		if v := &s.Inject[i].Value; !names[*v] {
			f.At(v, "no value %q is extracted", *v)
		}
	}
}

// By is by what sessions are told apart.
func (s *Session) By() (rewrite.Key, error) { return rewrite.ParseKey(s.Key) }

// Options are what the section comes to, without its credentials.
func (s *Session) Options() (o rewrite.Options, err error) {
	o = rewrite.Options{Jar: s.Jar, Refuse: s.Missing == "refuse", Sessions: s.Remember}
	for _, e := range s.Extract {
		one := rewrite.Extract{Name: e.Name}
		if one.From, err = matcher(e.From); err != nil {
			return o, err
		}
		text, _ := e.place()
		if one.Place, err = rewrite.ParsePlace(text); err != nil {
			return o, err
		}
		o.Extract = append(o.Extract, one)
	}
	for _, i := range s.Inject {
		one := rewrite.Inject{Value: i.Value, As: i.As}
		if one.Where, err = matcher(i.Where); err != nil {
			return o, err
		}
		if one.Into, err = rewrite.ParsePlace(i.Into); err != nil {
			return o, err
		}
		o.Inject = append(o.Inject, one)
	}
	return o, nil
}
