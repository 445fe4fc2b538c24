package main

import (
	"fmt"
	"io"
	"math"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/reprise-io/reprise/cmd/internal/cli"
	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/replay"
	"github.com/reprise-io/reprise/internal/report"
	"github.com/reprise-io/reprise/internal/sample"
	"github.com/reprise-io/reprise/internal/schedule"
	"github.com/reprise-io/reprise/internal/tap"
	"github.com/reprise-io/reprise/internal/traffic"
)

// options are the flags of the three commands.
type options struct {
	cli.Shared
	output cli.Output
	given  *pflag.FlagSet // the flags themselves; nil: nothing is known of which were given

	run                       string
	target                    string
	baseline, noise           string
	protocol                  string
	tls                       fire.TLS
	allowTarget               []string
	allowPublic               bool
	production, notProduction []string
	handshake, handshakePath  string
	maxTotal                  int64
	killFile                  string
	allowWrites               []string
	filter, include, exclude  []string
	sample                    string
	setHeaders, removeHeaders []string
	host                      string
	order                     string
	orderWait                 time.Duration
	late                      string
	lateAfter                 time.Duration
	rateLimit                 float64
	concurrency               int
	breaker, maxErrorRate     string
	adaptive                  bool
	firing                    *pflag.FlagSet // nil: nothing is fired
	timeout                   time.Duration
	retries                   int
	results                   string
	flagged                   []string
	failOn                    []string
	lookAhead                 cli.Bytes
	instance, groupProtocol   string
	onDataLoss, delivery      string

	from, to, speed string
	gapMax          time.Duration
	clones          int
	cloneJitter     time.Duration
	cloneIDs        []string
	loops           int
	waitReplicas    int
	restart         bool

	lag, maxStale, duration time.Duration
}

// addTarget adds what all commands share: where to, and what of the recording.
func (o *options) addTarget(fs *pflag.FlagSet) {
	o.given = fs
	o.AddKafka(fs)
	o.AddRedactKey(fs)
	o.AddRules(fs)
	o.AddLog(fs)
	fs.StringVar(&o.target, "target", "", "where to send the requests: http://HOST:PORT or https://HOST:PORT")
	fs.StringVar(&o.baseline, "baseline-target", "", "`URL` of the old build: it gets what the target gets, under the same guards, and its answers are what the target's are compared with")
	fs.StringVar(&o.noise, "noise-target", "", "`URL` of another copy of the old build, or the same: where its answers differ from those of --baseline-target the target's may too")
	fs.StringVar(&o.protocol, "target-protocol", string(fire.AsRecorded),
		"http1, h2, or auto: HTTP/2 for what was recorded so, if an https target agrees; to http targets that is gRPC only")
	fs.StringVar(&o.tls.CA, "target-tls-ca", "", "PEM `FILE` with the authorities to trust; default: the system's")
	fs.StringVar(&o.tls.Cert, "target-tls-cert", "", "PEM `FILE` with our certificate, for a target that wants one; read again for each connection")
	fs.StringVar(&o.tls.Key, "target-tls-key", "", "PEM `FILE` with its private key")
	fs.StringVar(&o.tls.ServerName, "target-tls-server-name", "", "`NAME` to expect in the target's certificate; default: the host of --target")
	fs.BoolVar(&o.tls.Insecure, "target-tls-insecure", false, "do not check the target's certificate: for a try only")
	fs.StringArrayVar(&o.allowTarget, "allow-target", nil, "a target that may be fired at: HOST[:PORT], or *.preprod.internal (repeatable)")
	fs.BoolVar(&o.allowPublic, "allow-public", false, "the target may have a public address; else only one that an --allow-target names as an address")
	fs.StringArrayVar(&o.production, "production", nil, "what is never fired at, beside what taps report: HOST[:PORT], *.DOMAIN or a network (repeatable)")
	fs.StringArrayVar(&o.notProduction, "not-production", nil, "an address HOST:PORT in the recording that is the target and yet not production (repeatable)")
	fs.StringArrayVar(&o.allowWrites, "allow-writes", nil, "send these too, beside GET, HEAD and OPTIONS: 'POST /api/**' (repeatable)")
	fs.StringSliceVar(&o.flagged, "replay-flagged", nil, "send what carries these marks too, as far as it was recorded: TRUNCATED_REQUEST, GAP, AMBIGUOUS_FRAMING, UPGRADED, CONNECT, REDACTION_FAILED")
	fs.Int64Var(&o.maxTotal, "max-total", 0, "stop the run, on all its replicas, when so many requests were sent (exit code 3); 0: no bound")
	fs.StringArrayVar(&o.filter, "filter", nil, `only what matches: 'GET /api/**' or 'status >= 500 && path startsWith "/api"' (repeatable: all must match)`)
	fs.StringArrayVar(&o.include, "include", nil, "only what matches one of these (repeatable)")
	fs.StringArrayVar(&o.exclude, "exclude", nil, "nothing that matches one of these (repeatable)")
	fs.StringVar(&o.sample, "sample", "100%", "share of the recorded sessions to replay, each whole and with its clones, the same in every run: 10%")
	fs.StringArrayVar(&o.setHeaders, "set-header", nil, "'Name: value' to set in every request (repeatable)")
	fs.StringArrayVar(&o.removeHeaders, "remove-header", nil, "a header to remove from every request (repeatable)")
	fs.StringVar(&o.host, "host", "", "Host header: recorded, or a name; default: the target's")
}

// The values of --group-protocol.
const (
	classicGroup  = "classic"
	consumerGroup = "consumer"
)

// addFiring adds how to send.
func (o *options) addFiring(fs *pflag.FlagSet) {
	o.AddAdmin(fs)
	o.firing = fs
	fs.StringVar(&o.order, "order", "session", "keep the order within each session, connection, or none")
	fs.DurationVar(&o.orderWait, "order-wait", replay.DefaultOrderWait, "the longest that a request waits for those before it")
	fs.StringVar(&o.late, "late", string(replay.SendLate), "what to do with requests whose time has passed: send, drop, or slow: the rest of the run is put off by as much")
	fs.DurationVar(&o.lateAfter, "late-after", replay.DefaultLateAfter, "how much after its due time a request is late")
	fs.Float64Var(&o.rateLimit, "rate-limit", 0, "most requests a second of all replicas together; 0: no limit")
	fs.IntVar(&o.concurrency, "concurrency", 0, fmt.Sprintf("most requests in flight; default %d, at --speed max %d",
		replay.DefaultConcurrency, replay.DefaultMaxConcurrency))
	fs.StringVar(&o.breaker, "breaker", "off", "leave the target alone while it is sick, and probe it: 'error_rate > 50%/10s', on (which is that) or off")
	fs.BoolVar(&o.adaptive, "adaptive", false, "fewer requests at a time than --concurrency while answers take longer than they did")
	fs.StringVar(&o.maxErrorRate, "max-error-rate", "", "stop the run, in all replicas, with exit code 3 when more than this fails: 5%, or 5%/30s")
	fs.StringArrayVar(&o.failOn, "fail-on", nil, "exit code 3 when the run was above this at its end: 'error_rate > 1%', 'p99 > 200ms' (repeatable; measures above)")
	fs.DurationVar(&o.timeout, "timeout", replay.DefaultTimeout, "for a whole answer, of one attempt")
	fs.IntVar(&o.retries, "retries", 0, "try again so many times when the target could not be reached; retries change the load")
	fs.StringVar(&o.results, "results", string(replay.AllResults), "outcomes to store: all, diff (answers that differ, and errors), errors or none")
	o.lookAhead = replay.DefaultLookAhead
	fs.Var(&o.lookAhead, "look-ahead", "bytes of recorded traffic to read ahead, such as 64MiB")
	fs.StringVar(&o.onDataLoss, "on-data-loss", "", "when records of the run are not in Kafka any more: fail (exit 4), or skip and count them; default: fail, live: skip")
	fs.StringVar(&o.instance, "instance", "", "name of this replica: started again under it within 10 s, it goes on at once where it was; one name for each replica")
	fs.StringVar(&o.groupProtocol, "group-protocol", classicGroup, "classic, or consumer: the brokers assign partitions (KIP-848; Kafka 4.3 and later)")
	fs.StringVar(&o.handshake, "handshake-header", "", "'Name: value' that each address of the target has to answer to HEAD before anything is sent to it, and once a minute")
	fs.StringVar(&o.handshakePath, "handshake-path", "/", "path that is asked for it")
	fs.StringVar(&o.killFile, "kill-file", "", "stop at once, on all replicas, when there is such a `FILE`; SIGUSR1 does the same")
	fs.StringVar(&o.run, "run", "", "name of the run, by which it is resumed and told apart")
	fs.BoolVar(&o.restart, "restart", false, "begin the run of that name anew")
	o.output.Flag(fs, cli.Table, cli.JSON, cli.NDJSON, cli.YAML)
}

// addWindow adds which part of the recording, and how fast.
func (o *options) addWindow(fs *pflag.FlagSet) {
	fs.StringVar(&o.from, "from", "", "first capture time: RFC 3339, now-1h, yesterday; default: the oldest record")
	fs.StringVar(&o.to, "to", "", "last capture time; default: now")
	fs.StringVar(&o.speed, "speed", "1", "0.5, 1, 2, 5 times the recorded speed, or max; 1..5/10m grows within that time, 1/5m,1..5/10m,2 is one after the other")
	fs.DurationVar(&o.gapMax, "gap-max", 0, "shorten the times in which nothing was captured to this; 0: not. The whole window is read for it first")
	fs.IntVar(&o.clones, "clone", 1, "send each exchange so many times: once as recorded, the others as other users, with cookies, credentials and personal data of their own")
	fs.DurationVar(&o.cloneJitter, "clone-jitter", replay.DefaultCloneJitter, "how much captured time the other users come later at most; each session of each always by the same")
	fs.StringArrayVar(&o.cloneIDs, "clone-id", nil, "what else names a user: header:X-User-Id, path:/users/*, or field:userId, a query parameter, form field or JSON member (repeatable)")
	fs.IntVar(&o.loops, "loop", 1, "replay the window so many times, one after the other; 0: until the run is stopped")
	fs.StringVar(&o.delivery, "delivery", string(replay.AtLeastOnce), "what a crash does to the last requests: at-least-once repeats them; at-most-once, for load tests, loses them")
	fs.IntVar(&o.waitReplicas, "wait-replicas", 1, "begin when so many processes work on the run")
}

// resolve makes the options of internal/replay of the flags. What people are to read goes to talk.
func (o *options) resolve(talk io.Writer) (r replay.Options, err error) {
	now := time.Now()
	r = replay.Options{
		Prefix: o.TopicPrefix, Run: o.run, Restart: o.restart,
		AllowTarget: o.allowTarget, AllowPublic: o.allowPublic, NotProduction: o.notProduction, AllowWrites: o.allowWrites, HostID: tap.HostID(),
		MaxTotal: o.maxTotal, KillFile: o.killFile,
		AskedFrom: o.from, AskedTo: o.to, GapMax: o.gapMax, Clones: o.clones, CloneJitter: o.cloneJitter, WaitReplicas: o.waitReplicas,
		Lag: o.lag, MaxStale: o.maxStale, Duration: o.duration,
		Filter: o.filter, Include: o.include, Exclude: o.exclude, RemoveHeaders: o.removeHeaders, Host: o.host,
		OrderWait: o.orderWait, Late: replay.LatePolicy(o.late), LateAfter: o.lateAfter, RateLimit: o.rateLimit, Concurrency: o.concurrency,
		Timeout: o.timeout, Retries: o.retries, Results: replay.ResultsPolicy(o.results), LookAhead: int64(o.lookAhead),
		OnDataLoss: replay.DataLossPolicy(o.onDataLoss), Delivery: replay.Delivery(o.delivery), Instance: o.instance,
		ServerSide: o.groupProtocol == consumerGroup,
		Talk:       talk,
	}
	if o.groupProtocol != "" && o.groupProtocol != classicGroup && o.groupProtocol != consumerGroup {
		return r, fault.BadUsage(fmt.Sprintf("bad --group-protocol %q", o.groupProtocol), "want classic or consumer", "--group-protocol classic")
	}
	if err := o.checkNumbers(); err != nil {
		return r, err
	}
	if r.Logger, err = o.Logger(talk); err != nil {
		return r, err
	}
	if r.Target, err = parseTarget(o.target); err != nil {
		return r, err
	}
	https := r.Target.Scheme == "https"
	for _, s := range []struct {
		flag, value string
		to          **url.URL
	}{{"--baseline-target", o.baseline, &r.Baseline}, {"--noise-target", o.noise, &r.Noise}} {
		if s.value == "" {
			continue
		}
		if *s.to, err = parseURL(s.flag, s.value, s.flag+" http://old.preprod:8080"); err != nil {
			return r, err
		}
		https = https || (*s.to).Scheme == "https"
	}
	if r.Protocol, err = fire.ParseProtocol(o.protocol); err != nil {
		return r, err
	}
	if r.TLS, err = o.tls.Config(https); err != nil {
		return r, err
	}
	if o.tls.Insecure {
		r.Logger.Error("THE TARGET'S CERTIFICATE IS NOT CHECKED: anybody on the way can read and answer", "flag", "--target-tls-insecure")
	}
	if o.from != "" {
		if r.From, err = cli.ParseTime(o.from, now); err != nil {
			return r, err
		}
	}
	if o.to != "" {
		if r.To, err = cli.ParseTime(o.to, now); err != nil {
			return r, err
		}
	}
	if r.Sample, err = parseSample(o.sample); err != nil {
		return r, err
	}
	if r.Flagged, err = parseFlagged(o.flagged); err != nil {
		return r, err
	}
	if o.speed != "" {
		if r.Profile, err = schedule.ParseProfile(o.speed); err != nil {
			return r, err
		}
	}
	if o.order != "" {
		if r.Order, err = schedule.ParseOrder(o.order); err != nil {
			return r, err
		}
	}
	if r.Loops, err = parseLoops(o.loops); err != nil {
		return r, err
	}
	for _, s := range o.cloneIDs {
		id, err := replay.ParseCloneID(s)
		if err != nil {
			return r, err
		}
		r.CloneIDs = append(r.CloneIDs, id)
	}
	for _, s := range o.failOn {
		t, err := report.ParseThreshold(s)
		if err != nil {
			return r, err
		}
		r.FailOn = append(r.FailOn, t)
	}
	for _, s := range o.production {
		a, err := fire.ParseProduction(s, "--production")
		if err != nil {
			return r, err
		}
		r.Production = append(r.Production, a)
	}
	if r.Handshake, err = fire.ParseHandshake(o.handshake, o.handshakePath); err != nil {
		return r, err
	}
	for _, h := range o.setHeaders {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return r, fault.BadUsage(fmt.Sprintf("bad --set-header %q", h), "want 'Name: value'", "--set-header 'X-Test: 1'")
		}
		r.SetHeaders = append(r.SetHeaders, traffic.Field{Name: []byte(strings.TrimSpace(name)), Value: []byte(strings.TrimSpace(value))})
	}
	if r.RedactKey, r.RandomKey, err = o.Key(); err != nil {
		return r, err
	}
	r.Kafka = o.Topic("replayer", r.Logger)
	err = o.applyRules(&r)
	return r, err
}

// parseSample reads the value of --sample.
func parseSample(s string) (sample.Share, error) {
	if s == "" {
		return sample.All, nil
	}
	share, err := sample.ParseShare(s)
	if err != nil {
		return 0, err
	}
	if share == 0 {
		return 0, fault.BadUsage(fmt.Sprintf("bad --sample %q", s), "nothing would be sent", "--sample 10%")
	}
	return share, nil
}

// parseFlagged reads the values of --replay-flagged. REDACTION_FAILED is about the request here: an answer without a body keeps nothing from being
// replayed.
func parseFlagged(names []string) (traffic.Flags, error) {
	var all traffic.Flags
	for _, name := range names {
		text := strings.ToUpper(strings.ReplaceAll(strings.TrimSpace(name), "-", "_"))
		if text == traffic.RedactionFailed.String() {
			text = traffic.RedactionFailedRequest.String()
		}
		f := traffic.ParseFlags(text)
		if f == 0 || f.Unreplayable() != f {
			known := traffic.Flags(math.MaxUint64).Unreplayable().Names()
			try := "--replay-flagged TRUNCATED_REQUEST"
			if near, ok := fault.Nearest(text, known); ok {
				try = "--replay-flagged " + near
			}
			return 0, fault.BadUsage(fmt.Sprintf("bad --replay-flagged %q", name), "marks that keep an exchange from being replayed are "+strings.Join(known, ", "), try)
		}
		all |= f
	}
	return all, nil
}

// parseLoops reads the value of --loop.
func parseLoops(n int) (int, error) {
	switch {
	case n < 0:
		return 0, fault.BadUsage(fmt.Sprintf("bad --loop %d", n), "want a number of times", "--loop 3, or 0 for until the run is stopped")
	case n == 0:
		return replay.Forever, nil
	}
	return n, nil
}

func parseTarget(s string) (*url.URL, error) {
	const try = "--target http://preprod.internal:8080 --allow-target preprod.internal:8080"
	if s == "" {
		return nil, fault.BadUsage("no --target given", "", try)
	}
	return parseURL("--target", s, try)
}

// parseURL reads where requests are sent to.
func parseURL(flag, s, try string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil, u.Host == "", u.Scheme != "http" && u.Scheme != "https":
		return nil, fault.BadUsage(fmt.Sprintf("bad %s %q", flag, s), "want http://HOST:PORT or https://HOST:PORT", try)
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, fault.BadUsage(fmt.Sprintf("bad %s %q", flag, u.Redacted()), "paths come from the recording: only scheme, host and port are wanted", try)
	}
	return u, nil
}
