package tap

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reprise-io/reprise/internal/rewrite"
	"github.com/reprise-io/reprise/internal/traffic"
	"github.com/reprise-io/reprise/internal/wire"
)

func TestSessionsAreToldApartByRule(t *testing.T) {
	login, me := exchange("POST", "/login", ""), exchange("GET", "/me", "")
	login.Exchange.Request.Headers = nil
	login.Exchange.Response = &traffic.Response{Status: 200, Body: []byte(`{"token":"t-1"}`)}
	me.Exchange.Request.Headers = []traffic.Field{{Name: []byte("Authorization"), Value: []byte("Bearer t-1")}}
	key, err := rewrite.ParseKey([]string{"header Authorization", "answer json $.token"})
	require.NoError(t, err)

	k := &keeper{result: acknowledge}
	p := NewPipeline(PipelineConfig{Writer: k, Budget: NewBudget(1 << 20)})
	k.pipeline = p
	s := everything()
	s.Rules = &Rules{SessionKey: key, Redactor: shout{}}
	p.apply(compiled(t, s))
	w := worker{p: p}
	w.handle([]wire.Captured{login, me})
	require.Len(t, k.records, 2)
	first := decoded(t, k.records[0]).Session
	require.NotEmpty(t, first)
	require.NotContains(t, string(first), "t-1", "it is a pseudonym")
	require.Equal(t, first, decoded(t, k.records[1]).Session)
	require.Equal(t, k.records[0].Key, k.records[1].Key)

	for _, bad := range []string{"answer query q", "nowhere x", "header"} {
		_, err := rewrite.ParseKey([]string{bad})
		require.Error(t, err, bad)
	}
}
