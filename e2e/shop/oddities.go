package shop

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// oddities are what HTTP allows and a shop seldom does; the tests need them.
func (s *Shop) oddities() {
	s.mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(r.PathValue("code"))
		if err != nil || code < 200 || code > 599 {
			code = http.StatusBadRequest
		}
		w.WriteHeader(code)
	})
	// A body of that many bytes, its length told.
	s.mux.HandleFunc("GET /bytes/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.ParseInt(r.PathValue("n"), 10, 64)
		if err != nil || n < 0 || n > 1<<30 {
			http.Error(w, "how many?", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		_, _ = io.CopyN(w, &letters{}, n)
	})
	// Chunked, flushed line by line, with a trailer.
	s.mux.HandleFunc("GET /stream/{lines}", func(w http.ResponseWriter, r *http.Request) {
		lines, _ := strconv.Atoi(r.PathValue("lines"))
		w.Header().Set("Trailer", "X-Lines")
		w.Header().Set("Content-Type", "text/plain")
		flush := http.NewResponseController(w)
		for i := range min(lines, 10000) {
			if _, err := fmt.Fprintf(w, "line %d\n", i); err != nil {
				return
			}
			_ = flush.Flush()
		}
		w.Header().Set("X-Lines", strconv.Itoa(lines))
	})
	// An early hint before the answer.
	s.mux.HandleFunc("GET /early", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		reply(w, r, http.StatusOK, map[string]string{"early": "yes"})
	})
	// What was sent comes back.
	s.mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
	})
}

// letters is an endless text.
type letters struct{ at int }

// Read implements io.Reader.
func (l *letters) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'a' + byte(l.at%26)
		if l.at++; l.at%80 == 79 {
			b[i] = '\n'
		}
	}
	return len(b), nil
}
