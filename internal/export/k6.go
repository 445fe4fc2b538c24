package export

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/reprise-io/reprise/internal/traffic"
)

// k6 writes a script in which each iteration sends what was recorded, one request after another with the pauses between them. It sends
// nothing before it is told where to: what was recorded is production, and among it are writes.
type k6 struct {
	target string
	before time.Time // capture time of the exchange before
}

const k6Head = `// Made by inspect export --format k6.   k6 run FILE   k6 run -e TARGET=http://preprod:8080 -e SPEED=2 FILE
import http from 'k6/http';
import encoding from 'k6/encoding';
import { check, sleep } from 'k6';

const target = __ENV.TARGET || %s;
if (!target) throw new Error('where to? k6 run -e TARGET=http://preprod:8080 FILE');
const speed = Number(__ENV.SPEED || 1);

export const options = { vus: 1, iterations: 1 };

// [seconds after the one before, method, path, fields, body or null, the body is base64, recorded status or 0]
const exchanges = [
`

const k6Tail = `];

export default function () {
  for (const [pause, method, path, headers, body, coded, status] of exchanges) {
    if (pause > 0) sleep(pause / speed);
    const content = coded ? encoding.b64decode(body, 'std') : body;
    const answer = http.request(method, target + path, content, { headers, redirects: 0 });
    if (status > 0) check(answer, { 'status as recorded': (r) => r.status === status });
  }
}
`

func (k *k6) begin(w *bufio.Writer) {
	fmt.Fprintf(w, k6Head, asScript(strings.TrimSuffix(k.target, "/")))
}

func (k *k6) end(w *bufio.Writer) { _, _ = w.WriteString(k6Tail) }

func (k *k6) exchange(w *bufio.Writer, x *traffic.Exchange) bool {
	r := &x.Request
	path := origin(r.Target)
	if !sendable(x) || len(path) == 0 || path[0] == '*' {
		return false
	}
	pause := 0.0
	if !k.before.IsZero() {
		pause = max(0, x.CaptureTime.Sub(k.before).Seconds())
	}
	k.before = x.CaptureTime
	body, coded := "null", "false"
	switch {
	case len(r.Body) == 0:
	case utf8.Valid(r.Body):
		body = asScript(string(r.Body))
	default:
		body, coded = asScript(base64.StdEncoding.EncodeToString(r.Body)), "true"
	}
	status := 0
	if x.Response != nil {
		status = x.Response.Status
	}
	fmt.Fprintf(w, "  [%.6f, %s, %s, %s, %s, %s, %d],\n", pause, asScript(latin(r.Method)), asScript(latin(path)),
		k6Fields(r.Headers), body, coded, status)
	return true
}

// k6Fields are an object: of a name that comes several times the values are one, as HTTP allows.
func k6Fields(fields []traffic.Field) string {
	type field struct{ name, value string }
	var all []field
	index := make(map[string]int)
	for _, f := range append(own(fields), traffic.Field{Name: []byte(mark), Value: []byte(marked)}) {
		lower := strings.ToLower(string(f.Name))
		i, known := index[lower]
		switch {
		case !known:
			index[lower] = len(all)
			all = append(all, field{latin(f.Name), latin(f.Value)})
		case lower == strings.ToLower(mark):
			all[i].value = marked
		case lower == "cookie":
			all[i].value += "; " + latin(f.Value)
		default:
			all[i].value += ", " + latin(f.Value)
		}
	}
	var b strings.Builder
	b.WriteByte('{')
	for i, f := range all {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(asScript(f.name) + ": " + asScript(f.value))
	}
	b.WriteByte('}')
	return b.String()
}

// asScript writes a string as JavaScript does.
func asScript(s string) string { return asJSON(s) }
