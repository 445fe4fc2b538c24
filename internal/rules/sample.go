package rules

import (
	"github.com/reprise-io/reprise/internal/sample"
	"github.com/reprise-io/reprise/internal/yamlfile"
)

// Sample is the section that chooses a share of what the filters want. It is the tap's: a replayer sends what was recorded.
type Sample struct {
	Rate string `yaml:"rate" default:"100%" doc:"share of the traffic: 10%, or 0.1"`
	By   string `yaml:"by" enum:"session,connection,request" default:"session" doc:"what is kept whole"`
	Keep string `yaml:"keep" doc:"how much of each route is kept at least, whatever the rate: 1/s per route, 10/m per route"`
}

// Check implements yamlfile.Checker.
func (s *Sample) Check(f *yamlfile.File) {
	if s.Rate != "" {
		if _, err := sample.ParseShare(s.Rate); err != nil {
			f.At(&s.Rate, "%s", err)
		}
	}
	if _, err := sample.ParseKeep(s.Keep); err != nil {
		f.At(&s.Keep, "%s", err)
	}
}
