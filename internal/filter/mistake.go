package filter

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/reprise-io/reprise/internal/fault"
)

// A mistake is what is wrong with a source that was meant as a shorthand, in the shorthand's own words.
type mistake struct {
	column int    // in bytes, from 1
	cause  string // of it
	try    string // a filter that can be read, in quotes as a shell takes it
}

// mistaken tells a shorthand that went wrong from an expression that did; nil: it is none. It is asked about what cannot be compiled.
func mistaken(src string) *fault.Error {
	// Compiled here and not once: filters are compiled at the start only, and few of them are bad.
	quotes := regexp.MustCompile("^(['\"`])(.*)(['\"`])$").FindStringSubmatch(src)
	together := regexp.MustCompile(`^([A-Za-z]+):?(/\S*)$`).FindStringSubmatch(src)
	list := regexp.MustCompile(`^([A-Za-z]+(?:\s*[,|;]\s*[A-Za-z]+)*)(?:\s+(.*))?$`).FindStringSubmatchIndex(src)
	bare := regexp.MustCompile(`^[\w.~%*?-]+(/[\w.~%*?{}-]*)+$`)

	var m *mistake
	switch {
	case quotes != nil && quotes[1] == quotes[3] && (&Filter{src: quotes[2]}).shorthand():
		m = &mistake{1, "it is in quotes, and in those of the shell besides", shell(quotes[2])}
	case together != nil && isMethod(together[1]):
		m = &mistake{len(together[1]) + 1, "a method and a path have a blank between them", shell(strings.ToUpper(together[1]) + " " + together[2])}
	case list != nil && areMethods(src[list[2]:list[3]]):
		methods := strings.Join(split(strings.ToUpper(src[list[2]:list[3]])), ",")
		if list[4] < 0 {
			m = &mistake{1, "methods are in capitals, with commas between them", shell(methods)}
		} else {
			m = besideMethods(src, methods, src[list[4]:list[5]], list[4]+1)
		}
	case strings.HasPrefix(src, "http://"), strings.HasPrefix(src, "https://"):
		m = withoutHost(src, "", 1)
	case bare.MatchString(src) && !startsWithName(src):
		m = &mistake{1, `a path begins with "/"`, shell("/" + src)}
	}
	if m == nil {
		return nil
	}
	return fault.BadUsage(fmt.Sprintf("bad filter %q", src), fmt.Sprintf("column %d: %s", m.column, m.cause), m.try)
}

// besideMethods says what is wrong with what stands behind the methods.
func besideMethods(src, methods, behind string, column int) *mistake {
	words := strings.Fields(behind)
	path := strings.Trim(words[0], "'\"`")
	switch {
	case slices.Contains([]string{"&&", "||", "and", "or"}, words[0]):
		return &mistake{column, "a shorthand is methods and a path, and nothing else", shell(methodsAre(methods) + " " + behind)}
	case path == "", strings.IndexByte("=!<>+-?:&|)]", words[0][0]) >= 0: // an expression
		return nil
	case strings.HasPrefix(path, "http://"), strings.HasPrefix(path, "https://"):
		return withoutHost(path, methods+" ", column)
	case len(words) > 1 && strings.HasPrefix(words[0], "/") && strings.HasPrefix(words[1], "/"):
		return &mistake{column + strings.Index(behind, words[1]), "a shorthand has one path", "a filter for each: " + shell(methods+" "+words[0]) + " and " + shell(methods+" "+words[1])}
	case len(words) > 1:
		return &mistake{column, "a shorthand is methods and a path, and nothing else", "an expression for all that is more: " + shell(methodsAre(methods)+` && path startsWith "/api" && status >= 500`)}
	case !strings.HasPrefix(path, "/"):
		return &mistake{column, `a path begins with "/"`, shell(methods + " /" + path)}
	case path != words[0]:
		return &mistake{column, "a path is without quotes", shell(methods + " " + path)}
	case !strings.HasPrefix(src, methods):
		return &mistake{1, "methods are in capitals, with commas between them", shell(methods + " " + path)}
	}
	return nil
}

// withoutHost says that a URL is no path.
func withoutHost(url, methods string, column int) *mistake {
	_, rest, _ := strings.Cut(url, "://")
	host, path, _ := strings.Cut(rest, "/")
	path, _, _ = strings.Cut(path, "?")
	try := shell(methods + "/" + path)
	if host = strings.Map(plain, host); host != "" {
		try += ", or " + shell(`host == "`+host+`"`)
	}
	return &mistake{column, "a shorthand has a path, and no scheme and host", try}
}

// plain drops what a name of a host does not have.
func plain(r rune) rune {
	if strings.ContainsRune("\"\\'`", r) {
		return -1
	}
	return r
}

func split(methods string) []string {
	return strings.FieldsFunc(methods, func(r rune) bool { return strings.ContainsRune(",|; \t", r) })
}

func areMethods(list string) bool {
	for _, one := range split(list) {
		if !isMethod(one) {
			return false
		}
	}
	return true
}

// isMethod takes any name in capitals, as a shorthand does, and those of HTTP in small letters.
func isMethod(s string) bool {
	known := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"}
	return s == strings.ToUpper(s) || slices.Contains(known, strings.ToUpper(s))
}

func methodsAre(list string) string {
	if !strings.Contains(list, ",") {
		return `method == "` + list + `"`
	}
	return `method in ["` + strings.ReplaceAll(list, ",", `", "`) + `"]`
}

func startsWithName(src string) bool {
	word, _, _ := strings.Cut(src, "/")
	all, _ := names()
	return slices.Contains(all, word)
}

func shell(filter string) string { return "'" + filter + "'" }
