// Package threshold reads the language in which flags and rules say what is too much: "error_rate > 5%/30s". What the names
// mean, and which value is too much of each, say those who ask.
package threshold

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Text is a threshold in its parts.
type Text struct {
	Name  string // of what is measured; empty: it is not said
	Value string // above which it is too much: "5%", "200ms", "3"
	// Window is the time over which it is measured, above 0; Windowed: one was given.
	Window   time.Duration
	Windowed bool
}

// Split reads "VALUE", "VALUE/WINDOW", "NAME > VALUE" or "NAME > VALUE/WINDOW". Its errors are causes, to be told with the text.
func Split(s string) (t Text, err error) {
	rest := s
	if at := strings.IndexAny(s, "<>=!"); at >= 0 {
		t.Name = strings.TrimSpace(s[:at])
		if rest = s[at+1:]; s[at] != '>' || strings.HasPrefix(rest, "=") {
			return t, errors.New("want >: what is above is too much")
		}
		if t.Name == "" {
			return t, errors.New("want a name in front of >")
		}
	} else if name := leadingName(s); name != "" {
		return t, fmt.Errorf("want > behind %s", name)
	}
	value, window, windowed := strings.Cut(rest, "/")
	t.Value, t.Windowed = strings.TrimSpace(value), windowed
	if windowed {
		if t.Window, err = time.ParseDuration(strings.TrimSpace(window)); err != nil || t.Window <= 0 {
			return t, errors.New("the window is no time")
		}
	}
	return t, nil
}

// leadingName returns the word that a text begins with.
func leadingName(s string) string {
	s = strings.TrimSpace(s)
	end := strings.IndexFunc(s, func(r rune) bool { return !(r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9') })
	if end < 0 {
		end = len(s)
	}
	if end == 0 || s[0] < 'a' {
		return ""
	}
	return s[:end]
}

// Percent reads "5%" as 5.
func Percent(value string) (float64, error) {
	number, ok := strings.CutSuffix(value, "%")
	if !ok {
		return 0, errors.New("a rate is in percent")
	}
	n, err := Number(strings.TrimSpace(number))
	if err != nil {
		return 0, errors.New("the rate is no number")
	}
	return n, nil
}

// Number reads a finite number.
func Number(value string) (float64, error) {
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0, errors.New("want a number")
	}
	return n, nil
}
