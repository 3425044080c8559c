package devstack

import (
	"fmt"
	"os"

	"replyworker/internal/wxsim"
)

// The topics of a Stack, the product's own defaults.
const (
	TopicJobs        = "reply-jobs"
	TopicOutcomes    = "reply-outcomes"
	TopicDeadLetters = "reply-dead-letters"
	TopicResolutions = "reply-resolutions"
)

// Topics returns all of them, each with so many partitions.
func Topics(partitions int) map[string]int {
	return map[string]int{
		TopicJobs: partitions, TopicOutcomes: partitions, TopicDeadLetters: partitions, TopicResolutions: partitions,
	}
}

// Config sets a Stack up.
type Config struct {
	// Partitions of the jobs topic and the others; default 6.
	Partitions int
	// KafkaPort, RedisPort and the addresses of the API's hosts; zero values are free ports.
	KafkaPort, RedisPort    int
	PrimaryAddr, BackupAddr string
	// Seed makes the simulator's choices repeatable.
	Seed uint64
	// KeyBits is the size of the RSA keys, 0 for 2048 as the API's.
	KeyBits int
}

// Stack is all that a worker needs around it: broker, Redis and API, on loopback. Close it.
type Stack struct {
	*API

	Kafka *Kafka
	Redis *Redis
}

// Start starts a Stack. Its keys are in a folder of its own, which Close removes.
func Start(cfg Config) (*Stack, error) {
	s := &Stack{}
	if err := s.start(cfg); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Stack) start(cfg Config) (err error) {
	if cfg.Partitions == 0 {
		cfg.Partitions = 6
	}
	if s.API, err = StartAPI(cfg); err != nil {
		return err
	}
	if s.Redis, err = StartRedis(cfg.RedisPort); err != nil {
		return err
	}
	s.Kafka, err = StartKafka(KafkaConfig{Port: cfg.KafkaPort, Topics: Topics(cfg.Partitions)})
	return err
}

// Env returns the environment that makes a worker use the stack.
func (s *Stack) Env() []string {
	return append(s.API.Env(), "REPLYWORKER_KAFKA_BROKERS="+s.Kafka.Addr(), "REPLYWORKER_REDIS_URL="+s.Redis.URL())
}

// Close stops everything and removes the keys.
func (s *Stack) Close() {
	if s.Kafka != nil {
		s.Kafka.Close()
	}
	if s.Redis != nil {
		s.Redis.Close()
	}
	if s.API != nil {
		s.API.Close()
	}
}

// API is the simulated API on two hosts, with a merchant's keys. Close it.
type API struct {
	Sim       *wxsim.Sim
	Servers   *wxsim.Servers
	Materials *wxsim.Materials

	dir string
}

// StartAPI starts the simulator alone. Its keys are in a folder of its own, which Close removes.
func StartAPI(cfg Config) (*API, error) {
	a := &API{}
	if err := a.start(cfg); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

func (a *API) start(cfg Config) (err error) {
	if a.dir, err = os.MkdirTemp("", "replyworker-"); err != nil {
		return fmt.Errorf("folder for keys: %w", err)
	}
	if a.Materials, err = wxsim.Prepare(a.dir, wxsim.Params{KeyBits: cfg.KeyBits}); err != nil {
		return fmt.Errorf("simulator: %w", err)
	}
	simConfig := a.Materials.Config()
	simConfig.Seed = cfg.Seed
	if a.Sim, err = wxsim.New(simConfig); err != nil {
		return fmt.Errorf("simulator: %w", err)
	}
	if a.Servers, err = a.Sim.Listen(wxsim.ListenParams{
		PrimaryAddr: cfg.PrimaryAddr, BackupAddr: cfg.BackupAddr,
		Certificate: a.Materials.Certificate, CAPEM: a.Materials.CAPEM,
	}); err != nil {
		return fmt.Errorf("simulator: %w", err)
	}
	return nil
}

// Env returns the environment that makes a worker use the simulator as its merchant.
func (a *API) Env() []string {
	f := a.Materials.Files
	return []string{
		"REPLYWORKER_MCHID=" + a.Materials.MchID,
		"REPLYWORKER_CERT_SERIAL=" + a.Materials.CertSerial,
		"REPLYWORKER_PRIVATE_KEY_FILE=" + f.MerchantKey,
		"REPLYWORKER_PUBLIC_KEY_ID=" + a.Materials.PublicKeyID,
		"REPLYWORKER_PUBLIC_KEY_FILE=" + f.PublicKey,
		"REPLYWORKER_PRIMARY_URL=" + a.Servers.PrimaryURL,
		"REPLYWORKER_BACKUP_URL=" + a.Servers.BackupURL,
		"REPLYWORKER_API_CA_FILE=" + f.CA,
	}
}

// Close stops the simulator and removes the keys.
func (a *API) Close() {
	if a.Sim != nil {
		_ = a.Sim.Close() // it is an io.Closer, and has nothing to say
	}
	if a.dir != "" {
		_ = os.RemoveAll(a.dir) // it is in the system's folder for temporary files
	}
}
