package replay_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/deadletter"
	"replyworker/internal/replay"
)

// TestNoMoreThanTheRateIsSent holds that over no stretch of time more jobs are sent than the rate allows,
// and one step; also where Kafka takes its time in between.
func TestNoMoreThanTheRateIsSent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		rate  float64
		jobs  int
		stall time.Duration
	}{
		{"few", 0.5, 12, 0},
		{"the default", 100, 1000, 0},
		{"many", 3000, 5000, 0},
		{"one and a bit", 1.5, 20, 0},
		{"Kafka stalls for a while", 100, 3000, 12 * time.Second},
		{"Kafka stalls at a low rate", 2, 60, 9 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, 3)
				for i := range tt.jobs {
					d.failed(i%3, "c", idOf(i))
				}
				step := max(1, min(200, int(tt.rate/5)))
				d.kafka.decide = func(n int, _ string) fate {
					if n == 13 { // jobs are on their way
						<-time.After(tt.stall)
					}
					<-time.After(time.Millisecond)
					return taken
				}
				cfg, items := d.config(all(tt.jobs))
				cfg.Rate = tt.rate
				began := time.Now()
				report, err := replay.Run(t.Context(), cfg, items)
				require.NoError(t, err)
				require.Equal(t, tt.jobs, report.Sent)
				sent := d.kafka.sentAt[jobsTopic]
				for first := range sent {
					for _, window := range []time.Duration{time.Second, 2 * time.Second, 5 * time.Second} {
						n := 0
						for _, at := range sent[first:] {
							if at.Sub(sent[first]) >= window {
								break
							}
							n++
						}
						require.LessOrEqual(t, n, int(tt.rate*window.Seconds())+2*step, "jobs sent within %s", window)
					}
				}
				least := time.Duration(float64(tt.jobs-step) / tt.rate * float64(time.Second))
				require.InDelta(t, least+tt.stall, time.Since(began), float64(tt.stall+least/4+2*time.Second), "how long it took in all")
			})
		})
	}
}

func TestAReplayIsInterruptedWhileItWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, 1)
		for i := range 3 {
			d.failed(0, "c", idOf(i))
		}
		cfg, items := d.config(all(3))
		cfg.Rate = 0.01
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Second)
		defer cancel()
		began := time.Now()
		report, err := replay.Run(ctx, cfg, items)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 2, report.Sent)
		require.Equal(t, 150*time.Second, time.Since(began))
	})
}

// Where one broker takes all the time that a step has, what the others have taken is noted all the same.
func TestWhatWasSentIsNotedThoughAnotherPartitionHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, 2)
		d.failed(0, "b", idOf(0))
		d.failed(1, "b", idOf(1))
		d.kafka.decide = func(n int, topic string) fate {
			if n == 3 && topic == jobsTopic { // after two requests for resolutions, and that of partition 0
				<-time.After(time.Minute)
			}
			return taken
		}
		cfg, items := d.config(all(2))
		report, err := replay.Run(t.Context(), cfg, items)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, replay.ErrNotNoted)
		require.Equal(t, replay.Report{Sent: 1, Failed: 1}, report)
		require.Equal(t, map[string]deadletter.Status{
			idOf(0): deadletter.StatusReplayed, idOf(1): deadletter.StatusReplaying,
		}, d.statuses())
	})
}
