package processor

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/job"
	"replyworker/internal/wxclient"
)

func TestBrakeFindsTheMerchantAtFault(t *testing.T) {
	t.Parallel()
	type failure struct{ merchant, complaint, cause string }
	row := func(n int, merchant, cause string) (f []failure) {
		for i := range n {
			f = append(f, failure{merchant, fmt.Sprint("c", i), cause})
		}
		return f
	}
	same := func(n int) (f []failure) {
		for range n {
			f = append(f, failure{"1", "c", "x"})
		}
		return f
	}
	for _, tt := range []struct {
		name   string
		limit  int
		before []failure
		reset  string // the merchant that succeeds then
		last   failure
		want   bool
	}{
		{"one short of the limit", 3, row(1, "1", "x"), "", failure{"1", "new", "x"}, false},
		{"the limit", 3, row(2, "1", "x"), "", failure{"1", "new", "x"}, true},
		{"past the limit", 3, row(5, "1", "x"), "", failure{"1", "new", "x"}, true},
		{"one complaint again and again", 3, same(9), "", failure{"1", "c", "x"}, false},
		{"another cause between", 3, append(row(2, "1", "x"), failure{"1", "odd", "y"}), "", failure{"1", "new", "x"}, false},
		{"a success between", 3, row(2, "1", "x"), "1", failure{"1", "new", "x"}, false},
		{"a success of another merchant between", 3, row(2, "1", "x"), "2", failure{"1", "new", "x"}, true},
		{"failures of another merchant", 3, row(2, "2", "x"), "", failure{"1", "new", "x"}, false},
		{"one complaint and then another", 3, same(9), "", failure{"1", "new", "x"}, true},
		{"two complaints in turn", 4, []failure{{"1", "a", "x"}, {"1", "b", "x"}, {"1", "a", "x"}}, "", failure{"1", "b", "x"}, true},
		{"off", 0, row(100, "1", "x"), "", failure{"1", "new", "x"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBrake(tt.limit)
			for _, f := range tt.before {
				b.failed(f.merchant, f.complaint, f.cause)
			}
			if tt.reset != "" {
				b.reset(tt.reset)
			}
			require.Equal(t, tt.want, b.failed(tt.last.merchant, tt.last.complaint, tt.last.cause),
				"whether the merchant is at fault after %v and then %v, limit %d", tt.before, tt.last, tt.limit)
		})
	}
}

func TestCauseTellsFaultsApart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  *wxclient.Error
		want string
	}{
		{&wxclient.Error{Class: wxclient.ClassRefused, Status: 400, Code: "PARAM_ERROR"}, "rejected 400 PARAM_ERROR"},
		{&wxclient.Error{Class: wxclient.ClassRefused, Status: 403}, "rejected 403 " + wxclient.ClassRefused.String()},
		{&wxclient.Error{Class: wxclient.ClassHostFailed}, "rejected " + wxclient.ClassHostFailed.String()},
	} {
		require.Equal(t, tt.want, cause(job.ReasonRejected, tt.err), "cause of %+v", tt.err)
	}
}
