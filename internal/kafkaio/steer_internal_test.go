package kafkaio

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestASilentBrokerIsNotAskedFirst is what a group of workers saw whose first bootstrap address took
// connections for a broker that was down: none of them joined until it was back.
func TestASilentBrokerIsNotAskedFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		speaks := map[string]bool{"a:1": false, "b:1": true}
		s := newSteer([]string{"a:1", "b:1"}, func(_ context.Context, _, address string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				if speaks[address] {
					_, _ = theirs.Write([]byte("x"))
				}
				_ = theirs.Close()
			}()
			return ours, nil
		})
		ask := func(address string) error {
			c, err := s.connect(t.Context(), "tcp", address)
			if err != nil {
				return err
			}
			defer func() { _ = c.Close() }()
			_, _ = c.Read(make([]byte, 1))
			return nil
		}
		require.NoError(t, ask("a:1"), "nobody knows yet")
		require.ErrorContains(t, ask("a:1"), "does not answer")
		require.NoError(t, ask("b:1"))

		time.Sleep(shunFor)
		require.NoError(t, ask("a:1"), "it may be well again")
		require.Error(t, ask("a:1"))

		speaks["b:1"] = false
		require.NoError(t, ask("b:1"))
		require.NoError(t, ask("a:1"), "where all are silent, all are asked")
		require.NoError(t, ask("b:1"))

		speaks["a:1"] = true
		require.NoError(t, ask("a:1"))
		require.NoError(t, ask("a:1"), "it has spoken")
	})
}
