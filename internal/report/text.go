package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	shownDifferences = 8
	shownBadRecords  = 5
)

// Text writes the report for people: the answer first, every loss named.
func (r *Report) Text(w io.Writer) error {
	var b strings.Builder
	kind := "run"
	if r.Live && r.Run == "live" {
		kind = "replay"
	}
	fmt.Fprintf(&b, "%s %s: %s\n", kind, r.Run, r.State)
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "  %-10s %s\n", label, fmt.Sprintf(format, args...))
	}
	if r.StoppedBy != "" {
		line("because", "%s", Printable(r.StoppedBy))
	}
	if !r.Window.From.IsZero() {
		line("window", "%s, %s", window(r.Window.From, r.Window.To), Count(int64(r.Window.Partitions), "partition"))
	}
	if load := r.load(); load != "" {
		line("load", "%s", load)
	}
	line("fired", "%s   skipped %s   refused %s   failed %s", Number(r.Fired), counted(r.Skipped), counted(r.Refused), counted(r.Failed))
	if rules := r.ruleCounts(); len(rules) > 0 {
		line("rules", "%s", strings.Join(first(rules, 8), "   "))
	}
	if r.Gone > 0 {
		line("gone", "%s offsets of the run were not in Kafka any more", Number(r.Gone))
	}
	if r.GivenUp > 0 {
		line("given up", "%s were committed and not fired: they are not fired again", Number(r.GivenUp))
	}
	r.sessionsLine(line)
	if r.Resumed > 0 {
		line("resumed", "%s were finished before this start", Number(r.Resumed))
	}
	r.limitLines(line)
	r.speedLine(line)
	if r.Lateness != (Percentiles{}) {
		line("lateness", "p50 %s   p99 %s   p99.9 %s   max %s", millis(r.Lateness.P50), millis(r.Lateness.P99), millis(r.Lateness.P999), millis(r.Lateness.Max))
	}
	if r.Failure != "" {
		line("failure", "%s", Printable(r.Failure))
	}
	if r.Fired > 0 {
		line("target", "p50 %s   p99 %s%s", millis(r.Service.P50), millis(r.Service.P99), r.besides())
		line("status", "%s", r.statusShares())
		r.answersLine(line)
		r.baselineLines(line)
		if r.NoiseRun != "" {
			line("noise", "what differs in run %s too", Printable(r.NoiseRun))
		}
	}
	if r.Late > 0 {
		line("late", "%s left out (%s)", Number(r.Late), Reasons(r.LateWhy))
	}
	if r.SentLate > 0 {
		line("late", "%s sent late (by more than --late-after), worst %s", Number(r.SentLate), millis(r.Lateness.Max))
	}
	if r.Reordered > 0 {
		line("reordered", "%s left the look-ahead before their turn was certain (--look-ahead)", Number(r.Reordered))
	}
	r.badLines(line)
	r.differLines(line)
	r.thresholdLines(line)
	_, err := io.WriteString(w, b.String())
	return err
}

// load says what made it more than the recording.
func (r *Report) load() string {
	var all []string
	if r.Clones > 1 {
		all = append(all, fmt.Sprintf("%d users for each one recorded", r.Clones))
	}
	if r.Loops > 0 {
		all = append(all, Count(int64(r.Loops), "loop"))
	}
	return strings.Join(all, "   ")
}

// ruleCounts tells what the filters of the rules file have decided, in their order.
func (r *Report) ruleCounts() (all []string) {
	for _, c := range r.Rules {
		all = append(all, fmt.Sprintf("%s %s: %s", c.List, c.Rule, Number(int64(c.Decided))))
	}
	return all
}

type liner func(label, format string, args ...any)

func (r *Report) speedLine(line liner) {
	if r.Live {
		line("speed", "live   %s/s   limited by %s", Number(int64(r.Speed.PerSecond+0.5)), r.LimitedBy)
		return
	}
	asked := "max"
	if r.Speed.Asked > 0 {
		asked = times(r.Speed.Asked)
	}
	if r.Profile != "" {
		asked += " in the mean (" + r.Profile + ")"
	}
	for i, c := range r.Commands {
		if i == 8 {
			line("command", "and %d more", len(r.Commands)-i)
			break
		}
		line("command", "%s   by %s at %s", strings.TrimSpace(c.Verb+" "+c.Argument), Printable(c.By), c.At.Format(time.DateTime))
	}
	if r.Speed.Achieved == 0 {
		limited := ""
		if r.LimitedBy != "nothing" {
			limited = "   limited by " + r.LimitedBy
		}
		line("speed", "asked %s   achieved unknown (too few requests)%s", asked, limited)
		return
	}
	line("speed", "asked %s   achieved %s   %s/s   limited by %s", asked, times(r.Speed.Achieved), Number(int64(r.Speed.PerSecond+0.5)), r.LimitedBy)
}

func (r *Report) sessionsLine(line liner) {
	s := r.Sessions
	if s == nil {
		return
	}
	text := fmt.Sprintf("%s requests with values of the target's", Number(int64(s.Changed)))
	for _, one := range []struct {
		n    uint64
		what string
	}{
		{s.Missing, "without one that had not come"},
		{s.TimedOut, "waited in vain"},
		{s.Evicted, "sessions forgotten for want of room"},
		{s.Lost, "sessions lost to other replicas"},
		{s.TakenUp, "partitions taken up in their middle, of whose sessions nothing was known"},
		{s.TokensFailed, "tokens not got"},
	} {
		if one.n > 0 {
			text += fmt.Sprintf("   %s %s", Number(int64(one.n)), one.what)
		}
	}
	line("sessions", "%s", text)
}

func (r *Report) besides() string {
	var also []string
	if r.Answered != (Percentiles{}) {
		also = append(also, "from the due time p99 "+millis(r.Answered.P99))
	}
	if r.Recorded != (Percentiles{}) {
		also = append(also, "recorded p99 "+millis(r.Recorded.P99))
	}
	if len(also) == 0 {
		return ""
	}
	return "   (" + strings.Join(also, ", ") + ")"
}

func (r *Report) statusShares() string {
	shares := make([]string, 0, len(r.Statuses))
	for _, s := range byCount(r.Statuses) {
		shares = append(shares, fmt.Sprintf("%s %s", s.name, share(s.count, r.Fired)))
	}
	return strings.Join(first(shares, 6), "   ")
}

func (r *Report) answersLine(line liner) {
	a := r.Answers
	if a.compared() == 0 {
		why := "no recorded response"
		if r.Baseline != nil {
			why = "no answer of the old build"
		}
		line("answers", "none could be compared: %s", why)
		return
	}
	line("answers", "%s", a.text())
}

func (a Answers) compared() int64 { return a.Same + a.StatusChanged + a.BodyChanged }

func (a Answers) text() string {
	text := fmt.Sprintf("same %s   status changed %s   body changed %s", share(a.Same, a.compared()), Number(a.StatusChanged), Number(a.BodyChanged))
	if a.NoBaseline > 0 {
		text += "   not comparable " + Number(a.NoBaseline)
	}
	return text
}

func (r *Report) badLines(line liner) {
	if r.BadTotal == 0 {
		return
	}
	line("bad", "%s could not be read", Count(r.BadTotal, "record"))
	for i, bad := range r.BadRecords {
		if i == shownBadRecords {
			line("", "…")
			break
		}
		line("", "partition %d offset %d: %s", bad.Partition, bad.Offset, bad.Reason)
	}
}

func (r *Report) differLines(line liner) {
	label := "differs"
	say := func(format string, args ...any) {
		line(label, format, args...)
		label = ""
	}
	for i, d := range r.Differences {
		if i == shownDifferences {
			say("… %s more", Count(int64(len(r.Differences)-i), "place"))
			break
		}
		say("%s   %s %s in %s of %s answers%s%s", Printable(d.Route), Printable(trimPath(d.Path)), what(d.Kind), Number(d.Count),
			Number(d.Compared), chanceText(d.Chance), d.Example.text())
	}
	for _, slow := range r.slower() {
		say("%s   p99 %s → %s", Printable(slow.Route), millis(slow.Recorded.P99), millis(slow.Service.P99))
	}
}

func trimPath(path string) string { return strings.TrimPrefix(path, "/") }

func what(kind string) string {
	switch kind {
	case "value":
		return "changed"
	case "type":
		return "changed its type"
	}
	return kind
}

func (e Example) text() string {
	switch {
	case e.Recorded != "" && e.Got != "":
		return "   (" + Printable(e.Recorded) + " → " + Printable(e.Got) + ")"
	case e.Recorded != "":
		return "   (was " + Printable(e.Recorded) + ")"
	case e.Got != "":
		return "   (now " + Printable(e.Got) + ")"
	}
	return ""
}

// slower returns the routes whose slowest answers became clearly slower: the p99 at least doubled, by 20 ms or more,
// and there were enough answers for it to mean something.
func (r *Report) slower() []Route {
	const enough = 50
	var slow []Route
	for _, route := range r.Routes {
		was, is := route.Recorded.P99, route.Service.P99
		if route.Fired >= enough && was > 0 && is > 2*was && is-was >= 20 {
			slow = append(slow, route)
		}
	}
	return first(slow, shownDifferences)
}

// Printable shows bytes from the wire on a terminal: control characters and what is no UTF-8 are escaped.
func Printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r == '\\' || r == utf8.RuneError || !strconv.IsPrint(r) }) < 0 {
		return s
	}
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

type named struct {
	name  string
	count int64
}

func byCount(m map[string]int64) []named {
	all := make([]named, 0, len(m))
	for name, n := range m {
		all = append(all, named{name, n})
	}
	slices.SortFunc(all, func(a, b named) int {
		return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.name, b.name))
	})
	return all
}

// counted writes a total with its reasons behind it.
func counted(byReason map[string]int64) string {
	total := Total(byReason)
	if total == 0 {
		return "0"
	}
	return Number(total) + " (" + Reasons(byReason) + ")"
}

// Reasons writes counts by reason, most first.
func Reasons(byReason map[string]int64) string {
	parts := make([]string, 0, len(byReason))
	for _, r := range byCount(byReason) {
		parts = append(parts, strings.ReplaceAll(r.name, "_", " ")+" "+Number(r.count))
	}
	return strings.Join(parts, ", ")
}

// Count writes a number of things: "1 record", "2,000 records".
func Count(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return Number(n) + " " + thing + "s"
}

func first[T any](s []T, n int) []T { return s[:min(n, len(s))] }

// window writes two moments of UTC, the date once when it is the same.
func window(from, to time.Time) string {
	end := "2006-01-02 15:04:05"
	if from.Format(time.DateOnly) == to.Format(time.DateOnly) {
		end = time.TimeOnly
	}
	return from.UTC().Format(time.DateTime) + " – " + to.UTC().Format(end) + " UTC"
}

// Number writes n with commas between the thousands.
func Number(n int64) string {
	s := strconv.FormatInt(n, 10)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(s) - 3; i > start; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func share(n, of int64) string {
	if of == 0 {
		return "0 %"
	}
	percent := 100 * float64(n) / float64(of)
	if n != of && percent > 99.99 {
		percent = 99.99 // not all of them
	}
	return strings.TrimSuffix(strconv.FormatFloat(percent, 'f', 2, 64), ".00") + " %"
}

func times(speed float64) string {
	if speed >= 100 {
		return Number(int64(speed+0.5)) + "×"
	}
	if speed < 1 {
		return strconv.FormatFloat(speed, 'f', 2, 64) + "×"
	}
	return strconv.FormatFloat(speed, 'f', 1, 64) + "×"
}

func millis(ms float64) string {
	switch {
	case ms < 10:
		return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
	case ms < 10_000:
		return Number(int64(ms+0.5)) + " ms"
	}
	return Number(int64(ms/1000+0.5)) + " s"
}
