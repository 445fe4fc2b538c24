package report

import (
	_ "embed" // the page
	"html/template"
	"io"
	"strings"
)

//go:embed report.html
var page string

// HTML writes the report as one page that needs nothing else: no script, no other file.
func (r *Report) HTML(w io.Writer) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"number": Number, "millis": millis, "printable": Printable, "what": what, "chance": chanceText,
	}).Parse(page)
	if err != nil {
		return err
	}
	var text strings.Builder
	if err := r.Text(&text); err != nil {
		return err
	}
	return t.Execute(w, struct {
		*Report
		Text string
	}{r, text.String()})
}
