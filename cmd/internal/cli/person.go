package cli

import (
	"os"
	"os/user"
	"strings"
)

// Person says who gives a command: "host/user".
func Person() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return strings.ToValidUTF8(host+"/"+name, "?")
}
