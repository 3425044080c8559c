package consumer

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	consumed    prometheus.Counter
	fetchErrors prometheus.Counter
	lostRecords prometheus.Counter
	rebalances  prometheus.Counter
	commits     *prometheus.CounterVec
	lag         *prometheus.Desc
	unfinished  *prometheus.Desc
	assigned    *prometheus.Desc
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		consumed: f.NewCounter(prometheus.CounterOpts{
			Name: "replyworker_jobs_consumed_total", Help: "Job records read, redeliveries included.",
		}),
		fetchErrors: f.NewCounter(prometheus.CounterOpts{
			Name: "replyworker_fetch_errors_total", Help: "Fetches from Kafka that failed and were tried again.",
		}),
		lostRecords: f.NewCounter(prometheus.CounterOpts{
			Name: "replyworker_lost_records_total",
			Help: "Offsets that retention removed from the jobs topic before they were read.",
		}),
		rebalances: f.NewCounter(prometheus.CounterOpts{
			Name: "replyworker_rebalances_total", Help: "Generations of the consumer group that this worker joined.",
		}),
		commits: f.NewCounterVec(prometheus.CounterOpts{
			Name: "replyworker_commits_total", Help: "Offset commits by result.",
		}, []string{"result"}),
		lag: prometheus.NewDesc("replyworker_consumer_lag",
			"Records between the committed offset and the end of the partition.", []string{"topic", "partition"}, nil),
		unfinished: prometheus.NewDesc("replyworker_partition_unfinished_jobs",
			"Records fetched and not finished.", []string{"topic", "partition"}, nil),
		assigned: prometheus.NewDesc("replyworker_assigned_partitions", "Partitions that this worker reads.", nil, nil),
	}
	m.commits.WithLabelValues("ok")
	m.commits.WithLabelValues("error")
	return m
}

// Describe implements prometheus.Collector.
func (c *Consumer) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.metrics.lag
	ch <- c.metrics.unfinished
	ch <- c.metrics.assigned
}

// Collect implements prometheus.Collector.
func (c *Consumer) Collect(ch chan<- prometheus.Metric) {
	states := c.Partitions()
	ch <- prometheus.MustNewConstMetric(c.metrics.assigned, prometheus.GaugeValue, float64(len(states)))
	for _, s := range states {
		labels := []string{s.Topic, strconv.Itoa(s.Partition)}
		ch <- prometheus.MustNewConstMetric(c.metrics.lag, prometheus.GaugeValue, float64(s.Lag), labels...)
		ch <- prometheus.MustNewConstMetric(c.metrics.unfinished, prometheus.GaugeValue, float64(s.Unfinished), labels...)
	}
}
