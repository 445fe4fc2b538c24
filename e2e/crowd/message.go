package crowd

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// kinds are the different requests; which one of them it is, and its number, are in its target and in its answer.
const kinds = 64

// digits of a request's number, always as many, so that a message is a copy of its kind with the number written in.
const digits = 10

// kind is one request and its answer, but for the number.
type kind struct {
	request, answer     []byte
	inRequest, inAnswer int // where the number is
}

// messages makes the kinds: one in three is a POST, one in sixteen has a long answer. They are the same every time.
func messages() []kind {
	random := rand.New(rand.NewPCG(1, 2))
	number := strings.Repeat("0", digits)
	all := make([]kind, kinds)
	for i := range all {
		k := &all[i]
		method, status, size := "GET", "200 OK", 200+random.IntN(1200)
		if i%16 == 5 {
			size = 8 << 10
		}
		body := ""
		if i%3 == 0 {
			method, status, size = "POST", "201 Created", 100
			body = fmt.Sprintf(`{"phone":"138%08d","password":"correct horse","note":%q}`, random.IntN(1e8), words(random, 50+random.IntN(1500)))
		}
		head := fmt.Sprintf("%s /things/%02d/%s?ref=home HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: crowd/1.0\r\n"+
			"Cookie: session=%016x\r\nAuthorization: Bearer %016x%016x\r\n", method, i, number, random.Uint64(), random.Uint64(), random.Uint64())
		if body != "" {
			head += fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
		}
		k.request = []byte(head + "\r\n" + body)
		k.inRequest = strings.Index(head, number)
		text := fmt.Sprintf(`{"number":%q,"text":%q}`, number, words(random, size))
		k.answer = fmt.Appendf(nil, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status, len(text), text)
		k.inAnswer = bytes.Index(k.answer, []byte(number))
	}
	return all
}

// words are text of about so many bytes that compresses as text does.
func words(random *rand.Rand, size int) string {
	var b strings.Builder
	for b.Len() < size {
		for range 2 + random.IntN(8) {
			b.WriteByte('a' + byte(min(random.IntN(26), random.IntN(26))))
		}
		b.WriteByte(' ')
	}
	return b.String()
}

// numbered writes a message with its number into buf.
func numbered(buf, message []byte, at int, number uint64) []byte {
	buf = append(buf[:0], message...)
	for i := digits - 1; i >= 0; i, number = i-1, number/10 {
		buf[at+i] = '0' + byte(number%10)
	}
	return buf
}

// parseTarget finds the kind and the number in a request line of ours.
func parseTarget(line []byte) (index int, number uint64, ok bool) {
	_, rest, ok := bytes.Cut(line, []byte(" /things/"))
	if !ok || len(rest) < 3+digits || rest[2] != '/' {
		return 0, 0, false
	}
	index, err := strconv.Atoi(string(rest[:2]))
	if err != nil || index < 0 || index >= kinds {
		return 0, 0, false
	}
	number, err = strconv.ParseUint(string(rest[3:3+digits]), 10, 64)
	return index, number, err == nil
}
