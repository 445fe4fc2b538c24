package inspect

import (
	"bufio"
	"encoding/json"

	"github.com/reprise-io/reprise/internal/yamlfile"
)

// objects writes a list one after another: NDJSON a line each, JSON as one array, YAML a document each.
type objects struct {
	w    *bufio.Writer
	form Form
	n    int
}

func (o *objects) add(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	o.n++
	switch o.form {
	case JSON:
		lead := ",\n"
		if o.n == 1 {
			lead = "[\n"
		}
		b = append([]byte(lead), b...)
	case YAML:
		if b, err = yamlfile.FromJSON(b); err != nil {
			return err
		}
		b = append([]byte("---\n"), b...)
	default:
		b = append(b, '\n')
	}
	_, err = o.w.Write(b)
	return err
}

// close ends the list and flushes it.
func (o *objects) close() error {
	if o.form == JSON {
		end := "\n]\n"
		if o.n == 0 {
			end = "[]\n"
		}
		_, _ = o.w.WriteString(end)
	}
	return o.w.Flush()
}
