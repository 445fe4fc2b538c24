package traffic

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHostsInDoubt(t *testing.T) {
	for _, c := range []struct {
		protocol, scheme, authority string
		hosts                       []string
		want                        bool
	}{
		{"HTTP/1.1", "http", "shop", []string{"shop"}, false},
		{"HTTP/1.1", "http", "shop", nil, false},
		{"HTTP/1.1", "http", "shop", []string{"evil"}, false}, // the target is in absolute form, and counts
		{"HTTP/1.1", "http", "shop", []string{"shop", "evil"}, true},
		{"HTTP/1.0", "http", "shop", []string{"shop", "shop"}, true},
		{"HTTP/2.0", "http", "shop", nil, false},
		{"HTTP/2.0", "http", "shop", []string{"SHOP"}, false},
		{"HTTP/2.0", "http", "shop:80", []string{"shop"}, false},
		{"HTTP/2.0", "https", "shop", []string{"shop:443"}, false},
		{"HTTP/2.0", "https", "shop", []string{"shop:80"}, true},
		{"HTTP/2.0", "https", "shop", []string{"evil"}, true},
		{"HTTP/3.0", "https", "shop", []string{"evil"}, true},
		{"HTTP/2.0", "https", "", []string{"shop"}, false},
		{"", "https", "shop", []string{"evil"}, false}, // nobody knows how it came
	} {
		r := Request{Protocol: []byte(c.protocol), Scheme: []byte(c.scheme), Authority: []byte(c.authority)}
		for _, host := range c.hosts {
			r.Headers = append(r.Headers, Field{Name: []byte("hOST"), Value: []byte(host)})
		}
		require.Equal(t, c.want, r.HostInDoubt(), "%v", c)
	}
}
