package app_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/devstack"
	"replyworker/internal/job"
	"replyworker/internal/wxsim"
)

// TestIllMerchantsDoNotHoldAWellOneUp runs four merchants in one worker: one signs with a key that the API
// does not know (401), one has a quota of one call a second (429), one is refused (403). Their backlog on
// the shared topic is larger than the buffer. The fourth has a topic of its own: all its jobs succeed at the
// first attempt while nothing of the others' goes on.
func TestIllMerchantsDoNotHoldAWellOneUp(t *testing.T) {
	t.Parallel()
	const own, badKey, quota, refused, well = "jobs-of-the-well", "1900000002", "1900000003", "1900000004", "1900000005"
	const backlog, jobs = 100, 200
	s := newShop(t, 1)
	s.stack.Kafka.CreateTopic(own, 1, nil)
	keys := spareKeys()
	s.merchant(badKey, "A1", keys[0], "")
	s.stack.Sim.SetMerchant(badKey, wxsim.MerchantKey{Serial: "A1", Key: &keys[3].PublicKey})
	s.merchant(quota, "B1", keys[1], "")
	s.merchant(refused, "C1", keys[2], "")
	s.merchant(well, "D1", keys[3], "  topic-jobs: "+s.stack.Kafka.Topic(own)+"\n")
	s.save()
	require.NoError(t, s.stack.Sim.Set(
		wxsim.Fault{Kind: wxsim.KindQuota, MchID: quota, Rate: 1, Burst: 1},
		wxsim.Fault{Kind: wxsim.KindStatus, Status: 403, Code: "NO_AUTH", MchID: refused},
	))
	for i := range backlog {
		for _, id := range []string{badKey, quota, refused} {
			s.send(devstack.TopicJobs, id, fmt.Sprint(id, "-", i))
		}
	}
	w := s.run(map[string]string{
		"REPLYWORKER_CONCURRENCY": "8", "REPLYWORKER_BRAKE": "5", "REPLYWORKER_BUFFER_JOBS": "100",
		"REPLYWORKER_RETRY_MAX": "1m", "REPLYWORKER_RETRY_ATTEMPTS": "20",
	})
	s.eventually("two are held", func() bool {
		state, _ := w.State()
		held := 0
		for _, m := range state.Merchants {
			if m.Hold != nil {
				held++
			}
		}
		return held == 2
	})
	before := s.stack.Sim.Stats().Calls
	began := time.Now()
	s.send(own, well, ids("well", jobs)...)
	s.eventually("the well one is done", func() bool {
		done := 0
		for _, e := range s.stack.Sim.Effects() {
			if e.MchID == well {
				done++
			}
		}
		return done == jobs
	})
	others := s.stack.Sim.Stats().Calls - before - jobs
	t.Logf("%d jobs in %s, with %d calls of the others beside them", jobs, time.Since(began).Round(time.Millisecond), others)
	require.LessOrEqual(t, others, int64(backlog+10*time.Since(began).Seconds()), "the ill ones, with 3 backlogs, spend few calls")
	require.NoError(t, w.stop())
	for id, e := range s.ends(int(s.count(devstack.TopicOutcomes))) {
		if e.MchID == well {
			require.Equal(t, job.StatusSucceeded, e.Status, id)
			require.Equal(t, 1, e.Attempts, id)
		}
	}
	require.LessOrEqual(t, s.count(devstack.TopicDeadLetters), int64(5+2), "the brake holds the refused one's")
}
