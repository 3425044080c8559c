package app_test

import (
	"bytes"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"replyworker/internal/devstack"
)

// kafkaSays is a broker that answers requests of one kind with an error.
func kafkaSays(key kmsg.Key, err *kerr.Error, topic string) hostility {
	return hostility{
		name: strings.Join([]string{"kafka", key.Name(), topic, err.Message}, " "), ready: http.StatusOK,
		begin: func(s *site) (end func(), hits func() int64) {
			fault := s.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: err, Topic: topic, Count: -1})
			return fault.Remove, func() int64 { return int64(fault.Hits()) }
		},
	}
}

// rejoining makes a row's worker join the group again while the broker misbehaves. Where it loses its
// place in the group, it gets another when the session of the old one has timed out.
func rejoining(h hostility) hostility {
	begin := h.begin
	h.name += ", and a rebalance"
	h.settings = map[string]string{"REPLYWORKER_KAFKA_SESSION_TIMEOUT": "6s"}
	h.repeats = true // where the test itself is held up for so long
	h.begin = func(s *site) (end func(), hits func() int64) {
		end, hits = begin(s)
		s.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.RebalanceInProgress})
		return end, hits
	}
	return h
}

// early makes a row's broker misbehave from before the worker's start on.
func early(h hostility) hostility {
	h.name += ", from the start on"
	h.early, h.ready = true, 0
	return h
}

// alarming makes a row's broker refuse for longer than a person should wait.
func alarming(text string) func(hostility) hostility {
	return func(h hostility) hostility {
		h.name += ", for long"
		h.alarmAfter, h.ready, h.readyText = time.Second, http.StatusServiceUnavailable, text
		return h
	}
}

// kafkaAnswers is a broker of which each answer goes through f. Answers that get lost are of requests
// that were done.
func kafkaAnswers(name string, f func(n int64, conn net.Conn, answer []byte) (int, error)) hostility {
	return hostility{
		name: "kafka " + name, repeats: true, settings: map[string]string{"REPLYWORKER_KAFKA_SESSION_TIMEOUT": "6s"},
		begin: func(s *site) (end func(), hits func() int64) {
			n := new(atomic.Int64)
			s.wire.set(func(conn net.Conn, answer []byte) (int, error) { return f(n.Add(1), conn, answer) })
			return s.wire.clear, n.Load
		},
	}
}

func kafkaRows() []hostility {
	var rows []hostility
	says := func(key kmsg.Key, topic string, change func(hostility) hostility, errs ...*kerr.Error) {
		for _, err := range errs {
			h := kafkaSays(key, err, topic)
			if change != nil {
				h = change(h)
			}
			rows = append(rows, h)
		}
	}
	says(kmsg.Fetch, devstack.TopicJobs, nil,
		kerr.NotLeaderForPartition, kerr.OffsetOutOfRange, kerr.TopicAuthorizationFailed, kerr.UnknownTopicOrPartition,
		kerr.CorruptMessage, kerr.KafkaStorageError, kerr.RequestTimedOut)
	says(kmsg.ListOffsets, devstack.TopicJobs, early, kerr.NotLeaderForPartition, kerr.TopicAuthorizationFailed)
	says(kmsg.OffsetCommit, "", nil,
		kerr.NotCoordinator, kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress, kerr.GroupAuthorizationFailed,
		kerr.RebalanceInProgress, kerr.RequestTimedOut)
	for _, err := range []*kerr.Error{kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.NotCoordinator, kerr.GroupAuthorizationFailed} {
		rows = append(rows, kafkaSays(kmsg.Heartbeat, err, ""))
	}
	says(kmsg.FindCoordinator, "", rejoining, kerr.CoordinatorNotAvailable, kerr.GroupAuthorizationFailed)
	says(kmsg.JoinGroup, "", rejoining,
		kerr.CoordinatorLoadInProgress, kerr.NotCoordinator, kerr.UnknownMemberID, kerr.GroupAuthorizationFailed,
		kerr.InconsistentGroupProtocol, kerr.RebalanceInProgress, kerr.GroupMaxSizeReached)
	says(kmsg.SyncGroup, "", rejoining,
		kerr.RebalanceInProgress, kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.CoordinatorNotAvailable,
		kerr.GroupAuthorizationFailed)
	says(kmsg.OffsetFetch, devstack.TopicJobs, rejoining,
		kerr.CoordinatorLoadInProgress, kerr.NotCoordinator, kerr.GroupAuthorizationFailed, kerr.TopicAuthorizationFailed)
	says(kmsg.FindCoordinator, "", early, kerr.CoordinatorNotAvailable)
	says(kmsg.JoinGroup, "", early, kerr.GroupAuthorizationFailed)
	says(kmsg.OffsetFetch, devstack.TopicJobs, early, kerr.CoordinatorLoadInProgress)
	says(kmsg.DescribeConfigs, "", early, kerr.ClusterAuthorizationFailed)
	says(kmsg.Produce, devstack.TopicOutcomes, nil,
		kerr.NotLeaderForPartition, kerr.NotEnoughReplicas, kerr.TopicAuthorizationFailed, kerr.UnknownTopicOrPartition,
		kerr.CorruptMessage, kerr.InvalidRecord, kerr.MessageTooLarge, kerr.RecordListTooLarge)
	says(kmsg.Produce, devstack.TopicOutcomes, func(h hostility) hostility {
		h.repeats = true
		return h
	}, kerr.RequestTimedOut, kerr.NotEnoughReplicasAfterAppend)
	says(kmsg.Metadata, "", nil,
		kerr.LeaderNotAvailable, kerr.UnknownTopicOrPartition, kerr.TopicAuthorizationFailed, kerr.BrokerNotAvailable)
	says(kmsg.Metadata, "", rejoining, kerr.LeaderNotAvailable, kerr.UnknownTopicOrPartition)
	rows = append(rows, early(hostility{
		name: "kafka does not know yet of topics that were just made",
		begin: func(s *site) (end func(), hits func() int64) {
			fault := s.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Err: kerr.UnknownTopicOrPartition, Count: 3})
			return fault.Remove, func() int64 { return int64(fault.Hits()) }
		},
	}))
	says(kmsg.Produce, devstack.TopicOutcomes, restarted, kerr.NotEnoughReplicas)
	says(kmsg.Fetch, devstack.TopicJobs, alarming("[-] kafka: reply-jobs/"), kerr.TopicAuthorizationFailed)
	says(kmsg.OffsetCommit, "", alarming("[-] kafka: group replyworker: offsets cannot be committed since"), kerr.GroupAuthorizationFailed)
	says(kmsg.JoinGroup, "", func(h hostility) hostility {
		return rejoining(alarming("[-] kafka: group replyworker: cannot be joined since")(h))
	}, kerr.GroupAuthorizationFailed)
	says(kmsg.Produce, devstack.TopicOutcomes, alarming("[-] kafka: reply-outcomes cannot be written since"), kerr.TopicAuthorizationFailed)
	rows = append(rows, retention(kafkaSays(kmsg.Fetch, kerr.NotLeaderForPartition, devstack.TopicJobs)))
	return append(rows, kafkaWireRows()...)
}

// restarted stops a row's worker while its servers misbehave.
func restarted(h hostility) hostility {
	h.name += ", and a restart"
	h.restart = true
	h.settings = map[string]string{"REPLYWORKER_DRAIN_TIMEOUT": "1s", "REPLYWORKER_CLAIM_LEASE": "3s"}
	return h
}

// retention removes a job while a row's broker keeps the worker from reading it; another comes behind it.
func retention(h hostility) hostility {
	begin := h.begin
	h.name, h.lost = "kafka removes a job that was not read", 1
	h.begin = func(s *site) (end func(), hits func() int64) {
		stop, count := begin(s)
		return func() {
			s.given.Wait()
			const partition = 0
			ends, err := s.admin.ListEndOffsets(s.ctx, devstack.TopicJobs)
			if err != nil {
				s.fault("end of the jobs: %w", err)
				return
			}
			upTo := kadm.Offsets{}
			upTo.AddOffset(devstack.TopicJobs, partition, ends[devstack.TopicJobs][partition].Offset, -1)
			if _, err := s.admin.DeleteRecords(s.ctx, upTo); err != nil {
				s.fault("delete records: %w", err)
			}
			stop()
			s.give(1)
		}, count
	}
	h.check = func(t *testing.T, s *site) {
		require.Contains(t, s.log.String(), "retention removed jobs that were never read")
		require.InDelta(t, 1, s.count(t, "replyworker_lost_records_total"), 0)
	}
	return h
}

func kafkaWireRows() []hostility {
	throttled := hostility{name: "kafka throttles fetches", ready: http.StatusOK, begin: func(s *site) (end func(), hits func() int64) {
		var on atomic.Bool
		var n atomic.Int64
		on.Store(true)
		s.cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
			s.cluster.KeepControl()
			if !on.Load() {
				return nil, nil, false
			}
			n.Add(1)
			resp := r.ResponseKind().(*kmsg.FetchResponse)
			resp.ThrottleMillis = 300
			return resp, nil, true
		})
		return func() { on.Store(false) }, n.Load
	}}
	half := func(_ int64, conn net.Conn, answer []byte) (int, error) {
		n, _ := conn.Write(answer[:len(answer)/2])
		conn.Close()
		return n, net.ErrClosed
	}
	corrupt := kafkaAnswers("changes what is in records", func(_ int64, conn net.Conn, answer []byte) (int, error) {
		if _, err := conn.Write(bytes.ReplaceAll(answer, []byte(`"hello"`), []byte(`"hallo"`))); err != nil {
			return 0, err
		}
		return len(answer), nil
	})
	corrupt.check = func(t *testing.T, s *site) {
		require.LessOrEqual(t, s.calledThen, 1+siteComplaints*siteEarly, "a record was sent whose checksum is wrong")
	}
	return []hostility{
		throttled, corrupt, kafkaSilent(),
		kafkaAnswers("breaks off its answers", half),
		kafkaAnswers("breaks off every third answer", func(n int64, conn net.Conn, answer []byte) (int, error) {
			if n%3 == 0 {
				return half(n, conn, answer)
			}
			return conn.Write(answer)
		}),
		kafkaAnswers("closes connections", func(_ int64, conn net.Conn, _ []byte) (int, error) {
			conn.Close()
			return 0, net.ErrClosed
		}),
		kafkaAnswers("is slow", func(_ int64, conn net.Conn, answer []byte) (int, error) {
			<-time.After(700 * time.Millisecond)
			return conn.Write(answer)
		}),
		kafkaAnswers("answers HTTP", func(_ int64, conn net.Conn, answer []byte) (int, error) {
			conn.Write([]byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400 Bad Request"))
			conn.Close()
			return len(answer), net.ErrClosed
		}),
		kafkaAnswers("answers to another request", func(_ int64, conn net.Conn, answer []byte) (int, error) {
			answer = append([]byte{}, answer...)
			answer[7] ^= 0x55 // of the correlation id
			return conn.Write(answer)
		}),
	}
}

// kafkaSilent is a broker that does what it is asked and does not answer, until its connections break.
func kafkaSilent() hostility {
	h := kafkaAnswers("says nothing", nil)
	h.begin = func(s *site) (end func(), hits func() int64) {
		var mu sync.Mutex
		var held []net.Conn
		s.wire.set(func(conn net.Conn, answer []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			held = append(held, conn)
			return len(answer), nil
		})
		return func() {
				s.wire.clear()
				mu.Lock()
				defer mu.Unlock()
				for _, conn := range held {
					conn.Close()
				}
			}, func() int64 {
				mu.Lock()
				defer mu.Unlock()
				return int64(len(held))
			}
	}
	return h
}
