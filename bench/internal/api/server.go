package api

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"replyworker/bench/internal/jobs"
	"replyworker/internal/wxsim"
)

// idleTimeout is the real API's.
const idleTimeout = 8 * time.Second

// maxBody is more than any job of a batch has.
const maxBody = 64 << 10

// Order is what the API is told before a run.
type Order struct {
	Batch   jobs.Batch    `json:"batch"`
	Latency time.Duration `json:"latency"`
}

// Trouble is that calls of a share of the jobs (jobs.Picked) are answered with 500 for a while from now.
type Trouble struct {
	Share float64       `json:"share"`
	For   time.Duration `json:"for"`
}

// server is the API of one process.
type server struct {
	rules   rules
	signer  signer
	ledger  ledger
	latency atomic.Int64
	trouble atomic.Pointer[trouble]
	quota   quota
}

type trouble struct {
	share float64
	until time.Time
}

// Serve serves the API with the keys in dir, as wxsim.Prepare makes them, until the context ends. It says
// its URL on said once it listens.
func Serve(ctx context.Context, dir string, said io.Writer) error {
	m, err := wxsim.Prepare(dir, wxsim.Params{})
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	s := &server{
		rules:  rules{mchID: m.MchID, serial: m.CertSerial, key: &m.MerchantKey.PublicKey, answerKeyID: m.PublicKeyID},
		signer: signer{key: m.PlatformKey, keyID: m.PublicKeyID},
	}
	s.trouble.Store(&trouble{})
	if err := s.signer.renew(time.Now()); err != nil {
		return err
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	hs := &http.Server{Handler: s.handler(), IdleTimeout: idleTimeout, ReadHeaderTimeout: idleTimeout}
	ended := make(chan error, 1)
	go func() { ended <- hs.Serve(ln) }()
	fmt.Fprintf(said, "http://%s\n", ln.Addr()) //nolint:errcheck // Who asked reads it, or has gone.
	for {
		select {
		case <-ctx.Done():
			_ = hs.Close() // There is nothing to be saved.
			return nil
		case err := <-ended:
			return fmt.Errorf("api: %w", err)
		case now := <-time.After(time.Second):
			if err := s.signer.renew(now); err != nil {
				return err
			}
		}
	}
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /bench/begin", s.begin)
	mux.HandleFunc("POST /bench/trouble", s.makeTrouble)
	mux.HandleFunc("POST /bench/quota", s.setQuota)
	mux.HandleFunc("GET /bench/counts", s.counts)
	mux.HandleFunc("GET /bench/times", s.times)
	mux.HandleFunc("/", s.reply)
	return mux
}

// reply is the API's call.
func (s *server) reply(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return // Half a call is none.
	}
	batch, n, known, check := s.ledger.ask(idOf(body), at)
	if check {
		s.ledger.checked(s.rules.check(r, body, batch, n))
	}
	over := s.quota.refuses(at)
	if latency := time.Duration(s.latency.Load()); latency > 0 {
		time.Sleep(latency)
	}
	t := s.trouble.Load()
	refusal := 0
	switch {
	case over:
		refusal = http.StatusTooManyRequests
	case known && jobs.Picked(n, t.share) && time.Now().Before(t.until):
		refusal = http.StatusInternalServerError
	}
	s.ledger.end(batch, n, known, refusal != 0, time.Now())
	if refusal != 0 {
		refuse(w, refusal)
		return
	}
	s.signer.write(w)
}

// refuse answers as the API does, which does not sign such answers.
func refuse(w http.ResponseWriter, status int) {
	text := `{"code":"SYSTEM_ERROR","message":"系统错误，请稍后重试"}`
	if status == http.StatusTooManyRequests {
		text = `{"code":"RATELIMIT_EXCEEDED","message":"频率超限，请降低调用频率"}`
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // The client may have gone.
}

// idOf finds the idempotent_id in a body, whatever stands between name and value; nil where there is none.
func idOf(body []byte) []byte {
	_, rest, ok := bytes.Cut(body, []byte(`"idempotent_id"`))
	if !ok {
		return nil
	}
	rest = bytes.TrimLeft(rest, " \t\r\n:")
	if len(rest) == 0 || rest[0] != '"' {
		return nil
	}
	id, _, ok := bytes.Cut(rest[1:], []byte(`"`))
	if !ok {
		return nil
	}
	return id
}

func (s *server) begin(w http.ResponseWriter, r *http.Request) {
	var o Order
	err := json.NewDecoder(r.Body).Decode(&o)
	if err == nil && (o.Batch.Jobs < 0 || o.Batch.Jobs > jobs.Max || o.Batch.Complaints < 0 || o.Batch.Complaints > jobs.Max) {
		err = errors.New("more jobs than are kept count of")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.trouble.Store(&trouble{})
	s.quota.set(0)
	s.latency.Store(int64(o.Latency))
	s.ledger.begin(o.Batch)
}

func (s *server) makeTrouble(w http.ResponseWriter, r *http.Request) {
	var t Trouble
	if err := json.NewDecoder(r.Body).Decode(&t); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.trouble.Store(&trouble{share: t.Share, until: time.Now().Add(t.For)})
}

func (s *server) setQuota(w http.ResponseWriter, r *http.Request) {
	var perSecond int
	if err := json.NewDecoder(r.Body).Decode(&perSecond); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.quota.set(perSecond)
}

func (s *server) counts(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.ledger.count()) // The client may have gone.
}

func (s *server) times(w http.ResponseWriter, _ *http.Request) {
	_ = binary.Write(w, binary.LittleEndian, s.ledger.all()) // The client may have gone.
}
