package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

type junitSuites struct {
	XMLName xml.Name   `xml:"testsuites"`
	Suite   junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name      string      `xml:"name,attr"`
	Tests     int         `xml:"tests,attr"`
	Failures  int         `xml:"failures,attr"`
	Errors    int         `xml:"errors,attr"`
	Time      string      `xml:"time,attr"` // seconds
	Timestamp string      `xml:"timestamp,attr"`
	Cases     []junitCase `xml:"testcase"`
	Text      string      `xml:"system-out"`
}

type junitCase struct {
	Class   string      `xml:"classname,attr"`
	Name    string      `xml:"name,attr"`
	Time    string      `xml:"time,attr"`
	Failure *junitFault `xml:"failure"`
	Error   *junitFault `xml:"error"`
}

type junitFault struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// JUnit writes the report as build servers read tests: a case for the run as a whole, one for each threshold, and one for each route,
// which fails when an answer was not the recorded one, or the old build's, or did not come.
func (r *Report) JUnit(w io.Writer) error {
	took := max(0, r.Ended.Sub(r.Started))
	s := junitSuite{Name: "reprise " + r.Run, Time: seconds(took), Timestamp: r.Started.UTC().Format("2006-01-02T15:04:05")}
	whole := junitCase{Class: "run", Name: r.Run, Time: seconds(took)}
	switch {
	case r.State == "failed":
		whole.Error = &junitFault{Message: "the run failed", Text: r.StoppedBy}
	case r.BadTotal > 0:
		whole.Error = &junitFault{Message: Count(r.BadTotal, "record") + " could not be read"}
	case r.State != "finished" && !r.Live:
		whole.Error = &junitFault{Message: "the run is " + r.State, Text: r.StoppedBy}
	}
	s.add(whole)
	for _, t := range r.Thresholds {
		c := junitCase{Class: "threshold", Name: t.Threshold, Time: "0"}
		if t.Crossed {
			c.Failure = &junitFault{Message: t.String()}
		}
		s.add(c)
	}
	for _, route := range r.Routes {
		c := junitCase{Class: "route", Name: route.Route, Time: seconds(time.Duration(route.Service.P50 * float64(time.Millisecond)))}
		if n := route.StatusChanged + route.BodyChanged + route.Failed; n > 0 {
			c.Failure = &junitFault{
				Message: fmt.Sprintf("%s of %s: status changed %d, body changed %d, failed %d", Number(n), Number(route.Fired+route.Failed),
					route.StatusChanged, route.BodyChanged, route.Failed),
				Text: r.differencesOf(route.Route),
			}
		}
		s.add(c)
	}
	var text strings.Builder
	if err := r.Text(&text); err != nil {
		return err
	}
	s.Text = text.String()
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(junitSuites{Suite: s}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (s *junitSuite) add(c junitCase) {
	s.Tests++
	if c.Failure != nil {
		s.Failures++
	}
	if c.Error != nil {
		s.Errors++
	}
	s.Cases = append(s.Cases, c)
}

func (r *Report) differencesOf(route string) string {
	var b strings.Builder
	for _, d := range r.Differences {
		if d.Route == route {
			fmt.Fprintf(&b, "%s %s in %s of %s answers%s%s, such as %s\n", Printable(d.Path), what(d.Kind), Number(d.Count), Number(d.Compared),
				chanceText(d.Chance), d.Example.text(), d.Example.Exchange)
		}
	}
	return b.String()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
