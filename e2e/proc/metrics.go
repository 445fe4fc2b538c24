package proc

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Metrics are the samples of one scrape, by name with labels as in the text format: `x_total{reason="y"}`.
type Metrics map[string]float64

// Scrape reads /metrics of an admin address.
func Scrape(ctx context.Context, addr string) (Metrics, error) {
	body, err := get(ctx, "http://"+addr+"/metrics")
	if err != nil {
		return nil, err
	}
	m := Metrics{}
	lines := bufio.NewScanner(strings.NewReader(body))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || line[0] == '#' {
			continue
		}
		v, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metrics of %s: %q: %w", addr, line, err)
		}
		m[line[:at]] = v
	}
	return m, lines.Err()
}

// Sum adds up the samples of a metric that have all of the given labels, each as `name="value"`.
func (m Metrics) Sum(name string, labels ...string) float64 {
	sum := 0.0
next:
	for sample, v := range m {
		base, rest, _ := strings.Cut(sample, "{")
		if base != name {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(","+strings.TrimSuffix(rest, "}")+",", ","+l+",") {
				continue next
			}
		}
		sum += v
	}
	return sum
}

// Has tells whether there is a sample of that name.
func (m Metrics) Has(name string) bool {
	for sample := range m {
		if base, _, _ := strings.Cut(sample, "{"); base == name {
			return true
		}
	}
	return false
}

// Ready waits until /readyz of an admin address answers 200.
func (p *Process) Ready(ctx context.Context, admin string) error {
	return Poll(ctx, func() error {
		select {
		case <-p.exited:
			return Final(fmt.Errorf("%s %w:\n%s", p.name, ErrExited, tail(p.Stderr(), 30)))
		default:
		}
		_, err := get(ctx, "http://"+admin+"/readyz")
		return err
	})
}

func get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return string(body), err
}

type final struct{ error }

func (f final) Unwrap() error { return f.error }

// Final marks an error that no further try can mend.
func Final(err error) error { return final{err} }

// Poll repeats a check until it gives no error or a final one; when ctx ends first it returns the last error.
func Poll(ctx context.Context, check func() error) error {
	for {
		err := check()
		if err == nil {
			return nil
		}
		if f, ok := err.(final); ok { //nolint:errorlint // only a bare one ends the loop
			return f.error
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (last: %w)", ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
