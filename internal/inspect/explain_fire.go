package inspect

import (
	"context"
	"net/url"
	"strings"

	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/traffic"
)

// explainWrites asks the guard of a replayer about requests. What it says of targets and of production depends on the target, and is
// asked when there is one: replayer plan.
func explainWrites(ctx context.Context, allow []fire.Matcher) (explainStage, error) {
	// A target on this machine that nobody listens at: the guard wants one, and nothing is dialled.
	target := &url.URL{Scheme: "http", Host: "127.0.0.1:1"}
	guard, err := fire.NewGuard(ctx, fire.GuardConfig{Target: target, Allow: []string{target.Host}, AllowWrites: allow})
	if err != nil {
		return nil, err
	}
	return func(x *traffic.Exchange) (Step, error) {
		s := Step{Section: "writes", Program: "replayer", Result: Passes, Why: "it reads only"}
		reason, ok := guard.Admit(x)
		switch {
		case reason == fire.WriteNotAllowed:
			s.Result, s.Why = Stops, "no rule allows this write"
		case reason == fire.BadFlags:
			s.Result, s.Why = Stops, "it is not known whole: "+strings.ToLower(x.Flags.Unreplayable().String())
		case !ok:
			s.Result, s.Why = Stops, reason
		case len(x.Request.Method) == 0:
			s.Why = "nothing is left of it"
		case string(x.Request.Method) != "GET" && string(x.Request.Method) != "HEAD" && string(x.Request.Method) != "OPTIONS":
			s.Why = "a rule allows this write"
		}
		return s, nil
	}, nil
}
