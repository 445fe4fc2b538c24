package fault

import "strings"

// Nearest finds the name that was probably meant by word, among names in lower case.
func Nearest(word string, names []string) (string, bool) {
	best, at := "", 3 // more than two changes are another word
	for _, n := range names {
		if len(word) >= len(n)+at || len(n) >= len(word)+at {
			continue
		}
		if d := distance(strings.ToLower(word), n); d < at {
			best, at = n, d
		}
	}
	return best, best != ""
}

// distance is how many letters have to be put in, left out or changed.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
