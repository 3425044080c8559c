//go:build linux

package fleet

import (
	"fmt"
	"net/url"

	"replyworker/internal/wxsim"
)

// APIConfig sets the simulated API of a fleet up.
type APIConfig struct {
	// Dir takes its keys and certificates. It is made where it is not there.
	Dir string
	// Seed decides every draw of its faults, as wxsim.Config says.
	Seed uint64
	// Proxy, if set, is called once for each host, with "primary" or "backup" and the host's address, and
	// returns the address of what stands before it. Workers know no other.
	Proxy func(name, upstream string) (addr string, err error)
}

// API is the simulated API that the workers of a fleet call. Its simulator is safe for concurrent use.
type API struct {
	// Sim keeps the ledger and takes the faults. Whoever started the API closes it.
	Sim *wxsim.Sim
	// Settings are the lines NAME=value with which a worker calls it, its merchant's keys among them.
	Settings []string
}

// What the ledger keeps: more than any run makes.
const (
	maxEffects = 2_000_000
	maxCalls   = 200_000
)

// StartAPI starts both hosts of the API, in this process.
func StartAPI(cfg APIConfig) (*API, error) {
	m, err := wxsim.Prepare(cfg.Dir, wxsim.Params{})
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	with := m.Config()
	with.Seed, with.MaxEffects, with.MaxCalls = cfg.Seed, maxEffects, maxCalls
	sim, err := wxsim.New(with)
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	s, err := sim.Listen(wxsim.ListenParams{Certificate: m.Certificate, CAPEM: m.CAPEM})
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	primary, err := cfg.before("primary", s.PrimaryURL)
	if err == nil {
		s.BackupURL, err = cfg.before("backup", s.BackupURL)
	}
	if err != nil {
		_ = sim.Close() // It has nothing to say.
		return nil, fmt.Errorf("api: %w", err)
	}
	return &API{Sim: sim, Settings: []string{
		"REPLYWORKER_MCHID=" + m.MchID, "REPLYWORKER_CERT_SERIAL=" + m.CertSerial,
		"REPLYWORKER_PRIVATE_KEY_FILE=" + m.Files.MerchantKey,
		"REPLYWORKER_PUBLIC_KEY_ID=" + m.PublicKeyID, "REPLYWORKER_PUBLIC_KEY_FILE=" + m.Files.PublicKey,
		"REPLYWORKER_PRIMARY_URL=" + primary, "REPLYWORKER_BACKUP_URL=" + s.BackupURL,
		"REPLYWORKER_API_CA_FILE=" + m.Files.CA,
	}}, nil
}

// before returns the URL of what stands before a host.
func (c APIConfig) before(name, hostURL string) (string, error) {
	if c.Proxy == nil {
		return hostURL, nil
	}
	u, err := url.Parse(hostURL)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	addr, err := c.Proxy(name, u.Host)
	if err != nil {
		return "", err
	}
	return "https://" + addr, nil
}
