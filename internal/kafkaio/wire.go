package kafkaio

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"
)

// ErrNotKafka says that what listens at a broker's address does not speak Kafka's protocol, or not as
// it is spoken to.
var ErrNotKafka = errors.New("not a Kafka broker")

// maxAnswer is more than any broker sends in one answer, and less than what text or TLS comes to when
// it is read as an answer's length.
const maxAnswer = 256 << 20

// wireDialer connects to brokers.
type wireDialer struct {
	net.Dialer

	tls *tls.Config // nil for plain text
}

func newWireDialer(t *tls.Config) *wireDialer {
	return &wireDialer{Dialer: net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}, tls: t}
}

// dial connects to a broker, with TLS where it is wanted: kafka-go would put its own around what is
// returned here, which then could not see the answers.
func (d *wireDialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err //nolint:wrapcheck // kafka-go says what was dialled
	}
	if d.tls == nil {
		return &wire{Conn: conn}, nil
	}
	cfg := d.tls
	if cfg.ServerName == "" {
		cfg = cfg.Clone()
		if cfg.ServerName, _, err = net.SplitHostPort(address); err != nil {
			cfg.ServerName = address
		}
	}
	secure := tls.Client(conn, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // it is of no use
		return nil, fmt.Errorf("TLS with %s: %w", address, err)
	}
	return &wire{Conn: secure}, nil
}

// wire looks at the length of each answer that is read from a connection. kafka-go believes them: one
// below zero makes it panic, and of a server that is no broker it reads lengths of lists that take all
// memory there is. One goroutine reads at a time.
type wire struct {
	net.Conn

	head [4]byte // of the answer that begins
	got  int     // bytes of head
	left int     // bytes of the answer behind head
	err  error   // the first that is no answer
}

// Read implements net.Conn.
func (w *wire) Read(b []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.Conn.Read(b)
	if w.err = w.follow(b[:n]); w.err != nil {
		return 0, w.err
	}
	return n, err //nolint:wrapcheck // a net.Conn's own
}

// follow goes along with what was read.
func (w *wire) follow(b []byte) error {
	for len(b) > 0 {
		if w.left > 0 {
			n := min(w.left, len(b))
			w.left -= n
			b = b[n:]
			continue
		}
		n := copy(w.head[w.got:], b)
		w.got += n
		b = b[n:]
		if w.got == len(w.head) {
			length := binary.BigEndian.Uint32(w.head[:])
			if length > maxAnswer {
				return w.notKafka()
			}
			w.left, w.got = int(length), 0
		}
	}
	return nil
}

// notKafka tells what listens there, as far as an answer's first bytes show it.
func (w *wire) notKafka() error {
	const alert, tlsMajor = 0x15, 3
	at := w.RemoteAddr()
	switch {
	case w.head[0] == alert && w.head[1] == tlsMajor:
		return fmt.Errorf("%s: %w in plain text: it wants TLS (kafka-tls)", at, ErrNotKafka)
	case string(w.head[:]) == "HTTP":
		return fmt.Errorf("%s: %w: it speaks HTTP", at, ErrNotKafka)
	default:
		return fmt.Errorf("%s: %w: an answer begins with %q", at, ErrNotKafka, w.head)
	}
}
