package main

import (
	"bytes"
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/traffic"
)

// redactBar is what the built-in rules do a second of a core, in MB of JSON.
const redactBar = 200

// redaction measures the built-in rules on bodies alone, in the time that a core gives: no clock, others share the machine.
func (b *bench) redaction(ctx context.Context) error {
	r, err := redact.New(redact.Options{Key: []byte(benchKey)})
	if err != nil {
		return err
	}
	words := []byte("The copper kettle of 2026-11-20 boils two litres, and costs 39.90 at the shop in the old town. ")
	kinds := []struct {
		name, contentType string
		body              []byte
		bar               string
	}{
		{"JSON of 1 KiB", "application/json", madeJSON(1 << 10), fmt.Sprintf("≥ %d", redactBar)},
		{"JSON of 64 KiB", "application/json", madeJSON(64 << 10), fmt.Sprintf("≥ %d", redactBar)},
		{"JSON of 64 KiB, text", "application/json", fmt.Appendf(nil, `{"a":"%s"}`, bytes.Repeat(words, 690)), fmt.Sprintf("≥ %d", redactBar)},
		{"JSON of 64 KiB with a phone number and a password", "application/json", madeOrder(64 << 10), fmt.Sprintf("≥ %d", redactBar)},
		{"text of 64 KiB", "text/plain", bytes.Repeat(words, 690), "–"},
		{"HTML of 64 KiB", "text/html", bytes.Repeat([]byte(`<li class="i"><a href="/items/42?page=2">Kettle, 39.90</a> 2026-11-20</li>`+"\n"), 860), "–"},
		{"XML of 64 KiB", "text/xml", fmt.Appendf(nil, "<items>%s</items>", bytes.Repeat([]byte(`<item id="42"><name>Kettle</name><price>39.90</price></item>`), 1090)), "–"},
		{"form of 4 KiB", "application/x-www-form-urlencoded", bytes.Repeat([]byte("name=Some+Name&city=%E4%B8%8A%E6%B5%B7&page=2&text=hello+world&"), 64), "–"},
	}
	t := table{title: "Bodies through the built-in rules", head: []string{"", "MB a second of a core", "bar", "µs each", "of a core at 1,000/s, %", "each round, MB/s"}}
	for _, kind := range kinds {
		var speeds []float64
		for range b.rounds {
			took, n, err := redacting(ctx, r, kind.contentType, kind.body, b.turn/3)
			if err != nil {
				return err
			}
			speeds = append(speeds, float64(n)*float64(len(kind.body))/took.Seconds()/1e6)
		}
		m := median(speeds)
		each1 := float64(len(kind.body)) / m
		progress("redact: %s: %.0f MB/s", kind.name, m)
		t.rows = append(t.rows, []string{
			kind.name, fmt.Sprintf("%.0f", m), kind.bar, fmt.Sprintf("%.1f", each1), fmt.Sprintf("%.1f", each1/10), each(speeds, "%.0f"),
		})
	}
	b.tables = append(b.tables, t)
	return nil
}

// redacting redacts one body again and again for about so long, and returns the time of a core that it took.
func redacting(ctx context.Context, r *redact.Redactor, contentType string, body []byte, length time.Duration) (took time.Duration, n int, err error) {
	fields := []traffic.Field{{Name: []byte("Content-Type"), Value: []byte(contentType)}}
	before, err := coreTime()
	if err != nil {
		return 0, 0, err
	}
	for took < length && ctx.Err() == nil {
		for range 16 {
			res := traffic.Response{Headers: fields, Body: body, BodySize: int64(len(body))}
			flags, err := r.Response(nil, &res)
			if err != nil || flags != 0 {
				return 0, 0, fmt.Errorf("a body of %s was not redacted: flags %v, %w", contentType, flags, err)
			}
			n++
		}
		now, err := coreTime()
		if err != nil {
			return 0, 0, err
		}
		took = now - before
	}
	return took, n, ctx.Err()
}

// coreTime is how long this process has had a core.
func coreTime() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}
