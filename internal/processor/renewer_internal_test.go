package processor

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
)

// lossyClaims have lost every claim that is renewed.
type lossyClaims struct {
	Claims

	meanwhile func()
}

func (l lossyClaims) Renew(_ context.Context, all []dedupe.Claimant) []error {
	l.meanwhile()
	errs := make([]error, len(all))
	for i := range errs {
		errs[i] = dedupe.ErrLost
	}
	return errs
}

func TestAClaimThatItsOwnCallHasSettledIsNotCalledLost(t *testing.T) {
	t.Parallel()
	for _, ended := range []bool{true, false} {
		var out bytes.Buffer
		release := func() {}
		r := newRenewer(lossyClaims{meanwhile: func() {
			if ended {
				release()
			}
		}}, time.Nanosecond, zerolog.New(&out))
		release = r.hold(dedupe.Claimant{Token: "t"})
		r.renew(t.Context())
		require.Equal(t, !ended, bytes.Contains(out.Bytes(), []byte("a claim was lost")), "the call has ended: %t", ended)
	}
}
