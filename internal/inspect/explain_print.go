package inspect

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Print writes the explanation as a table or as one line of JSON.
func (e *Explanation) Print(w io.Writer, form Form) error {
	if form != Table {
		lines := json.NewEncoder(w)
		lines.SetEscapeHTML(false)
		return lines.Encode(e)
	}
	fmt.Fprintln(w, e.Exchange)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range e.Steps {
		result := s.Result
		if result == Stops {
			result = strings.ToUpper(result)
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", s.Section, s.Program, result, s.Why)
		for _, d := range s.Details {
			now := d.Now
			if now != "" {
				now = "becomes " + now
			}
			fmt.Fprintf(t, "  \t\t  %s\t%s  %s\n", d.Rule, d.Where, now)
		}
	}
	return t.Flush()
}
