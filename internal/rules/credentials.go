package rules

import (
	"time"

	"github.com/reprise-io/reprise/internal/credential"
	"github.com/reprise-io/reprise/internal/rewrite"
	"github.com/reprise-io/reprise/internal/secret"
	"github.com/reprise-io/reprise/internal/yamlfile"
)

// Credentials is one token of the session section, and what it is put into.
type Credentials struct {
	Name         string            `yaml:"name,required" doc:"for messages"`
	Kind         string            `yaml:"kind,required" enum:"static,file,exec,oauth2" doc:"static: a secret; file: read again when it changes; exec: what a command prints; oauth2: client credentials"`
	Token        secret.Ref        `yaml:"token" doc:"static: env:NAME or file:PATH"`
	Path         string            `yaml:"path" doc:"file: where it is"`
	Command      []string          `yaml:"command" doc:"exec: the program and its arguments, without a shell; it prints the token, or JSON with access_token and expires_in"`
	TokenURL     string            `yaml:"token-url" doc:"oauth2: the token endpoint"`
	ClientID     string            `yaml:"client-id" doc:"oauth2"`
	ClientSecret secret.Ref        `yaml:"client-secret" doc:"oauth2: env:NAME or file:PATH"`
	Scope        string            `yaml:"scope" doc:"oauth2: scopes with spaces between"`
	Params       map[string]string `yaml:"params" doc:"oauth2: sent to the endpoint as well, such as audience"`
	Lifetime     time.Duration     `yaml:"lifetime" doc:"of a token that does not tell, 5m unless it is given; it is renewed with a fifth of it left"`
	Timeout      time.Duration     `yaml:"timeout" doc:"for the command or the endpoint, 10s unless it is given"`
	Into         string            `yaml:"into" default:"header Authorization" doc:"header NAME, cookie NAME, or another place in a request"`
	As           string            `yaml:"as" doc:"with ${} for the token; default: 'Bearer ${}' in Authorization, else the token alone"`
	Where        string            `yaml:"where" doc:"filter: only in requests that match"`
}

const authorization = "header Authorization"

// Check implements yamlfile.Checker.
func (c *Credentials) Check(f *yamlfile.File) {
	checkFilter(f, &c.Where)
	if c.Into != "" {
		checkPlace(f, &c.Into, rewrite.Place.InRequest)
	}
	source, err := credential.New(c.Config())
	if err != nil {
		f.At(c, "%s", err)
		return
	}
	source.Close()
}

// Config is where the token comes from.
func (c *Credentials) Config() credential.Config {
	cfg := credential.Config{
		Name: c.Name, Kind: credential.Kind(c.Kind), Secret: c.Token, Path: c.Path, Command: c.Command, TokenURL: c.TokenURL,
		ClientID: c.ClientID, Scope: c.Scope, Params: c.Params, Lifetime: c.Lifetime, Timeout: c.Timeout,
	}
	if cfg.Kind == credential.OAuth2 {
		cfg.Secret = c.ClientSecret
	}
	return cfg
}

// Use is where it goes, and in which requests.
func (c *Credentials) Use() (into rewrite.Place, where rewrite.Matcher, err error) {
	text := c.Into
	if text == "" {
		text = authorization
	}
	if into, err = rewrite.ParsePlace(text); err != nil {
		return into, nil, err
	}
	where, err = matcher(c.Where)
	return into, where, err
}
