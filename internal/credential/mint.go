package credential

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"time"
)

var errTooMuch = errors.New("it printed more than 64 KiB")

// bounded keeps what is written up to a bound, and fails beyond. It embeds no buffer: io.Copy would go past Write by ReadFrom.
type bounded struct {
	text []byte
	over bool
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if len(b.text)+len(p) > maxToken {
		b.over = true
		return 0, errTooMuch
	}
	b.text = append(b.text, p...)
	return len(p), nil
}

// execute is for exec. What the command says on stderr is dropped: it may hold what it must not.
func (s *Source) execute(ctx context.Context) (token, error) {
	var out bounded
	cmd := exec.CommandContext(ctx, s.cfg.Command[0], s.cfg.Command[1:]...)
	cmd.Stdout = &out
	cmd.WaitDelay = time.Second // a grandchild may hold the pipe
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		switch {
		case ctx.Err() != nil:
			return token{}, fmt.Errorf("%s did not end within %s", s.cfg.Command[0], s.cfg.Timeout)
		case out.over:
			return token{}, fmt.Errorf("%s: %w", s.cfg.Command[0], errTooMuch)
		case errors.As(err, &exit):
			return token{}, fmt.Errorf("%s ended with %s", s.cfg.Command[0], exit.ProcessState)
		}
		return token{}, err
	}
	text := bytes.TrimSpace(out.text)
	if len(text) > 0 && text[0] == '{' {
		return s.parse(text)
	}
	return token{value: text, expires: time.Now().Add(s.cfg.Lifetime)}, nil
}

// grant is for oauth2.
func (s *Source) grant(ctx context.Context) (token, error) {
	secret, err := s.cfg.Secret.Read()
	if err != nil {
		return token{}, err
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	if s.cfg.Scope != "" {
		form.Set("scope", s.cfg.Scope)
	}
	for name, v := range s.cfg.Params {
		form.Set(name, v)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return token{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(url.QueryEscape(s.cfg.ClientID), url.QueryEscape(string(secret))) // RFC 6749 2.3.1
	client := http.Client{
		Transport:     s.cfg.HTTP,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the secret goes nowhere else
	}
	resp, err := client.Do(req)
	if err != nil {
		return token{}, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxToken+1))
	if err != nil {
		return token{}, fmt.Errorf("%s: the answer broke off", s.cfg.TokenURL)
	}
	switch {
	case len(answer) > maxToken:
		return token{}, fmt.Errorf("%s answered more than 64 KiB", s.cfg.TokenURL)
	case resp.StatusCode != http.StatusOK:
		return token{}, fmt.Errorf("%s answered %d%s", s.cfg.TokenURL, resp.StatusCode, reason(answer))
	}
	got, err := s.parse(answer)
	if err != nil {
		return token{}, fmt.Errorf("%s: %w", s.cfg.TokenURL, err)
	}
	return got, nil
}

// reason returns the error code of RFC 6749 5.2, and nothing that could be a secret.
func reason(answer []byte) string {
	var said struct {
		Error string `json:"error"`
	}
	known := []string{
		"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope",
	}
	if json.Unmarshal(answer, &said) == nil && slices.Contains(known, said.Error) {
		return ": " + said.Error
	}
	return ""
}
