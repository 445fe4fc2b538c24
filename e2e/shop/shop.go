// Package shop is a small web shop with the same data at every start. The demo and the end-to-end tests use it as
// production and, as another build with two faults, as pre-production.
package shop

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options choose a build of the shop. The zero value is the one in production.
type Options struct {
	// LosePrice is a regression: an item's own page has no price any more.
	LosePrice bool
	// SlowSearch is how much longer a search takes.
	SlowSearch time.Duration
	// Deployment is whose tokens, sessions and order numbers it gives: what another deployment gave it does not know.
	Deployment string
}

// PreProduction is the build under test: one regression, one slow route.
func PreProduction() Options {
	return Options{LosePrice: true, SlowSearch: 100 * time.Millisecond}
}

// Shop is an http.Handler.
type Shop struct {
	options  Options
	items    []Item
	mux      *http.ServeMux
	requests atomic.Int64
	writes   atomic.Int64

	mu    sync.Mutex
	carts map[string][]CartLine
	users map[string]Account // by token

	orders    map[int]*Order
	lastOrder int
}

// Account is who has logged in.
type Account struct {
	Phone string `json:"phone"`
	Name  string `json:"name"`
}

// CartLine is one entry of a cart.
type CartLine struct {
	Item  int `json:"item"`
	Count int `json:"count"`
}

// Credentials are the body of POST /login.
type Credentials struct {
	Phone    string `json:"phone"`
	Password string `json:"password"`
}

// New returns a shop that nobody has visited.
func New(o Options) *Shop {
	s := &Shop{
		options: o, items: catalogue(), mux: http.NewServeMux(),
		carts: make(map[string][]CartLine), users: make(map[string]Account),
		orders: make(map[int]*Order), lastOrder: firstOrder(o.Deployment),
	}
	s.mux.HandleFunc("GET /items", s.list)
	s.mux.HandleFunc("GET /items/{id}", s.item)
	s.mux.HandleFunc("GET /search", s.search)
	s.mux.HandleFunc("POST /login", s.login)
	s.mux.HandleFunc("GET /me", s.me)
	s.mux.HandleFunc("POST /cart", s.addToCart)
	s.mux.HandleFunc("GET /cart", s.cart)
	s.ordering()
	s.oddities()
	return s
}

// ServeHTTP implements http.Handler.
func (s *Shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	if r.Method == http.MethodPost {
		s.writes.Add(1)
	}
	s.mux.ServeHTTP(w, r)
}

// Requests counts what the shop was asked.
func (s *Shop) Requests() int64 { return s.requests.Load() }

// Writes counts the POSTs among them.
func (s *Shop) Writes() int64 { return s.writes.Load() }

// list: GET /items?page=N, 20 to a page, gzipped for those who accept it.
func (s *Shop) list(w http.ResponseWriter, r *http.Request) {
	const size = 20
	page, _ := strconv.Atoi(r.URL.Query().Get("page"))
	from := min(max(page, 0)*size, len(s.items))
	reply(w, r, http.StatusOK, map[string]any{
		"page": page, "items": s.items[from:min(from+size, len(s.items))], "total": len(s.items),
	})
}

// item: GET /items/{id}, with an ETag.
func (s *Shop) item(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil || id < 1 || id > len(s.items) {
		reply(w, r, http.StatusNotFound, map[string]string{"error": "no such item"})
		return
	}
	item := s.items[id-1]
	if s.options.LosePrice {
		item.Price = nil
	}
	reply(w, r, http.StatusOK, item)
}

// search: GET /search?q=WORD. It takes its time, as a search does.
func (s *Shop) search(w http.ResponseWriter, r *http.Request) {
	select {
	case <-time.After(5*time.Millisecond + s.options.SlowSearch):
	case <-r.Context().Done():
		return
	}
	q := r.URL.Query().Get("q")
	type hit struct {
		ID   int    `json:"id"`
		Name string `json:"name"`
	}
	hits := []hit{}
	for _, item := range s.items {
		if q != "" && strings.Contains(item.Name, q) && len(hits) < 10 {
			hits = append(hits, hit{item.ID, item.Name})
		}
	}
	reply(w, r, http.StatusOK, map[string]any{"query": q, "hits": hits})
}

// login: POST /login. Every phone number has an account; the token depends on the number alone.
func (s *Shop) login(w http.ResponseWriter, r *http.Request) {
	var c Credentials
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&c); err != nil || c.Phone == "" {
		reply(w, r, http.StatusBadRequest, map[string]string{"error": "phone and password, please"})
		return
	}
	token := s.token(c.Phone)
	account := Account{Phone: c.Phone, Name: "Customer " + c.Phone[max(0, len(c.Phone)-4):]}
	s.mu.Lock()
	s.users[token] = account
	s.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: "session", Value: s.session(c.Phone), Path: "/", HttpOnly: true})
	reply(w, r, http.StatusOK, map[string]any{"token": token, "user": account})
}

// me: GET /me, for whoever carries the token of a login.
func (s *Shop) me(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	account, ok := s.users[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	s.mu.Unlock()
	if !ok {
		reply(w, r, http.StatusUnauthorized, map[string]string{"error": "who are you?"})
		return
	}
	reply(w, r, http.StatusOK, account)
}

// addToCart: POST /cart, the write. The cart belongs to the session cookie.
func (s *Shop) addToCart(w http.ResponseWriter, r *http.Request) {
	var line CartLine
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&line)
	if err != nil || line.Item < 1 || line.Item > len(s.items) {
		reply(w, r, http.StatusBadRequest, map[string]string{"error": "no such item"})
		return
	}
	who := session(r)
	s.mu.Lock()
	s.carts[who] = append(s.carts[who][max(0, len(s.carts[who])-19):], line)
	count := len(s.carts[who])
	s.mu.Unlock()
	reply(w, r, http.StatusCreated, map[string]int{"lines": count})
}

// cart: GET /cart.
func (s *Shop) cart(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	lines := append([]CartLine{}, s.carts[session(r)]...)
	s.mu.Unlock()
	reply(w, r, http.StatusOK, map[string]any{"lines": lines})
}

func session(r *http.Request) string {
	if c, err := r.Cookie("session"); err == nil {
		return c.Value
	}
	return ""
}

// reply writes v as JSON, with an ETag on what one can ask for again, and gzipped when that is accepted and worth it.
func reply(w http.ResponseWriter, r *http.Request, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if status == http.StatusOK && r.Method == http.MethodGet {
		etag := `"` + digest("etag", string(body))[:16] + `"`
		h.Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	if len(body) > 1024 && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		h.Add("Vary", "Accept-Encoding")
		var zipped bytes.Buffer
		z := gzip.NewWriter(&zipped)
		_, _ = z.Write(body)
		_ = z.Close()
		body = zipped.Bytes()
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// digest makes the tokens, session ids and tags: they look random and are the same at every start.
func digest(kind, of string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s of %s", kind, of))
	return hex.EncodeToString(sum[:])[:40]
}
