package dedupetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
)

func testLock(t *testing.T, e env) {
	ctx := t.Context()
	lock := func(token string) dedupe.Lock {
		t.Helper()
		l, err := e.Lock(ctx, "replay", token, "owner of "+token, time.Hour)
		require.NoError(t, err)
		return l
	}
	require.True(t, lock("a").Held)
	require.True(t, lock("a").Held, "a repeat with the token is granted again")
	refused := lock("b")
	require.False(t, refused.Held)
	require.Equal(t, "owner of a", refused.Owner)
	near(t, time.Hour, refused.Left)

	e.advance(t, 50*time.Minute)
	require.True(t, lock("a").Held, "renewed")
	e.advance(t, 50*time.Minute)
	require.False(t, lock("b").Held, "it lasts from its renewal on")
	e.advance(t, 11*time.Minute)
	require.True(t, lock("b").Held, "it ends by itself")
	require.False(t, lock("a").Held, "who was late has lost it")

	require.NoError(t, e.Unlock(ctx, "replay", "a"))
	require.False(t, lock("c").Held, "nobody gives back what another has")
	require.NoError(t, e.Unlock(ctx, "replay", "b"))
	require.True(t, lock("c").Held)

	other, err := e.Lock(ctx, "another", "d", "", time.Hour)
	require.NoError(t, err)
	require.True(t, other.Held)
}

func testLookupAll(t *testing.T, e env) {
	ctx := t.Context()
	keys := make([]dedupe.Key, 450) // more than one pipeline
	for i := range keys {
		keys[i] = dedupe.Key{MchID: "1900000001", IdempotentID: dedupe.NewToken()}
		if i%2 == 0 {
			_, err := e.Claim(ctx, dedupe.Claimant{Key: keys[i], Token: "t", Source: "s", Content: contentX}, 1)
			require.NoError(t, err)
		}
	}
	keys[7] = dedupe.Key{}
	results := e.LookupAll(ctx, keys)
	require.Len(t, results, len(keys))
	for i, got := range results {
		if i == 7 {
			require.Error(t, got.Err)
			continue
		}
		want, found, err := e.Lookup(ctx, keys[i])
		require.NoError(t, err)
		require.NoError(t, got.Err)
		require.Equal(t, found, got.Found)
		got.Record.Wait, want.Wait = 0, 0
		require.Equal(t, want, got.Record)
	}
}
