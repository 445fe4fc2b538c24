package rules

import (
	"github.com/reprise-io/reprise/internal/fire"
	"github.com/reprise-io/reprise/internal/yamlfile"
)

// Production is the section that names production.
type Production []Place

// Place is where production is.
type Place struct {
	Text string `yaml:",text" doc:"HOST[:PORT], *.DOMAIN for every name below, or a network (10.1.0.0/16)"`
}

const production = "production"

// Check implements yamlfile.Checker.
func (p *Place) Check(f *yamlfile.File) {
	if _, err := fire.ParseProduction(p.Text, production); err != nil {
		f.At(&p.Text, "%s", err)
	}
}

// Addresses are the section as the guard takes it.
func (p Production) Addresses() ([]fire.Address, error) {
	all := make([]fire.Address, 0, len(p))
	for _, place := range p {
		a, err := fire.ParseProduction(place.Text, production)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}
