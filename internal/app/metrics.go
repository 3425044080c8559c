package app

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"replyworker/internal/dedupe"
	"replyworker/internal/gate"
	"replyworker/internal/schedule"
)

// collector shows the gate's and the scheduler's state at the moment of each scrape.
type collector struct {
	gate      *gate.Gate
	scheduler *schedule.Scheduler
	merchants *atomic.Pointer[merchants]
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Descriptions are constants in all but name.
var (
	descInFlight = desc("replyworker_jobs_in_flight", "Jobs that a step works on: a call, or the recording of its result.")
	descCalls    = desc("replyworker_api_calls_in_flight", "API slots taken.")
	descSlots    = desc("replyworker_api_slots", "API calls that may be under way at once.")
	descParked   = desc("replyworker_jobs_parked", "Jobs that wait for their next try.")
	descWaiting  = desc("replyworker_jobs_waiting", "Jobs that wait for their turn in their lane, or at the gate.")
	descBreaker  = desc("replyworker_breaker_open", "1 where the host's breaker is open.", "host")
	descHold     = desc("replyworker_merchant_held", "1 where the merchant is held.", "mchid", "kind")
	descPace     = desc("replyworker_merchant_pace", "Limit in calls per second that holds at present; 0 is none.", "mchid")
	descKey      = desc("replyworker_merchant_key_info", "Always 1; the key in use that the merchant signs with.",
		"mchid", "cert_serial", "key_sha256")
	descAnswer = desc("replyworker_answer_key_info", "Always 1; a key in use that the merchant's answers are verified with.",
		"mchid", "id")
	descEnd   = desc("replyworker_answer_key_not_after_seconds", "When the platform certificate ends, in Unix time.", "mchid", "id")
	descStore = desc("replyworker_claim_store_down", "1 while Redis does not answer and jobs wait for it.")
)

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descInFlight, descCalls, descSlots, descParked, descWaiting, descBreaker, descHold, descPace, descStore,
		descKey, descAnswer, descEnd,
	} {
		ch <- d
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counts, state := c.scheduler.Counts(), c.gate.State()
	gauge(descInFlight, float64(counts.Running))
	gauge(descParked, float64(counts.Parked))
	gauge(descWaiting, float64(counts.Waiting))
	gauge(descCalls, float64(state.SlotsUsed))
	gauge(descSlots, float64(state.Slots))
	gauge(descStore, boolValue(c.gate.StoreIsDown()))
	c.keys(gauge)
	for _, h := range state.Hosts {
		gauge(descBreaker, boolValue(h.Open), h.Host.String())
	}
	all := *c.merchants.Load()
	for _, m := range state.Merchants {
		if _, configured := all[m.MchID]; !configured {
			continue // a call of one that is gone has just come back
		}
		gauge(descPace, m.Pace, m.MchID)
		for _, kind := range []dedupe.HoldKind{dedupe.HoldCredentials, dedupe.HoldAnswerKey, dedupe.HoldBrake} {
			gauge(descHold, boolValue(m.Hold != nil && m.Hold.Kind == string(kind)), m.MchID, string(kind))
		}
	}
}

func (c *collector) keys(gauge func(d *prometheus.Desc, v float64, labels ...string)) {
	for id, m := range *c.merchants.Load() {
		gauge(descKey, 1, id, m.CertSerial, m.print)
		for key := range m.AnswerKeys {
			gauge(descAnswer, 1, id, key)
		}
		for key, end := range m.ends {
			gauge(descEnd, float64(end.Unix()), id, key)
		}
	}
}

func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
