package app_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxsim"
)

// TestStopWithoutABroker holds that a worker whose broker is gone stops all the same: idle, and with
// calls out whose outcomes cannot be published.
func TestStopWithoutABroker(t *testing.T) {
	t.Parallel()
	for _, busy := range []bool{false, true} {
		b := newBench(t, 1)
		broker := b.stack.Kafka.Embedded("to stop the broker")
		w := b.run(map[string]string{"REPLYWORKER_DRAIN_TIMEOUT": "1s"})
		b.produce(0, jobValue("c", "first", "hello", nil))
		b.outcomes(1)
		if busy {
			require.NoError(t, b.stack.Sim.Add(wxsim.Fault{Kind: wxsim.KindLatency, Delay: 300 * time.Millisecond}))
			b.produce(0, jobValue("c", "second", "hello", nil))
			require.Eventually(t, func() bool { return b.stack.Sim.Stats().InFlight > 0 }, 5*time.Second, time.Millisecond)
		}
		b.kafka.Close()
		broker.Close()
		began := time.Now()
		err := w.stop()
		t.Logf("busy %t: stopped after %s: %v", busy, time.Since(began).Round(time.Millisecond), err)
		require.Less(t, time.Since(began), 15*time.Second)
		if busy {
			require.Error(t, err, "the second job's outcome is not published: its record will come again")
		}
	}
}
