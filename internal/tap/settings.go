package tap

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/reprise-io/reprise/internal/control"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/filter"
	"github.com/reprise-io/reprise/internal/rewrite"
	"github.com/reprise-io/reprise/internal/sample"
	"github.com/reprise-io/reprise/internal/traffic"
	reprisev1 "github.com/reprise-io/reprise/proto/reprise/v1"
)

// Settings are what of a tap can be changed while it runs. The zero value captures nothing.
type Settings struct {
	Capture   bool // false: traffic passes, nothing is recorded
	Sample    sample.Share
	Include   []string // filters; none: everything
	Exclude   []string // filters; stronger than Include
	RateLimit float64  // exchanges a second; 0: no limit

	// What no command changes.
	SampleBy sample.Unit // "": by session
	Keep     sample.Keep // of each route at least; zero: what the share keeps
	Rules    *Rules      // nil: there is no rules file
}

// The verbs of commands to taps, one for each of the Settings.
const (
	verbCapture   = "capture"
	verbSample    = "sample"
	verbInclude   = "include"
	verbExclude   = "exclude"
	verbRateLimit = "rate-limit"
)

// verbs are in the order in which people are told.
func verbs() []string {
	return []string{verbCapture, verbSample, verbInclude, verbExclude, verbRateLimit}
}

// set changes what a verb names. On an error, nothing is changed.
func (s *Settings) set(verb, argument string) error {
	switch verb {
	case verbCapture:
		on, err := ParseCapture(argument)
		if err == nil {
			s.Capture = on
		}
		return err
	case verbSample:
		share, err := sample.ParseShare(argument)
		if err == nil {
			s.Sample = share
		}
		return err
	case verbInclude:
		return setList(&s.Include, argument)
	case verbExclude:
		return setList(&s.Exclude, argument)
	case verbRateLimit:
		rate, err := ParseRate(argument)
		if err == nil {
			s.RateLimit = rate
		}
		return err
	}
	return fault.BadUsage(fmt.Sprintf("unknown verb %q", verb), "", strings.Join(verbs(), ", "))
}

// argument writes what a verb names as a command's argument; set reads it.
func (s *Settings) argument(verb string) string {
	switch verb {
	case verbCapture:
		return onOff(s.Capture)
	case verbSample:
		return s.Sample.String()
	case verbInclude:
		return listArgument(s.Include)
	case verbExclude:
		return listArgument(s.Exclude)
	case verbRateLimit:
		return strconv.FormatFloat(s.RateLimit, 'g', -1, 64)
	}
	return ""
}

// say writes what a verb names for people.
func (s *Settings) say(verb string) string {
	switch verb {
	case verbInclude:
		return sayList(s.Include, "everything")
	case verbExclude:
		return sayList(s.Exclude, "nothing")
	case verbRateLimit:
		if s.RateLimit == 0 {
			return "none"
		}
		return s.argument(verb) + "/s"
	}
	return s.argument(verb)
}

func sayList(list []string, none string) string {
	if len(list) == 0 {
		return none
	}
	return strings.Join(list, ", ")
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

// maxFilters bounds a list: each costs time for every exchange.
const maxFilters = 256

func setList(to *[]string, argument string) error {
	var list []string
	if err := json.Unmarshal([]byte(argument), &list); err != nil {
		return fault.BadUsage(fmt.Sprintf("bad list of filters %q", argument), err.Error(), `a JSON array of strings: ["GET /api/**"]`)
	}
	if err := checkFilters(list); err != nil {
		return err
	}
	*to = list
	return nil
}

func checkFilters(list []string) error {
	if len(list) > maxFilters {
		return fault.BadUsage(fmt.Sprintf("%d filters are too many", len(list)), fmt.Sprintf("at most %d are read", maxFilters), "one expression with ||")
	}
	for _, f := range list {
		if !utf8.ValidString(f) { // reports could not tell it
			return fault.BadUsage(fmt.Sprintf("bad filter %q", f), "it is no UTF-8", "")
		}
	}
	_, err := filter.CompileSet(list, nil)
	return err
}

func listArgument(list []string) string {
	if list == nil {
		list = []string{}
	}
	b, err := json.Marshal(list)
	if err != nil {
		return "[]" // strings always can be written
	}
	return string(b)
}

// ParseCapture reads "on" or "off".
func ParseCapture(s string) (on bool, err error) {
	switch s {
	case "on":
		return true, nil
	case "off":
		return false, nil
	}
	return false, fault.BadUsage(fmt.Sprintf("bad --capture %q", s), "", "on or off")
}

// ParseRate reads a number of exchanges a second; 0 is no limit.
func ParseRate(s string) (float64, error) {
	rate, err := strconv.ParseFloat(s, 64)
	if err != nil {
		rate = -1
	}
	return rate, checkRate(rate, s)
}

func checkRate(rate float64, s string) error {
	if !(rate >= 0) || math.IsInf(rate, 1) {
		return fault.BadUsage(fmt.Sprintf("bad --rate-limit %q", s), "want exchanges a second, or 0 for no limit", "--rate-limit 500")
	}
	return nil
}

// Check reports what is wrong with the settings.
func (s *Settings) Check() error {
	if err := checkRate(s.RateLimit, fmt.Sprint(s.RateLimit)); err != nil {
		return err
	}
	if err := checkFilters(s.Include); err != nil {
		return err
	}
	return checkFilters(s.Exclude)
}

// obeying returns the settings with the commands on top. Commands have been checked before.
func (s Settings) obeying(commands []control.Command) Settings {
	for _, c := range commands {
		_ = s.set(c.GetVerb(), c.GetArgument())
	}
	return s
}

// proto is how reports tell the settings.
func (s *Settings) proto() *reprisev1.TapSettings {
	return &reprisev1.TapSettings{
		Capture: s.Capture, Sample: s.Sample.String(), Include: slices.Clone(s.Include), Exclude: slices.Clone(s.Exclude),
		RateLimit: s.RateLimit,
	}
}

// inForce are compiled settings, as the workers read them. A value is never changed.
type inForce struct {
	Settings
	filter *filter.Set   // nil: everything
	rules  *filter.Set   // of the rules file; nil: everything
	quota  *sample.Quota // nil: the share alone decides
	limit  *limiter
}

// compile returns the settings as the workers need them. Where the rate stays as it was in old, so does what is spent of it.
func (s Settings) compile(old *inForce) (*inForce, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	f := &inForce{Settings: s, limit: &limiter{rate: s.RateLimit}}
	if old != nil && old.RateLimit == s.RateLimit {
		f.limit = old.limit
	}
	if len(s.Include)+len(s.Exclude) > 0 {
		set, err := filter.CompileSet(s.Include, s.Exclude)
		if err != nil {
			return nil, err
		}
		f.filter = set
	}
	switch {
	case old != nil && old.Keep == s.Keep:
		f.quota = old.quota
	case s.Keep.Given():
		f.quota = sample.NewQuota(s.Keep)
	}
	if f.SampleBy == "" {
		f.SampleBy = sample.BySession
	}
	if s.Rules != nil {
		f.rules = s.Rules.Filter
	}
	return f, nil
}

// closed names why nothing is recorded; empty: it is.
func (f *inForce) closed() string {
	switch {
	case !f.Capture:
		return reasonCaptureOff
	case f.Rules != nil && f.Rules.Unknown:
		return reasonBadRules
	}
	return ""
}

func (f *inForce) sessionKey() rewrite.Key {
	if f.Rules == nil {
		return nil
	}
	return f.Rules.SessionKey
}

// samples reports whether x is kept: by the share, or because its route is rare, which x then tells.
func (f *inForce) samples(x *traffic.Exchange, now time.Time) bool {
	keep := f.Sample.Keeps(x.SampleHash)
	if f.quota != nil && f.quota.Take(x, keep, now) {
		x.Flags |= traffic.KeptByQuota
		return true
	}
	return keep
}

// keeps reports whether the filters want x.
func (f *inForce) keeps(x *traffic.Exchange) bool {
	for _, set := range []*filter.Set{f.filter, f.rules} {
		if keep, _ := set.Keep(x); !keep {
			return false
		}
	}
	return true
}
