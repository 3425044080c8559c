package replay_test

import (
	"context"

	"replyworker/internal/dedupe"
)

// nobodysClaims knows no job.
type nobodysClaims struct{}

func (nobodysClaims) LookupAll(_ context.Context, keys []dedupe.Key) []dedupe.LookupResult {
	return make([]dedupe.LookupResult, len(keys))
}

// fixedClaims answers by the idempotent id.
type fixedClaims map[string]dedupe.LookupResult

func (c fixedClaims) LookupAll(_ context.Context, keys []dedupe.Key) []dedupe.LookupResult {
	results := make([]dedupe.LookupResult, len(keys))
	for i, k := range keys {
		results[i] = c[k.IdempotentID]
	}
	return results
}
