package logformat

import "fmt"

// Named returns the templates of a format that is known by its name: common, combined, vhost_combined, or accesslog for
// all of them and for how people extend them. A line is of the first one that matches.
func Named(name string) ([]*Template, bool) {
	switch name {
	case "common":
		return builtin(CommonFormat), true
	case "combined":
		return builtin(CombinedFormat, CombinedFormat+` %{rest}n`), true
	case "vhost_combined":
		return builtin(VhostCombinedFormat, VhostCombinedFormat+` %{rest}n`), true
	case "accesslog":
		// A user's name has no space here, or a host in front of the line would pass as a client.
		const (
			line    = `%h %l %l %t "%r" %>s %b`
			referer = ` "%{Referer}i" "%{User-Agent}i"`
			rest    = ` %{rest}n`
			vhost   = `%{domain}v `
			proxies = `%{X-Forwarded-For}i `
			quoted  = `"%{X-Forwarded-For}i" `
		)
		return builtin(
			line+referer, line, line+referer+rest,
			`%v:%p `+line+referer, `%v:%p `+line, `%v:%p `+line+referer+rest,
			vhost+line+referer, vhost+line, vhost+line+referer+rest,
			quoted+line+referer, quoted+line, quoted+line+referer+rest,
			proxies+line+referer, proxies+line, proxies+line+referer+rest,
			CombinedFormat, CommonFormat, CombinedFormat+rest,
		), true
	}
	return nil, false
}

func builtin(formats ...string) []*Template {
	templates := make([]*Template, len(formats))
	for i, format := range formats {
		t, err := Apache(format)
		if err != nil {
			panic(fmt.Sprintf("logformat: %q: %v", format, err)) // kept from happening by a test
		}
		templates[i] = t
	}
	return templates
}
