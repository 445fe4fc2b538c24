package shop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Visit describes traffic to a shop: visitors who log in, browse, search and fill a cart, each on a connection of their
// own, arriving as a Poisson process.
type Visit struct {
	URL      string
	Rate     float64       // requests a second
	Seed     uint64        // of everything that is random
	Visitors int           // at a time; 0: 32
	For      time.Duration // how long; 0: until ctx ends
	Requests int           // how many; 0: no bound
}

// Visits counts what the visitors got.
type Visits struct {
	Requests int
	Writes   int         // POSTs among them
	Failed   int         // without an answer
	Status   map[int]int // answers by status
	Late     int         // started more than 50 ms after their time: all visitors were busy
	Elapsed  time.Duration
	Answers  []Answer // those that were not Failed, in no order
}

// Answer is one answer a visitor got.
type Answer struct {
	At     time.Time // when the request was sent
	Took   time.Duration
	Status int
}

// patience is when a request of a visitor counts as late.
const patience = 50 * time.Millisecond

// Run sends the traffic and returns when it is over, all answers in.
func (v Visit) Run(ctx context.Context) (Visits, error) {
	if v.Rate <= 0 {
		return Visits{}, fmt.Errorf("rate %g: must be above 0", v.Rate)
	}
	if _, err := url.Parse(v.URL); err != nil {
		return Visits{}, err
	}
	if v.Visitors == 0 {
		v.Visitors = 32
	}
	// An arrival is a point in time, given to whichever visitor is free: a slow shop does not slow the arrivals.
	arrivals := make(chan time.Time, 4096)
	counts := make([]Visits, v.Visitors)
	var visitors sync.WaitGroup
	for i := range counts {
		visitors.Go(func() {
			p := newVisitor(v.URL, v.Seed, i)
			counts[i].Status = make(map[int]int)
			for at := range arrivals {
				p.step(ctx, at, &counts[i])
			}
			p.client.CloseIdleConnections()
		})
	}
	start := time.Now()
	err := v.arrive(ctx, start, arrivals)
	close(arrivals)
	visitors.Wait()
	sum := Visits{Status: make(map[int]int), Elapsed: time.Since(start)}
	for _, c := range counts {
		sum.Requests += c.Requests
		sum.Writes += c.Writes
		sum.Failed += c.Failed
		sum.Late += c.Late
		sum.Answers = append(sum.Answers, c.Answers...)
		for status, n := range c.Status {
			sum.Status[status] += n
		}
	}
	return sum, err
}

// arrive sends the arrival times, each at its time.
func (v Visit) arrive(ctx context.Context, start time.Time, arrivals chan<- time.Time) error {
	random := rand.New(rand.NewPCG(v.Seed, 1))
	next := start
	for n := 0; v.Requests == 0 || n < v.Requests; n++ {
		next = next.Add(time.Duration(random.ExpFloat64() / v.Rate * float64(time.Second)))
		if v.For > 0 && next.Sub(start) > v.For {
			return nil
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		select {
		case arrivals <- next:
		default:
			return errors.New("the visitors cannot keep up: ask for fewer requests a second, or more visitors")
		}
	}
	return nil
}

// visitor is one customer after another in the same place: each makes a few steps and is followed by the next.
type visitor struct {
	url    string
	client *http.Client
	random *rand.Rand
	left   int // steps of this customer
	phone  string
	cookie string
	etags  map[string]string
}

func newVisitor(url string, seed uint64, n int) *visitor {
	return &visitor{url: url, random: rand.New(rand.NewPCG(seed, uint64(n)+2)), client: newClient()}
}

// newClient returns a client that keeps one connection and unpacks nothing by itself.
func newClient() *http.Client {
	return &http.Client{
		Timeout:   30 * time.Second, // on a machine that stands still
		Transport: &http.Transport{MaxConnsPerHost: 1, DisableCompression: true},
	}
}

func (p *visitor) step(ctx context.Context, at time.Time, count *Visits) {
	if time.Since(at) > patience {
		count.Late++
	}
	if p.left == 0 {
		p.client.CloseIdleConnections() // the next customer comes on a connection of their own
		p.left = 10 + p.random.IntN(20)
		p.phone = fmt.Sprintf("13%d%08d", p.random.IntN(10), p.random.IntN(1e8))
		p.cookie = ""
		p.etags = make(map[string]string)
	}
	p.left--
	req := p.next(ctx)
	count.Requests++
	if req.Method == http.MethodPost {
		count.Writes++
	}
	start := time.Now()
	resp, err := p.client.Do(req)
	if err != nil {
		count.Failed++
		return
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		count.Failed++
		return
	}
	count.Status[resp.StatusCode]++
	count.Answers = append(count.Answers, Answer{start, time.Since(start), resp.StatusCode})
	if tag := resp.Header.Get("ETag"); tag != "" {
		p.etags[req.URL.RequestURI()] = tag
	}
	for _, c := range resp.Cookies() {
		p.cookie = c.Name + "=" + c.Value
	}
}

// next makes the customer's next request: one in seven is a write, and the first of most is to log in.
func (p *visitor) next(ctx context.Context) *http.Request {
	var req *http.Request
	switch n := p.random.IntN(100); {
	case p.cookie == "" && n < 60:
		req = p.post(ctx, "/login", Credentials{Phone: p.phone, Password: "correct horse " + p.phone[7:]})
	case n < 12:
		req = p.post(ctx, "/cart", CartLine{Item: 1 + p.random.IntN(Items), Count: 1 + p.random.IntN(3)})
	case n < 30:
		req = p.get(ctx, fmt.Sprintf("/items?page=%d", p.random.IntN(8)))
		req.Header.Set("Accept-Encoding", "gzip")
		if tag := p.etags[req.URL.RequestURI()]; tag != "" && p.random.IntN(2) == 0 {
			req.Header.Set("If-None-Match", tag)
		}
	case n < 45:
		words := Words()
		req = p.get(ctx, "/search?q="+words[p.random.IntN(len(words))])
	case n < 47:
		req = p.get(ctx, fmt.Sprintf("/items/%d", Items+1+p.random.IntN(50))) // a link that has grown old
	default:
		req = p.get(ctx, fmt.Sprintf("/items/%d", 1+p.random.IntN(Items)))
	}
	req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	if p.cookie != "" {
		req.Header.Set("Cookie", p.cookie)
		req.Header.Set("Authorization", "Bearer "+digest("token", p.phone))
	}
	return req
}

func (p *visitor) get(ctx context.Context, target string) *http.Request {
	return p.request(ctx, http.MethodGet, target, nil)
}

func (p *visitor) post(ctx context.Context, target string, body any) *http.Request {
	b, err := json.Marshal(body)
	if err != nil {
		panic(err) // both body types are plain
	}
	req := p.request(ctx, http.MethodPost, target, bytes.NewReader(b))
	req.Header.Set("Content-Type", "application/json")
	return req
}

func (p *visitor) request(ctx context.Context, method, target string, body io.Reader) *http.Request {
	// What has begun is finished, also when the visit is over.
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), method, p.url+target, body)
	if err != nil {
		panic(err) // Run has checked the URL
	}
	return req
}
