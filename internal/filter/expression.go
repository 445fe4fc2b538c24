package filter

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/traffic"
)

// maxNodes bounds what an expression may ask for.
const maxNodes = 1000

// environment is what an expression sees. Only the fields that it names are filled.
type environment struct {
	Method         string              `expr:"method"`
	Path           string              `expr:"path"`
	Status         int                 `expr:"status"`
	Flags          []string            `expr:"flags"`
	Time           time.Time           `expr:"time"`
	Host           string              `expr:"host"`
	Query          string              `expr:"query"`
	Target         string              `expr:"target"`
	Source         string              `expr:"source"`
	Session        string              `expr:"session"`
	Client         string              `expr:"client"`
	Server         string              `expr:"server"`
	Body           string              `expr:"body"`
	Size           int                 `expr:"size"`
	DurationMS     float64             `expr:"duration_ms"`
	Header         func(string) string `expr:"header"`
	ResponseHeader func(string) string `expr:"response_header"`
}

// names are the environment's, those that Kafka headers tell first.
func names() (all []string, inHeaders int) {
	return []string{
		"method", "path", "status", "flags", "time",
		"host", "query", "target", "source", "session", "client", "server", "body", "size", "duration_ms", "header", "response_header",
	}, 5
}

type expression struct {
	program *vm.Program
	uses    map[string]bool
	pool    sync.Pool // of *vm.VM
}

func compile(src string) (*expression, error) {
	e := &expression{uses: make(map[string]bool)}
	program, err := expr.Compile(src, expr.Env(environment{}), expr.AsBool(), expr.MaxNodes(maxNodes))
	if err != nil {
		return nil, compileFault(src, err)
	}
	e.program = program
	node := program.Node()
	ast.Walk(&node, e)
	return e, nil
}

// Visit implements ast.Visitor: it collects the names in use.
func (e *expression) Visit(node *ast.Node) {
	if id, ok := (*node).(*ast.IdentifierNode); ok {
		e.uses[id.Value] = true
	}
}

func compileFault(src string, err error) error {
	all, _ := names()
	f := fault.BadUsage(fmt.Sprintf("bad filter %q", src), err.Error(),
		"the names "+strings.Join(all, ", ")+"; or a shorthand such as 'GET /api/**'")
	f.Err = err
	if m := regexp.MustCompile(`unknown name (\w+)`).FindStringSubmatch(err.Error()); m != nil {
		if near, ok := fault.Nearest(m[1], all); ok {
			f.Try = near
		}
	}
	return f
}

func (e *expression) headerOnly() bool {
	all, inHeaders := names()
	for name := range e.uses {
		if slices.Contains(all[inHeaders:], name) {
			return false
		}
	}
	return true
}

func (e *expression) match(x *traffic.Exchange) (bool, error) {
	var env environment
	for name := range e.uses {
		e.fill(&env, name, x)
	}
	return e.run(&env)
}

// fill sets one field from x.
func (e *expression) fill(env *environment, name string, x *traffic.Exchange) {
	req, res := &x.Request, x.Response
	switch name {
	case "method":
		env.Method = string(req.Method)
	case "path":
		env.Path = string(pathOf(req.Target))
	case "status":
		if res != nil {
			env.Status = res.Status
		}
	case "flags":
		env.Flags = x.Flags.Names()
	case "time":
		env.Time = x.CaptureTime
	case "host":
		env.Host = strings.ToLower(string(req.Authority))
	case "query":
		_, env.Query, _ = strings.Cut(string(req.Target), "?")
	case "target":
		env.Target = string(req.Target)
	case "source":
		env.Source = x.Source.Kind.String()
	case "session":
		env.Session = string(x.Session)
	case "client":
		env.Client = string(x.Connection.Client)
	case "server":
		env.Server = string(x.Connection.Server)
	case "body":
		env.Body = string(req.Body)
	case "size":
		env.Size = int(req.BodySize)
	case "duration_ms":
		if res != nil {
			env.DurationMS = float64(res.Duration) / float64(time.Millisecond)
		}
	case "header":
		env.Header = func(name string) string { return value(req.Headers, name) }
	case "response_header":
		env.ResponseHeader = func(name string) string {
			if res == nil {
				return ""
			}
			return value(res.Headers, name)
		}
	}
}

func value(fields []traffic.Field, name string) string {
	v, _ := traffic.Get(fields, name)
	return string(v)
}

func (e *expression) matchMeta(m Meta) (bool, error) {
	return e.run(&environment{Method: m.Method, Path: m.Path, Status: m.Status, Flags: m.Flags.Names(), Time: m.Time})
}

func (e *expression) run(env *environment) (bool, error) {
	machine, ok := e.pool.Get().(*vm.VM)
	if !ok {
		machine = new(vm.VM)
	}
	defer e.pool.Put(machine)
	out, err := machine.Run(e.program, env)
	if err != nil {
		return false, fmt.Errorf("filter: %w", err)
	}
	matched, ok := out.(bool)
	if !ok {
		return false, errors.New("filter: the expression is neither true nor false")
	}
	return matched, nil
}
