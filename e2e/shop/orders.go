package shop

import (
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// Order is what somebody who has logged in bought. Only they can see it.
type Order struct {
	ID    int    `json:"id"`
	Item  int    `json:"item"`
	Count int    `json:"count"`
	State string `json:"state"`

	token string // whose it is
}

// ordering is for those who have logged in, with a token and the session that came with it; nobody else gets beyond 401.
func (s *Shop) ordering() {
	s.mux.HandleFunc("POST /orders", s.member(func(w http.ResponseWriter, r *http.Request, token string) {
		var o Order
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&o); err != nil || o.Item < 1 || o.Item > len(s.items) {
			reply(w, r, http.StatusBadRequest, map[string]string{"error": "no such item"})
			return
		}
		s.lastOrder++
		o.ID, o.State, o.token = s.lastOrder, "open", token
		s.orders[o.ID] = &o
		w.Header().Set("Location", "/orders/"+strconv.Itoa(o.ID))
		reply(w, r, http.StatusCreated, o)
	}))
	s.mux.HandleFunc("GET /orders/{id}", s.member(func(w http.ResponseWriter, r *http.Request, token string) {
		if o := s.order(w, r, token); o != nil {
			reply(w, r, http.StatusOK, *o)
		}
	}))
	// The number stands in the path and in the body; both must be right.
	s.mux.HandleFunc("PUT /orders/{id}", s.member(func(w http.ResponseWriter, r *http.Request, token string) {
		var change struct{ Order, Count int }
		o := s.order(w, r, token)
		if o == nil {
			return
		}
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&change); err != nil || change.Order != o.ID {
			reply(w, r, http.StatusConflict, map[string]string{"error": "which order?"})
			return
		}
		o.Count = change.Count
		reply(w, r, http.StatusOK, *o)
	}))
	s.mux.HandleFunc("POST /logout", s.member(func(w http.ResponseWriter, _ *http.Request, token string) {
		delete(s.users, token)
		http.SetCookie(w, &http.Cookie{Name: "session", Path: "/", MaxAge: -1})
		w.WriteHeader(http.StatusNoContent)
	}))
}

// member lets those through whose token and session belong together; the shop is locked meanwhile.
func (s *Shop) member(do func(w http.ResponseWriter, r *http.Request, token string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		s.mu.Lock()
		defer s.mu.Unlock()
		account, ok := s.users[token]
		if !ok || session(r) != s.session(account.Phone) {
			reply(w, r, http.StatusUnauthorized, map[string]string{"error": "who are you?"})
			return
		}
		do(w, r, token)
	}
}

// order returns the order that is asked for; nil: it has answered 404.
func (s *Shop) order(w http.ResponseWriter, r *http.Request, token string) *Order {
	id, _ := strconv.Atoi(r.PathValue("id"))
	if o := s.orders[id]; o != nil && o.token == token {
		return o
	}
	reply(w, r, http.StatusNotFound, map[string]string{"error": "no such order"})
	return nil
}

func (s *Shop) token(phone string) string   { return digest("token"+s.options.Deployment, phone) }
func (s *Shop) session(phone string) string { return digest("session"+s.options.Deployment, phone) }

// firstOrder is where a deployment begins to count.
func firstOrder(deployment string) int {
	return 100_000 + 1000*int(sha256.Sum256([]byte(deployment))[0])
}
