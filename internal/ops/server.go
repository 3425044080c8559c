// Package ops is what operators and their tools see of a running worker over HTTP: health, metrics,
// profiles.
package ops

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"
)

const (
	headerTimeout = 5 * time.Second
	stopTimeout   = 2 * time.Second
	// checkTimeout bounds one answer of /readyz.
	checkTimeout = 3 * time.Second
)

// Check is one part of readiness.
type Check struct {
	Name string
	// Run returns the state in words, and an error where a person must act.
	Run func(ctx context.Context) (state string, err error)
}

// Config sets a Server up.
type Config struct {
	Addr string
	// Token, where it is not empty, is asked of everything but health and metrics, as a bearer token.
	Token    string
	Gatherer prometheus.Gatherer
	// Alive says whether the process still makes progress; nil is yes.
	Alive  func() error
	Checks []Check
	Log    zerolog.Logger
}

// Server answers on the admin address.
type Server struct {
	cfg      Config
	listener net.Listener
	http     *http.Server
}

// Listen takes the address.
func Listen(cfg Config) (*Server, error) {
	l, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("admin-addr %s: %w", cfg.Addr, err)
	}
	s := &Server{cfg: cfg, listener: l}
	s.http = &http.Server{Handler: s.routes(), ReadHeaderTimeout: headerTimeout}
	return s, nil
}

// Addr returns the address that the server listens on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	stopped := make(chan error, 1)
	go func() { stopped <- s.http.Serve(s.listener) }()
	select {
	case err := <-stopped:
		return fmt.Errorf("admin server: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := s.http.Shutdown(stop); err != nil {
		_ = s.http.Close() // a client that does not go is cut off
	}
	if err := <-stopped; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin server: %w", err)
	}
	return nil
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", s.livez)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.cfg.Gatherer, promhttp.HandlerOpts{
		DisableCompression: true, // each scrape would take a megabyte to save twenty kilobytes
	}))
	mux.Handle("GET /{$}", s.guard(http.HandlerFunc(index)))
	mux.Handle("/debug/pprof/", s.guard(http.HandlerFunc(pprof.Index)))
	mux.Handle("/debug/pprof/cmdline", s.guard(http.HandlerFunc(pprof.Cmdline)))
	mux.Handle("/debug/pprof/profile", s.guard(http.HandlerFunc(pprof.Profile)))
	mux.Handle("/debug/pprof/symbol", s.guard(http.HandlerFunc(pprof.Symbol)))
	mux.Handle("/debug/pprof/trace", s.guard(http.HandlerFunc(pprof.Trace)))
	return mux
}

// guard asks for the token where there is one.
func (s *Server) guard(next http.Handler) http.Handler {
	if s.cfg.Token == "" {
		return next
	}
	want := sha256.Sum256([]byte(s.cfg.Token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		got := sha256.Sum256([]byte(given))
		if !ok || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="replyworker"`)
			http.Error(w, "the token of admin-token-file is needed: Authorization: Bearer TOKEN", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) livez(w http.ResponseWriter, _ *http.Request) {
	if s.cfg.Alive != nil {
		if err := s.cfg.Alive(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
	}
	fmt.Fprintln(w, "ok")
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
	defer cancel()
	// Side by side: a part that does not answer must not use up the time of the others.
	lines, failed := make([]string, len(s.cfg.Checks)), make([]bool, len(s.cfg.Checks))
	var wg sync.WaitGroup
	for i, c := range s.cfg.Checks {
		wg.Go(func() {
			state, err := c.Run(ctx)
			failed[i], lines[i] = err != nil, fmt.Sprintf("[+] %s: %s\n", c.Name, state)
			if err != nil {
				lines[i] = fmt.Sprintf("[-] %s: %v\n", c.Name, err)
			}
		})
	}
	wg.Wait()
	status := http.StatusOK
	if slices.Contains(failed, true) {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprint(w, strings.Join(lines, ""))
}

func index(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprint(w, "replyworker\n\n/readyz        is it ready, part by part\n/livez         is the process alive\n"+
		"/metrics       Prometheus\n/debug/pprof/  profiles\n")
}
