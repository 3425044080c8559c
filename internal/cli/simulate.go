package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"replyworker/internal/app"
	"replyworker/internal/config"
	"replyworker/internal/wxsim"
)

const simulateLong = `Run the API simulator alone: both hosts over HTTPS, one ledger behind them. It checks every call as the API
does, makes one effect for each idempotent id, signs its answers, and misbehaves when it is told to. Besides
replies it knows the image upload, and the negotiation history of complaints that have had a reply.

Its keys and its CA are made in --dir at the first start and used again later. There is replyworker.env, with
every setting that a worker needs to talk to it. It says "ready" on stderr once it listens, and ends with
SIGINT or SIGTERM.

Faults come from a file (a JSON array; those of GET /faults are of that form) or over plain HTTP at
--control-addr while it runs; GET / there lists the kinds. That interface asks for no credentials, so it is
on loopback only. --log-level debug logs every call.

Where it listens on all addresses (0.0.0.0), replyworker.env has the first --tls-host as the host's name.`

const (
	controlHeaderTimeout = 10 * time.Second
	controlStopTimeout   = 2 * time.Second
)

type simulateFlags struct {
	primary, backup, control string
	dir, faults, mchID       string
	hosts                    []string
	seed                     uint64
}

func newSimulateCommand(s *state) *cobra.Command {
	var f simulateFlags
	cmd := &cobra.Command{
		Use:     "simulate [flags]",
		Short:   "run the API simulator alone",
		Long:    simulateLong,
		GroupID: groupService,
		Example: "  worker simulate\n" +
			"  set -a; . simulator/replyworker.env; set +a; worker run\n" +
			"  worker simulate --faults faults.json --seed 7\n" +
			"  curl -d '{\"kind\": \"down\", \"host\": \"primary\", \"for\": \"30s\"}' http://127.0.0.1:8445/faults",
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := s.load(cmd)
			if err != nil {
				return err
			}
			return s.simulate(cmd.Context(), cfg, f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.primary, "primary-addr", "127.0.0.1:8443", "`host:port` of the primary host; port 0 for a free one")
	flags.StringVar(&f.backup, "backup-addr", "127.0.0.1:8444", "`host:port` of the backup host")
	flags.StringVar(&f.control, "control-addr", "127.0.0.1:8445",
		"loopback `host:port` where faults are changed and the ledger is read; empty for none")
	flags.StringVar(&f.dir, "dir", "./simulator", "`folder` of its keys and of replyworker.env")
	flags.StringVar(&f.mchID, "mchid", wxsim.DefaultMchID, "`id` of the merchant that may call it")
	flags.StringSliceVar(&f.hosts, "tls-host", nil, "further `name` or address that its certificate holds for; may be repeated")
	flags.StringVar(&f.faults, "faults", "", "`file` of faults to begin with")
	flags.Uint64Var(&f.seed, "seed", 0, "`number` that makes its choices the same again")
	_ = cmd.MarkFlagDirname("dir")
	s.useSettings(cmd, config.GroupService)
	for _, setting := range config.Settings() { // of all settings it uses these two
		if setting.Group == config.GroupService && setting.Name != "log-level" && setting.Name != "log-format" {
			flags.Lookup(setting.Name).Hidden = true
		}
	}
	for _, name := range []string{"primary-addr", "backup-addr", "control-addr", "mchid", "seed", "tls-host"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	return cmd
}

// simulateRow is what `simulate -o json` prints once it listens.
type simulateRow struct {
	PrimaryURL string `json:"primary_url"`
	BackupURL  string `json:"backup_url"`
	ControlURL string `json:"control_url"` // empty: off
	MchID      string `json:"mchid"`
	Dir        string `json:"dir"`
	EnvFile    string `json:"env_file"`
}

func (s *state) simulate(ctx context.Context, cfg *config.Config, f simulateFlags) (err error) {
	faults, err := f.check()
	if err != nil {
		return err
	}
	materials, err := wxsim.Prepare(f.dir, wxsim.Params{MchID: f.mchID, Hosts: f.hosts})
	if err != nil {
		return err
	}
	simConfig := materials.Config()
	simConfig.Seed = f.seed
	simConfig.Log = app.NewLogger(cfg, s.stderr, s.isTerminal(s.stderr), s.useColor(s.stderr))
	sim, err := wxsim.New(simConfig)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sim.Close()) }()
	servers, err := sim.Listen(wxsim.ListenParams{
		PrimaryAddr: f.primary, BackupAddr: f.backup, Certificate: materials.Certificate, CAPEM: materials.CAPEM,
	})
	if err != nil {
		return listenError(err)
	}
	row := simulateRow{
		PrimaryURL: f.publicURL(f.primary, servers.PrimaryURL), BackupURL: f.publicURL(f.backup, servers.BackupURL),
		MchID: materials.MchID, Dir: materials.Files.Dir, EnvFile: materials.Files.Env,
	}
	if err := materials.WriteEnv(row.PrimaryURL, row.BackupURL); err != nil {
		return err
	}
	if err := sim.Set(faults...); err != nil {
		return err
	}
	control, err := startControl(f.control, sim.ControlHandler())
	if err != nil {
		return listenError(err)
	}
	defer control.stop()
	row.ControlURL = control.url()
	if err := s.printSimulator(row); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(s.stderr, "ready")
	select {
	case <-ctx.Done(): // it is a server: to be told to stop is its regular end
		return nil
	case err := <-control.ended():
		return fmt.Errorf("control interface: %w", err)
	}
}

// check refuses what cannot work, before anything is made, and reads the faults.
func (f *simulateFlags) check() ([]wxsim.Fault, error) {
	for _, a := range []struct{ flag, addr string }{
		{"--primary-addr", f.primary}, {"--backup-addr", f.backup}, {"--control-addr", f.control},
	} {
		if a.flag == "--control-addr" && a.addr == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(a.addr); err != nil {
			return nil, usagef("%s %q: must be host:port", a.flag, a.addr)
		}
	}
	if host, _, _ := net.SplitHostPort(f.control); f.control != "" && !isLoopback(host) {
		return nil, &usageError{
			fmt.Sprintf("--control-addr %q: must be on loopback, since whoever reaches it may change faults and read replies", f.control),
			"use 127.0.0.1, and an SSH tunnel or a shell in the container to reach it",
		}
	}
	if f.mchID == "" || len(f.mchID) > 32 || strings.ContainsFunc(f.mchID, notInMchID) {
		return nil, usagef("--mchid %q: must be 1 to 32 letters, digits, - or _", f.mchID)
	}
	if slices.Contains(f.hosts, "") {
		return nil, usagef("--tls-host: must not be empty")
	}
	if f.faults == "" {
		return nil, nil
	}
	return readFaultsFile(f.faults)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func notInMchID(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_'
}

func readFaultsFile(path string) ([]wxsim.Fault, error) {
	const hint = "want an array such as [{\"kind\": \"status\", \"status\": 503, \"probability\": 0.1}]; " +
		"GET / of the control interface lists the kinds"
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, &usageError{"--faults: " + err.Error(), "check the path and the permissions"}
	}
	var faults []wxsim.Fault
	if err := json.Unmarshal(bytes.TrimPrefix(text, []byte(byteOrderMark)), &faults); err != nil {
		return nil, &usageError{fmt.Sprintf("--faults %s: %v", path, err), hint}
	}
	var wrong []string
	for i, fault := range faults {
		if err := fault.Validate(); err != nil {
			wrong = append(wrong, fmt.Sprintf("[%d] %s", i, strings.ReplaceAll(err.Error(), "\n", ", ")))
		}
	}
	if len(wrong) > 0 {
		return nil, &usageError{fmt.Sprintf("--faults %s: %s", path, strings.Join(wrong, "; ")), hint}
	}
	return faults, nil
}

// publicURL is how others call a host that listens on all addresses: by the certificate's first name.
func (f *simulateFlags) publicURL(addr, url string) string {
	host, _, _ := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	everywhere := host == "" || ip != nil && ip.IsUnspecified()
	if !everywhere || len(f.hosts) == 0 {
		return url
	}
	port := url[strings.LastIndex(url, ":")+1:]
	return "https://" + net.JoinHostPort(f.hosts[0], port)
}

func listenError(err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return withHint(err, "another simulator may be running; give other addresses, or port 0 for a free one")
	}
	return err
}

func (s *state) printSimulator(row simulateRow) error {
	if s.output == outputJSON {
		return printJSON(s, row)
	}
	if err := writeTable(s.stdout, [][]string{
		{"primary host", row.PrimaryURL},
		{"backup host", row.BackupURL},
		{"control", orDash(row.ControlURL)},
		{"merchant", row.MchID},
		{"keys", row.Dir},
		{"settings", row.EnvFile},
	}); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(s.stderr, "Run a worker against it:\n  set -a; . %s; set +a; worker run\n", shellWord(row.EnvFile))
	return nil
}

// shellWord quotes a path for a shell where it must be.
func shellWord(path string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-"
	if strings.Trim(path, plain) == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// controlServer serves the control interface; a nil one is off.
type controlServer struct {
	http    *http.Server
	addr    string
	done    chan error
	serving sync.WaitGroup
}

func startControl(addr string, handler http.Handler) (*controlServer, error) {
	if addr == "" {
		return nil, nil // off
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for the control interface: %w", err)
	}
	c := &controlServer{
		http: &http.Server{Handler: handler, ReadHeaderTimeout: controlHeaderTimeout},
		addr: ln.Addr().String(), done: make(chan error, 1),
	}
	c.serving.Go(func() { c.done <- c.http.Serve(ln) })
	return c, nil
}

func (c *controlServer) url() string {
	if c == nil {
		return ""
	}
	return "http://" + c.addr
}

// ended tells the end that nobody asked for; nil, which never does, where it is off.
func (c *controlServer) ended() <-chan error {
	if c == nil {
		return nil
	}
	return c.done
}

// stop ends it, and waits some time for requests under way.
func (c *controlServer) stop() {
	if c == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), controlStopTimeout)
	defer cancel()
	if c.http.Shutdown(ctx) != nil {
		_ = c.http.Close()
	}
	c.serving.Wait()
}
