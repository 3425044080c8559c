package wxsim_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxsim"
)

func TestStatusFaults(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	for _, tc := range []struct {
		fault wxsim.Fault
		code  string // Empty: no JSON.
	}{
		{wxsim.Fault{Status: 202}, ""},
		{wxsim.Fault{Status: 204}, ""},
		{wxsim.Fault{Status: 302}, ""},
		{wxsim.Fault{Status: 400}, "INVALID_REQUEST"},
		{wxsim.Fault{Status: 401}, "SIGN_ERROR"},
		{wxsim.Fault{Status: 403}, "NO_AUTH"},
		{wxsim.Fault{Status: 404}, "RESOURCE_NOT_EXISTS"},
		{wxsim.Fault{Status: 408}, "INVALID_REQUEST"},
		{wxsim.Fault{Status: 429, RetryAfter: "7"}, "FREQUENCY_LIMITED"},
		{wxsim.Fault{Status: 500}, "SYSTEM_ERROR"},
		{wxsim.Fault{Status: 502}, ""},
		{wxsim.Fault{Status: 503}, ""},
		{wxsim.Fault{Status: 504}, ""},
		{wxsim.Fault{Status: 503, Code: "SERVICE_UNAVAILABLE"}, "SERVICE_UNAVAILABLE"},
		{wxsim.Fault{Status: 400, Body: `{"code":7}`, ContentType: "text/odd"}, ""},
	} {
		tc.fault.Kind = wxsim.KindStatus
		require.NoError(t, w.sim.Set(tc.fault))
		r := w.good(t, wxsim.Primary, "id")
		require.NoError(t, r.err)
		require.Equal(t, tc.fault.Status, r.status)
		require.Equal(t, tc.fault.RetryAfter, r.header.Get("Retry-After"))
		require.Empty(t, r.header.Get("Wechatpay-Signature"))
		if tc.code != "" {
			require.Equal(t, tc.code, r.code(t))
		}
		if tc.fault.Body != "" {
			require.Equal(t, tc.fault.Body, string(r.body))
			require.Equal(t, "text/odd", r.header.Get("Content-Type"))
		}
		if tc.fault.Status > 501 && tc.code == "" {
			require.Equal(t, "text/html", r.header.Get("Content-Type"))
			require.True(t, strings.HasPrefix(string(r.body), "<html>"))
			require.Empty(t, r.header.Get("Request-Id"))
		}
	}
	require.Empty(t, w.sim.Effects())
	require.Empty(t, w.sim.Stats().Refused)

	require.NoError(t, w.sim.Set(wxsim.Fault{Kind: wxsim.KindStatus, Status: 500, AfterEffect: true, Signed: true}))
	r := w.good(t, wxsim.Primary, "id")
	require.Equal(t, 500, r.status)
	require.NoError(t, r.verify(t))
	require.Len(t, w.sim.Effects(), 1)
}

func TestAnswerFaultsComeAfterTheEffect(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	for i, tc := range []struct {
		fault wxsim.Fault
		check func(t *testing.T, r reply)
	}{
		{wxsim.Fault{Kind: wxsim.KindWrongSignature}, func(t *testing.T, r reply) {
			t.Helper()
			require.ErrorContains(t, r.verify(t), "verification error")
		}},
		{wxsim.Fault{Kind: wxsim.KindStaleSignature}, func(t *testing.T, r reply) {
			t.Helper()
			require.ErrorContains(t, r.verify(t), "timestamp")
		}},
		{wxsim.Fault{Kind: wxsim.KindFutureSignature}, func(t *testing.T, r reply) {
			t.Helper()
			require.ErrorContains(t, r.verify(t), "timestamp")
		}},
		{wxsim.Fault{Kind: wxsim.KindMissingSignature}, func(t *testing.T, r reply) {
			t.Helper()
			require.Empty(t, r.header.Get("Wechatpay-Timestamp")+r.header.Get("Wechatpay-Serial")+r.header.Get("Wechatpay-Signature"))
		}},
		{wxsim.Fault{Kind: wxsim.KindUnknownKey}, func(t *testing.T, r reply) {
			t.Helper()
			require.ErrorContains(t, r.verify(t), "key id")
			require.Len(t, r.header.Get("Wechatpay-Serial"), len(keys(t).PublicKeyID))
		}},
		{wxsim.Fault{Kind: wxsim.KindUnknownKey, KeyID: "7F"}, func(t *testing.T, r reply) {
			t.Helper()
			require.Equal(t, "7F", r.header.Get("Wechatpay-Serial"))
		}},
		{wxsim.Fault{Kind: wxsim.KindSignTest}, func(t *testing.T, r reply) {
			t.Helper()
			require.True(t, strings.HasPrefix(r.header.Get("Wechatpay-Signature"), "WECHATPAY/SIGNTEST/"))
			require.Error(t, r.verify(t))
		}},
		{wxsim.Fault{Kind: wxsim.KindSlowBody, Delay: time.Microsecond}, func(t *testing.T, r reply) {
			t.Helper()
			require.NoError(t, r.verify(t))
			require.NotEmpty(t, r.logID(t))
		}},
		{wxsim.Fault{Kind: wxsim.KindNoLogID}, func(t *testing.T, r reply) {
			t.Helper()
			require.NoError(t, r.verify(t))
			require.Empty(t, r.logID(t))
		}},
		{wxsim.Fault{Kind: wxsim.KindNoLogID, Body: `{"code":"SYSTEM_ERROR"}`}, func(t *testing.T, r reply) {
			t.Helper()
			require.NoError(t, r.verify(t))
			require.JSONEq(t, `{"code":"SYSTEM_ERROR"}`, string(r.body))
		}},
		{wxsim.Fault{Kind: wxsim.KindGarbageBody}, func(t *testing.T, r reply) {
			t.Helper()
			require.NoError(t, r.verify(t))
			require.False(t, json.Valid(r.body))
		}},
		{wxsim.Fault{Kind: wxsim.KindHugeBody}, func(t *testing.T, r reply) {
			t.Helper()
			require.NoError(t, r.verify(t))
			require.Len(t, r.body, 2<<20)
			require.NotEmpty(t, r.logID(t))
		}},
		{wxsim.Fault{Kind: wxsim.KindTextBody}, func(t *testing.T, r reply) {
			t.Helper()
			require.NoError(t, r.verify(t))
			require.Equal(t, "text/plain; charset=utf-8", r.header.Get("Content-Type"))
			require.Equal(t, "success", string(r.body))
		}},
		{wxsim.Fault{Kind: wxsim.KindPartial}, func(t *testing.T, r reply) {
			t.Helper()
			require.ErrorIs(t, r.err, io.ErrUnexpectedEOF)
			require.NotEmpty(t, r.body)
		}},
	} {
		id := string(tc.fault.Kind) + strconv.Itoa(i)
		require.NoError(t, w.sim.Set(tc.fault))
		r := w.good(t, wxsim.Backup, id)
		require.Equal(t, http.StatusOK, r.status, "fault %s", tc.fault.Kind)
		tc.check(t, r)
		effect, ok := w.sim.Effect(keys(t).MchID, id)
		require.True(t, ok, "fault %s took no effect", tc.fault.Kind)

		require.NoError(t, w.sim.Clear())
		again := w.good(t, wxsim.Primary, id)
		require.Equal(t, effect.LogID, again.logID(t))
		require.NoError(t, again.verify(t))
	}
}

func TestResets(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	for i, after := range []bool{false, true} {
		require.NoError(t, w.sim.Set(wxsim.Fault{Kind: wxsim.KindReset, AfterEffect: after}))
		r := w.good(t, wxsim.Primary, "id")
		require.ErrorIs(t, r.err, syscall.ECONNRESET)
		require.Len(t, w.sim.Effects(), i)
	}
	stats := w.sim.Stats()
	require.EqualValues(t, 2, stats.Hosts[wxsim.Primary].NoAnswer)
	require.Equal(t, map[wxsim.Kind]int64{wxsim.KindReset: 2}, stats.Faults)
}

func TestHangEndsWhenTheClientLeaves(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	require.NoError(t, w.sim.Set(wxsim.Fault{Kind: wxsim.KindHang, AfterEffect: true, Count: 1}))
	ctx, cancel := context.WithCancel(t.Context())
	done := w.start(ctx, t, wxsim.Primary, newCall(t, "c-id", "id"))
	require.Eventually(t, func() bool { return len(w.sim.Effects()) == 1 }, 5*time.Second, time.Millisecond)
	cancel()
	require.Error(t, (<-done).err)
	require.Eventually(t, func() bool { return w.sim.Stats().InFlight == 0 }, 5*time.Second, time.Millisecond)
	w.good(t, wxsim.Primary, "id").logID(t)
}

func TestHangEndsWithItsFault(t *testing.T) {
	t.Parallel()
	end := map[string]func(t *testing.T, sim *wxsim.Sim){
		"cleared": func(t *testing.T, sim *wxsim.Sim) { t.Helper(); require.NoError(t, sim.Clear()) },
		"removed": func(t *testing.T, sim *wxsim.Sim) { t.Helper(); require.NoError(t, sim.Remove("h")) },
		"closed":  func(t *testing.T, sim *wxsim.Sim) { t.Helper(); require.NoError(t, sim.Close()) },
	}
	for name, by := range end {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWire(t)
			// The count is spent by the call that hangs; that must not end it.
			require.NoError(t, w.sim.Set(wxsim.Fault{Kind: wxsim.KindHang, Name: "h", Count: 1}))
			done := w.start(t.Context(), t, wxsim.Primary, newCall(t, "c-id", "id"))
			require.Eventually(t, func() bool { return w.sim.Stats().InFlight == 1 && len(w.sim.Faults()) == 0 },
				5*time.Second, time.Millisecond)
			by(t, w.sim)
			require.Error(t, (<-done).err)
			require.Empty(t, w.sim.Effects())
		})
	}
}

func TestFaultEndsByItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := newSim(t)
		require.NoError(t, sim.Set(wxsim.Fault{Kind: wxsim.KindStatus, Status: 500, For: time.Minute}))
		send := func() int {
			return direct(t, sim, wxsim.Primary, newCall(t, "c", "id")).status
		}
		require.Equal(t, 500, send())
		<-time.After(59 * time.Second)
		require.Equal(t, 500, send())
		<-time.After(2 * time.Second)
		require.Equal(t, 200, send())
		require.Empty(t, sim.Faults())
	})
}

func TestLatency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := newSim(t)
		require.NoError(t, sim.Set(
			wxsim.Fault{Kind: wxsim.KindLatency, Delay: time.Second, Jitter: time.Second},
			wxsim.Fault{Kind: wxsim.KindStatus, Status: 500},
			wxsim.Fault{Kind: wxsim.KindLatency, Delay: 3 * time.Second, Jitter: time.Second},
		))
		start := time.Now()
		require.Equal(t, 500, direct(t, sim, wxsim.Primary, newCall(t, "c", "id")).status)
		require.GreaterOrEqual(t, time.Since(start), 4*time.Second)
		require.Less(t, time.Since(start), 6*time.Second)

		require.NoError(t, sim.Set(wxsim.Fault{Kind: wxsim.KindLatency, Delay: time.Second, AfterEffect: true}))
		start = time.Now()
		direct(t, sim, wxsim.Primary, newCall(t, "c", "id")).logID(t)
		require.Equal(t, time.Second, time.Since(start))
	})
}

func TestLatencyBeforeTheEffectIsPreventedByLeaving(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	for i, after := range []bool{false, true} {
		require.NoError(t, w.sim.Set(wxsim.Fault{Kind: wxsim.KindLatency, Delay: time.Hour, AfterEffect: after}))
		ctx, cancel := context.WithCancel(t.Context())
		done := w.start(ctx, t, wxsim.Primary, newCall(t, "c", "id"))
		require.Eventually(t, func() bool { return w.sim.Stats().InFlight == 1 && len(w.sim.Effects()) == i },
			5*time.Second, time.Millisecond)
		cancel()
		require.ErrorIs(t, (<-done).err, context.Canceled)
		require.Eventually(t, func() bool { return w.sim.Stats().InFlight == 0 }, 5*time.Second, time.Millisecond)
		require.Len(t, w.sim.Effects(), i)
	}
}

func TestQuota(t *testing.T) {
	t.Parallel()
	type step struct {
		wait  time.Duration
		calls int
		taken int
	}
	for _, tc := range []struct {
		name  string
		fault wxsim.Fault
		steps []step
	}{
		{"bucket", wxsim.Fault{Rate: 10}, []step{{0, 12, 10}, {100 * time.Millisecond, 2, 1}, {time.Hour, 20, 10}}},
		{"bucket with burst", wxsim.Fault{Rate: 10, Burst: 2, RetryAfter: "1"}, []step{{0, 3, 2}, {300 * time.Millisecond, 5, 2}}},
		{"slow bucket", wxsim.Fault{Rate: 0.5}, []step{{0, 2, 1}, {time.Second, 1, 0}, {time.Second, 2, 1}}},
		{"window", wxsim.Fault{Rate: 0.1, Window: time.Minute}, []step{{0, 8, 6}, {59 * time.Second, 2, 0}, {time.Second, 8, 6}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tc.fault.Kind = wxsim.KindQuota
				sim := newSim(t)
				require.NoError(t, sim.Set(tc.fault))
				effects := 0
				for i, s := range tc.steps {
					<-time.After(s.wait)
					taken := 0
					for range s.calls {
						r := direct(t, sim, []wxsim.Host{wxsim.Primary, wxsim.Backup}[taken%2], newCall(t, "c", "id"))
						if r.status == http.StatusOK {
							taken++
							continue
						}
						require.Equal(t, http.StatusTooManyRequests, r.status)
						require.Equal(t, "FREQUENCY_LIMITED", r.code(t))
						require.Equal(t, tc.fault.RetryAfter, r.header.Get("Retry-After"))
					}
					effects += taken
					require.Equal(t, s.taken, taken, "step %d", i)
				}
				require.Equal(t, effects, sim.Effects()[0].Calls, "a refused call takes no effect")
			})
		})
	}
}

func TestQuotaIsPerMerchant(t *testing.T) {
	t.Parallel()
	m := keys(t)
	sim := newSim(t, func(c *wxsim.Config) {
		c.Merchants["1900000002"] = wxsim.MerchantKey{Serial: m.CertSerial, Key: &m.MerchantKey.PublicKey}
	})
	require.NoError(t, sim.Set(wxsim.Fault{Kind: wxsim.KindQuota, Rate: 0.001}))
	for _, merchant := range []string{m.MchID, "1900000002"} {
		for _, want := range []int{200, 429} {
			c := newCall(t, "c", "id")
			c.mchID = merchant
			require.Equal(t, want, direct(t, sim, wxsim.Primary, c).status)
		}
	}
	require.Len(t, sim.Effects(), 2, "an id belongs to its merchant")
}

func TestFaultsMatch(t *testing.T) {
	t.Parallel()
	sim := newSim(t)
	status := func(host wxsim.Host, complaint, id string) int {
		return direct(t, sim, host, newCall(t, complaint, id)).status
	}
	for name, f := range map[string]wxsim.Fault{
		"host": {Host: wxsim.Backup}, "complaint": {ComplaintID: "c1"}, "id": {IdempotentID: "i1"},
		"all": {Host: wxsim.Backup, ComplaintID: "c1", IdempotentID: "i1", MchID: keys(t).MchID},
	} {
		f.Kind, f.Status = wxsim.KindStatus, 500
		require.NoError(t, sim.Set(f))
		require.Equal(t, 500, status(wxsim.Backup, "c1", "i1"), name)
		require.Equal(t, 200, status(wxsim.Primary, "c2", "i2"), name)
	}
	require.NoError(t, sim.Set(wxsim.Fault{Kind: wxsim.KindStatus, Status: 500, MchID: "1"}))
	require.Equal(t, 200, status(wxsim.Primary, "c2", "i2"))
}

func TestFaultsCountAndComeInOrder(t *testing.T) {
	t.Parallel()
	sim := newSim(t)
	require.NoError(t, sim.Set(wxsim.Fault{Kind: wxsim.KindStatus, Status: 500, Count: 2}))
	require.NoError(t, sim.Add(
		wxsim.Fault{Kind: wxsim.KindStatus, Name: "b", Status: 503, Count: 1},
		wxsim.Fault{Kind: wxsim.KindStatus, Name: "b", Status: 504},
	))
	var got []int
	for range 5 {
		got = append(got, direct(t, sim, wxsim.Primary, newCall(t, "c", "id")).status)
	}
	require.Equal(t, []int{500, 500, 503, 504, 504}, got)
	require.Len(t, sim.Faults(), 1)
	require.NoError(t, sim.Remove("b"))
	require.Empty(t, sim.Faults())
	require.Equal(t, 200, direct(t, sim, wxsim.Primary, newCall(t, "c", "id")).status)
}

func TestProbabilityIsRepeatable(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) (failed string) {
		sim := newSim(t, func(c *wxsim.Config) { c.Seed = seed })
		require.NoError(t, sim.Set(wxsim.Fault{Kind: wxsim.KindStatus, Status: 500, Probability: 0.3}))
		for range 60 {
			failed += map[bool]string{true: "x", false: "."}[direct(t, sim, wxsim.Primary, newCall(t, "c", "id")).status == 500]
		}
		return failed
	}
	first := run(7)
	require.Equal(t, first, run(7))
	require.NotEqual(t, first, run(8))
	require.InDelta(t, 18, strings.Count(first, "x"), 12)
}

func TestChecksComeBeforeFaults(t *testing.T) {
	t.Parallel()
	sim := newSim(t)
	require.NoError(t, sim.Set(wxsim.Fault{Kind: wxsim.KindStatus, Status: 500, Count: 1}))
	c := newCall(t, "c", "id")
	c.serial = "00"
	require.Equal(t, 401, direct(t, sim, wxsim.Primary, c).status)
	require.Equal(t, 1, sim.Faults()[0].Count)
}

func TestFaultJSON(t *testing.T) {
	t.Parallel()
	f := wxsim.Fault{
		Kind: wxsim.KindLatency, Host: wxsim.Backup, Probability: 0.5, For: 90 * time.Second,
		Delay: 250 * time.Millisecond, Jitter: time.Second, AfterEffect: true,
	}
	text, err := json.Marshal(f)
	require.NoError(t, err)
	require.JSONEq(t, `{"kind":"latency","host":"backup","probability":0.5,"for":"1m30s","delay":"250ms","jitter":"1s",
		"after_effect":true}`, string(text))
	var back wxsim.Fault
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, f, back)
	require.ErrorContains(t, json.Unmarshal([]byte(`{"kind":"hang","fro":"1s"}`), &back), `unknown field "fro"`)
	require.ErrorContains(t, json.Unmarshal([]byte(`{"kind":"hang","for":"soon"}`), &back), `duration "soon"`)
}

func TestFaultValidation(t *testing.T) {
	t.Parallel()
	sim := newSim(t)
	for want, f := range map[string]wxsim.Fault{
		`kind "" is unknown`:                  {},
		`status 0: want 200 to 599`:           {Kind: wxsim.KindStatus},
		`status 199`:                          {Kind: wxsim.KindStatus, Status: 199},
		`status means nothing for this kind`:  {Kind: wxsim.KindHang, Status: 500},
		`host "third"`:                        {Kind: wxsim.KindHang, Host: "third"},
		`probability 1.5`:                     {Kind: wxsim.KindHang, Probability: 1.5},
		`count -1`:                            {Kind: wxsim.KindHang, Count: -1},
		`must not be negative`:                {Kind: wxsim.KindHang, For: -1},
		`a host is down for all calls`:        {Kind: wxsim.KindDown, Count: 1},
		`rate 0`:                              {Kind: wxsim.KindQuota},
		`nor go with window`:                  {Kind: wxsim.KindQuota, Rate: 1, Burst: 1, Window: 1},
		`delay or jitter is needed`:           {Kind: wxsim.KindLatency},
		`delay is needed`:                     {Kind: wxsim.KindSlowBody},
		`bytes 67108865`:                      {Kind: wxsim.KindHugeBody, Bytes: 64<<20 + 1},
		`after_effect means nothing for this`: {Kind: wxsim.KindPartial, AfterEffect: true},
	} {
		require.ErrorContains(t, sim.Set(wxsim.Fault{Kind: wxsim.KindHang}, f), want)
		require.Empty(t, sim.Faults(), "nothing is set where one fault is wrong")
	}
}
