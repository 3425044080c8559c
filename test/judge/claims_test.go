package judge_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/test/judge"
)

// node answers in two pieces, the first of them empty.
type node struct {
	asked  []string
	answer string
}

func (*node) Master(context.Context) (int, error) { return 2, nil }

func (n *node) Do(_ context.Context, number int, args ...string) (string, error) {
	n.asked = append(n.asked, strings.Join(append([]string{map[bool]string{true: "master"}[number == 2]}, args[2:]...), " "))
	if len(n.asked) == 1 {
		return "17", nil
	}
	return "0\n" + n.answer, nil
}

func TestClaims(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, answer string
		want         map[string]string
		fault        string
	}{
		{name: "none", want: map[string]string{}},
		{
			name: "each state, and an id with a space", answer: "p:job:{1:a} c\np:job:{1:b} w\np:job:{1:c d} d\np:job:{1:e} x\np:job:{1:f} e",
			want: map[string]string{
				"p:job:{1:a}": "claimed", "p:job:{1:b}": "waiting", "p:job:{1:c d}": "done", "p:job:{1:e}": "dead",
				"p:job:{1:f}": "expired",
			},
		},
		{name: "a key that is no claim", answer: "p:job:{1:a} ?", fault: "is no claim"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := &node{answer: c.answer}
			got, err := judge.Claims(t.Context(), n, "p")
			if c.fault != "" {
				require.ErrorContains(t, err, c.fault)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got)
			require.Equal(t, []string{"master 0 0 p:job:*", "master 0 17 p:job:*"}, n.asked)
		})
	}
}
