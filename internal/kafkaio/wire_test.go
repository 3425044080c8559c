package kafkaio_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"replyworker/internal/devstack"
	"replyworker/internal/kafkaio"
)

// listen serves each connection with serve until the test ends, and returns its address.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var running sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			running.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, conn := range open {
			conn.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return l.Addr().String()
}

// answers reads what comes first, and says the same to everybody.
func answers(raw string) func(net.Conn) {
	return func(conn net.Conn) {
		if _, err := conn.Read(make([]byte, 4096)); err == nil {
			io.WriteString(conn, raw)
			io.Copy(io.Discard, conn)
		}
	}
}

// framed puts the length before an answer.
func framed(raw string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(raw)))) + raw
}

// TestWhatIsNoBrokerIsSaidToBeNone holds that whatever listens at a broker's address, the client says
// so, soon. A length that is taken for an answer's makes kafka-go panic, or take all memory, else.
func TestWhatIsNoBrokerIsSaidToBeNone(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		serve func(net.Conn)
		text  string // of an ErrNotKafka; else any error will do
	}{
		{"HTTP", answers("HTTP/1.1 400 Bad Request\r\nContent-Length: 15\r\n\r\n400 Bad Request"), "it speaks HTTP"},
		{"TLS", answers("\x15\x03\x01\x00\x02\x02\x46"), "it wants TLS (kafka-tls)"},
		{"a mail server", func(conn net.Conn) { answers("")(say(conn, "220 mail ESMTP\r\n")) }, `an answer begins with "220 "`},
		{"SSH", func(conn net.Conn) { answers("")(say(conn, "SSH-2.0-OpenSSH_9.9\r\n")) }, `begins with "SSH-"`},
		{"Redis", answers("-ERR unknown command\r\n"), `begins with "-ERR"`},
		{"a length below zero", answers("\xff\xff\xff\xff" + strings.Repeat("\x00", 64)), "not a Kafka broker"},
		{"the smallest length", answers("\x80\x00\x00\x00" + strings.Repeat("\x00", 64)), "not a Kafka broker"},
		{"a length of a gigabyte", answers("\x40\x00\x00\x00" + strings.Repeat("\x00", 64)), "not a Kafka broker"},
		{"a byte of it at a time", func(conn net.Conn) {
			for _, c := range []byte("HTTP/1.1 400 Bad Request\r\n\r\n") {
				conn = say(conn, string(c))
			}
			answers("")(conn)
		}, "it speaks HTTP"},
		{"nothing", func(net.Conn) {}, ""},
		{"an answer without content", answers(framed("")), ""},
		{"an answer that breaks off", func(conn net.Conn) { say(conn, "\x00\x00\x00\x40\x00\x00\x00\x01\x00") }, ""},
		{"an answer to another request", answers(framed("\x7f\x7f\x7f\x7f" + strings.Repeat("\x00", 32))), ""},
		{"an echo", func(conn net.Conn) { io.Copy(conn, conn) }, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			addr := listen(t, tc.serve)
			c, err := kafkaio.NewClient(kafkaio.Config{Brokers: []string{addr}})
			require.NoError(t, err)
			defer c.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			err = c.Ping(ctx)
			require.Error(t, err)
			require.LessOrEqual(t, len(err.Error()), 300)
			if tc.text != "" {
				require.ErrorIs(t, err, kafkaio.ErrNotKafka)
				require.ErrorContains(t, err, tc.text)
			}
			require.NoError(t, ctx.Err(), "it should say so at once")

			// The connections of consumer groups are others.
			conn, err := c.Dialer().DialContext(ctx, "tcp", addr)
			if err == nil {
				defer conn.Close()
				require.NoError(t, conn.SetDeadline(time.Now().Add(time.Second)))
				_, err = conn.ReadPartitions("jobs")
			}
			require.Error(t, err)
			if tc.text != "" {
				require.ErrorIs(t, err, kafkaio.ErrNotKafka)
			}
		})
	}
}

func say(conn net.Conn, text string) net.Conn {
	io.WriteString(conn, text)
	return conn
}

// TestTLSToABroker holds that the certificate is checked for the broker's own name.
func TestTLSToABroker(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(nil) // has a certificate for 127.0.0.1
	defer s.Close()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topic), kfake.TLS(&tls.Config{Certificates: s.TLS.Certificates}))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	addr := cluster.ListenAddrs()[0]
	trusted := x509.NewCertPool()
	trusted.AddCert(s.Certificate())

	for _, tc := range []struct {
		name string
		addr string
		tls  *tls.Config
		text string
	}{
		{"trusted", addr, &tls.Config{RootCAs: trusted}, ""},
		{"another name", strings.Replace(addr, "127.0.0.1", "localhost", 1), &tls.Config{RootCAs: trusted}, "localhost"},
		{"unknown authority", addr, &tls.Config{RootCAs: x509.NewCertPool()}, "unknown authority"},
		{"plain text", addr, nil, "EOF"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c, err := kafkaio.NewClient(kafkaio.Config{Brokers: []string{tc.addr}, TLS: tc.tls})
			require.NoError(t, err)
			defer c.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			conn, groupErr := c.Dialer().DialContext(ctx, "tcp", tc.addr)
			if groupErr == nil {
				defer conn.Close()
				require.NoError(t, conn.SetDeadline(time.Now().Add(time.Second)))
				_, groupErr = conn.ReadPartitions(topic)
			}
			if tc.text != "" {
				require.ErrorContains(t, c.Ping(ctx), tc.text)
				require.ErrorContains(t, groupErr, tc.text)
				return
			}
			require.NoError(t, groupErr)
			require.NoError(t, c.Ping(ctx))
			p := kafkaio.NewPublisher(c, topic, 1<<20)
			defer p.Close()
			require.NoError(t, p.Publish(ctx, kafkaio.Message{Partition: kafkaio.AnyPartition, Value: []byte("over TLS")}))
			f := kafkaio.Fetcher{Client: c, Topic: topic, MaxBytes: 1 << 20}
			page, err := f.Fetch(ctx, 0, 10)
			require.NoError(t, err)
			require.Equal(t, "over TLS", string(page.Records[0].Value))
		})
	}
}

// TestAQuotaIsWaitedFor holds that a broker that holds a consumer up, and sends nothing because of it, is
// no fault.
func TestAQuotaIsWaitedFor(t *testing.T) {
	t.Parallel()
	k, err := devstack.StartKafka(devstack.KafkaConfig{Topics: map[string]int{topic: 1}})
	require.NoError(t, err)
	t.Cleanup(k.Close)
	c, err := kafkaio.NewClient(kafkaio.Config{Brokers: []string{k.Addr()}})
	require.NoError(t, err)
	defer c.Close()
	p := kafkaio.NewPublisher(c, topic, 1<<20)
	defer p.Close()
	require.NoError(t, p.Publish(t.Context(), kafkaio.Message{Value: []byte("late")}))
	const times, wait = 3, 200 * time.Millisecond
	for range times {
		k.Cluster().ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
			resp := r.ResponseKind().(*kmsg.FetchResponse)
			resp.ThrottleMillis = int32(wait / time.Millisecond)
			return resp, nil, true
		})
	}
	f := kafkaio.Fetcher{Client: c, Topic: topic, MaxBytes: 1 << 20}
	began := time.Now()
	page, err := f.Fetch(t.Context(), 0, 10)
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(began), times*wait)
	require.Len(t, page.Records, 1)

	k.Cluster().ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		resp := r.ResponseKind().(*kmsg.FetchResponse)
		resp.ThrottleMillis = int32(time.Hour / time.Millisecond)
		return resp, nil, true
	})
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errors.New("no time for it"))
	defer cancel()
	_, err = f.Fetch(ctx, 0, 10)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "quota")
}
