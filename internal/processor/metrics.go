package processor

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"replyworker/internal/dedupe"
	"replyworker/internal/gate"
	"replyworker/internal/job"
	"replyworker/internal/wxclient"
)

type metrics struct {
	finished      *prometheus.CounterVec
	endToEnd      *prometheus.HistogramVec
	attempts      *prometheus.CounterVec
	duration      *prometheus.HistogramVec
	claims        *prometheus.CounterVec
	holds         *prometheus.CounterVec
	persistErrors *prometheus.CounterVec
	panics        prometheus.Counter
	lost          prometheus.Counter
}

const (
	succeededResult = "success"
	oddDecision     = "odd" // the claim cannot be read
)

func newMetrics(reg prometheus.Registerer, g *gate.Gate) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		finished: f.NewCounterVec(prometheus.CounterOpts{
			Name: "replyworker_jobs_finished_total", Help: "Job records that ended, by outcome.",
		}, []string{"status", "reason"}),
		endToEnd: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "replyworker_job_end_to_end_seconds", Help: "Time from the record's timestamp to its outcome.",
			Buckets: []float64{.02, .05, .1, .25, .5, 1, 2.5, 5, 15, 60, 300, 900, 3600, 14400},
		}, []string{"status"}),
		attempts: f.NewCounterVec(prometheus.CounterOpts{
			Name: "replyworker_api_requests_total", Help: "Calls to the API, by host and result.",
		}, []string{"host", "result"}),
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "replyworker_api_request_duration_seconds", Help: "How long calls to the API took, by host.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"host"}),
		claims: f.NewCounterVec(prometheus.CounterOpts{
			Name: "replyworker_dedupe_decisions_total", Help: "Answers of the claim store to a claim.",
		}, []string{"decision"}),
		holds: f.NewCounterVec(prometheus.CounterOpts{
			Name: "replyworker_holds_total", Help: "Times that this worker held a merchant, by kind.",
		}, []string{"kind"}),
		persistErrors: f.NewCounterVec(prometheus.CounterOpts{
			Name: "replyworker_write_errors_total", Help: "Writes of a job's end that failed and were tried again.",
		}, []string{"write"}),
		lost: f.NewCounter(prometheus.CounterOpts{
			Name: "replyworker_claims_lost_total", Help: "Claims that were no longer ours when they were to be written.",
		}),
		panics: f.NewCounter(prometheus.CounterOpts{
			Name: "replyworker_panics_total", Help: "Jobs that made the worker stumble; each is a dead letter.",
		}),
	}
	m.zero(g)
	return m
}

// zero makes every series, so that one that never happened shows as 0.
func (m *metrics) zero(g *gate.Gate) {
	for _, s := range job.Statuses() {
		m.endToEnd.WithLabelValues(string(s))
		if s != job.StatusFailed {
			m.finished.WithLabelValues(string(s), "")
		}
	}
	for _, r := range job.Reasons() {
		m.finished.WithLabelValues(string(job.StatusFailed), string(r))
	}
	for _, h := range g.State().Hosts {
		m.duration.WithLabelValues(h.Host.String())
		m.attempts.WithLabelValues(h.Host.String(), succeededResult)
		for _, c := range wxclient.Classes() {
			m.attempts.WithLabelValues(h.Host.String(), c.String())
		}
	}
	for _, v := range dedupe.Verdicts() {
		m.claims.WithLabelValues(string(v))
	}
	m.claims.WithLabelValues(oddDecision)
	for _, k := range []dedupe.HoldKind{dedupe.HoldCredentials, dedupe.HoldAnswerKey, dedupe.HoldBrake} {
		m.holds.WithLabelValues(string(k))
	}
	for _, w := range []string{writeComplete, writeFail, writeLetter, writeOutcome} {
		m.persistErrors.WithLabelValues(w)
	}
}

func (m *metrics) attempt(host wxclient.Host, e *wxclient.Error, d time.Duration) {
	result := succeededResult
	if e != nil {
		result = e.Class.String()
	}
	m.attempts.WithLabelValues(host.String(), result).Inc()
	m.duration.WithLabelValues(host.String()).Observe(d.Seconds())
}

// finished takes note of a job's end, and writes its one line to the log.
func (p *Processor) finished(w *work, r job.Result) {
	p.metrics.finished.WithLabelValues(string(r.Status), string(r.Reason)).Inc()
	p.metrics.endToEnd.WithLabelValues(string(r.Status)).Observe(max(0, r.FinishedAt.Sub(w.d.Source.Timestamp).Seconds()))
	p.log.Info().
		Str("status", string(r.Status)).Str("reason", string(r.Reason)).
		Str("idempotent_id", w.job.IdempotentID).Str("complaint_id", w.job.ComplaintID).Str("mchid", w.job.MchID).
		Str("log_id", r.LogID).Int("attempts", r.Attempts).Str("host", r.Answer.Host).
		Int("http_status", r.Answer.HTTPStatus).Str("error_code", r.Answer.Code).Str("request_id", r.Answer.RequestID).
		Dur("processing_ms", r.FinishedAt.Sub(r.StartedAt)).Str("source", w.d.Source.ID()).
		Msg("job finished")
}
