package redact

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/traffic"
)

func TestCredentialsAmongTheProtocolsOfAWebsocketAreReplaced(t *testing.T) {
	r := fixed(t)
	for in, like := range map[string]string{
		"bearer, hunter2secret":                                                 `^bearer, [a-z]{6}\d[a-z]{6}$`,
		"v1.chat,Access_Token ,hunter2secret, json":                             `^v1\.chat,Access_Token ,[a-z]{6}\d[a-z]{6}, json$`,
		"base64url.bearer.authorization.k8s.io.hunter2secret, v4.k8s":           `^base64url\.bearer\.authorization\.k8s\.io\.[a-z]{6}\d[a-z]{6}, v4\.k8s$`,
		"graphql-ws, header-hunter2secret":                                      `^graphql-ws, header-[a-z]{6}\d[a-z]{6}$`,
		"graphql-transport-ws, v10.stomp":                                       `^graphql-transport-ws, v10\.stomp$`,
		"bearer":                                                                `^bearer$`,
		"chat, bearer, abc, eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.hunter2secret": `^chat, bearer, [a-z]{3}, \S+\.\S+\.\S+$`,
		"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.hunter2secret, json.api":          `^\S+\.\S+\.\S+, json\.api$`, // found without a name
	} {
		x := &traffic.Exchange{Request: traffic.Request{Headers: []traffic.Field{field("Sec-WebSocket-Protocol", in)}}}
		require.NoError(t, r.Exchange(x))
		out := string(x.Request.Headers[0].Value)
		require.Regexp(t, like, out)
		require.NotContains(t, out, "hunter2secret")
		once := encoded(x)
		require.NoError(t, r.Exchange(x))
		require.Equal(t, once, encoded(x))
	}
}

func TestSemicolonsSeparateParametersWhereACredentialStandsBehind(t *testing.T) {
	r := fixed(t)
	for in, like := range map[string]string{
		"/p?a=1;token=hunter2secret":                  `^/p\?a=1;token=[a-z]{6}\d[a-z]{6}$`,
		"/p?a;b=c;token=hunter2secret;d=e&f=g":        `^/p\?a;b=c;token=[a-z]{6}\d[a-z]{6};[a-z]=[a-z]&f=g$`, // behind the name it may be a part of the credential
		"/p?token=hunter2secret;x&password=;token=":   `^/p\?token=[a-z]{6}\d[a-z]{6};[a-z]&password=;token=$`,
		"/p?x=1;tok%65n=hunter2secret;sid=hunter2abc": `^/p\?x=1;tok%65n=[a-z]{6}\d[a-z]{6};sid=[a-z]{6}\d[a-z]{3}$`,
		"/p#a=1;token=hunter2secret":                  `^/p#a=1;token=[a-z]{6}\d[a-z]{6}$`,
		"/p?a=1;b=2;c":                                `^/p\?a=1;b=2;c$`,
	} {
		x := &traffic.Exchange{Request: traffic.Request{Target: []byte(in)}}
		require.NoError(t, r.Exchange(x))
		require.Regexp(t, like, string(x.Request.Target))
		require.NotContains(t, string(x.Request.Target), "hunter2secret")
		once := encoded(x)
		require.NoError(t, r.Exchange(x))
		require.Equal(t, once, encoded(x))
	}
}
