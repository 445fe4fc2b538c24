package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/reprise-io/reprise/e2e/feed"
	"github.com/reprise-io/reprise/internal/redact"
	"github.com/reprise-io/reprise/internal/topic"
)

const (
	benchKey  = "0123456789abcdef0123456789abcdef"
	seed      = 1
	keyEnv    = "BENCH_KEY"
	partition = 12
)

// lot is one recording: exchanges in a topic of its own.
type lot struct {
	prefix string // of the topics
	rate   float64
	all    []feed.Recorded // in the order of their capture times
}

// record makes exchanges that went through the same rules as the replayer's, as those of a tap with the same key have.
func (b *bench) record(ctx context.Context, prefix string, count int, rate float64) (*lot, error) {
	rules, err := redact.New(redact.Options{Key: []byte(benchKey)})
	if err != nil {
		return nil, err
	}
	all, err := feed.Made{
		Count: count, Rate: rate, Seed: seed, Partitions: partition, Digest: rules.Digest(),
		Start: time.Now().Add(-time.Duration(float64(count)/rate*float64(time.Second)) - time.Minute),
	}.Write(ctx, b.broker.Addr(), topic.NamesOf(prefix))
	return &lot{prefix, rate, all}, err
}

// after is when each request is due from the first on, at a speed.
func (l *lot) after(speed float64) map[string]time.Duration {
	due := make(map[string]time.Duration, len(l.all))
	for _, x := range l.all {
		due[x.ID.String()] = time.Duration(float64(x.Capture.Sub(l.all[0].Capture)) / speed)
	}
	return due
}

// The head of a request as a file tells it: the same for everyone who reads one.
const headTold = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\n" +
	"Accept: application/json,text/html;q=0.9,*/*;q=0.8\nAccept-Language: en-GB,en;q=0.7,zh-CN;q=0.3\n" +
	"Referer: http://shop.example/items?page=3\n"

// gorFile writes the requests as GoReplay reads them. atOnce: all have the same time.
func (b *bench) gorFile(l *lot, atOnce bool) (string, error) {
	return b.told(l, l.prefix+".gor", func(w *bufio.Writer, i int, x feed.Recorded) {
		at := x.Capture
		if atOnce {
			at = l.all[0].Capture
		}
		fmt.Fprintf(w, "1 %024x %d 0\nGET /items/%d?ref=home HTTP/1.1\r\nHost: shop.example\r\n%sReprise-Exchange-Id: %s\r\n\r\n\n🐵🙈🙉\n",
			i+1, at.UnixNano(), i, strings.ReplaceAll(headTold, "\n", "\r\n"), x.ID)
	})
}

// targetsFile writes them as vegeta reads them.
func (b *bench) targetsFile(l *lot, addr string) (string, error) {
	return b.told(l, l.prefix+".targets", func(w *bufio.Writer, i int, x feed.Recorded) {
		fmt.Fprintf(w, "GET http://%s/items/%d?ref=home\n%sReprise-Exchange-Id: %s\n\n", addr, i, headTold, x.ID)
	})
}

func (b *bench) told(l *lot, name string, each func(w *bufio.Writer, i int, x feed.Recorded)) (path string, err error) {
	path = filepath.Join(b.dir, name)
	file, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	w := bufio.NewWriter(file)
	for i, x := range l.all {
		each(w, i, x)
	}
	return path, w.Flush()
}
