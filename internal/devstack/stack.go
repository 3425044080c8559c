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
	Kafka     *Kafka
	Redis     *Redis
	Sim       *wxsim.Sim
	Servers   *wxsim.Servers
	Materials *wxsim.Materials

	dir string
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
	n := cfg.Partitions
	if s.dir, err = os.MkdirTemp("", "replyworker-"); err != nil {
		return fmt.Errorf("folder for keys: %w", err)
	}
	if s.Materials, err = wxsim.Prepare(s.dir, wxsim.Params{KeyBits: cfg.KeyBits}); err != nil {
		return fmt.Errorf("simulator: %w", err)
	}
	simConfig := s.Materials.Config()
	simConfig.Seed = cfg.Seed
	if s.Sim, err = wxsim.New(simConfig); err != nil {
		return fmt.Errorf("simulator: %w", err)
	}
	if s.Servers, err = s.Sim.Listen(wxsim.ListenParams{
		PrimaryAddr: cfg.PrimaryAddr, BackupAddr: cfg.BackupAddr,
		Certificate: s.Materials.Certificate, CAPEM: s.Materials.CAPEM,
	}); err != nil {
		return fmt.Errorf("simulator: %w", err)
	}
	if s.Redis, err = StartRedis(cfg.RedisPort); err != nil {
		return err
	}
	s.Kafka, err = StartKafka(KafkaConfig{Port: cfg.KafkaPort, Topics: map[string]int{
		TopicJobs: n, TopicOutcomes: n, TopicDeadLetters: n, TopicResolutions: n,
	}})
	return err
}

// Env returns the environment that makes a worker use the stack.
func (s *Stack) Env() []string {
	f := s.Materials.Files
	return []string{
		"REPLYWORKER_KAFKA_BROKERS=" + s.Kafka.Addr(),
		"REPLYWORKER_REDIS_URL=" + s.Redis.URL(),
		"REPLYWORKER_MCHID=" + s.Materials.MchID,
		"REPLYWORKER_CERT_SERIAL=" + s.Materials.CertSerial,
		"REPLYWORKER_PRIVATE_KEY_FILE=" + f.MerchantKey,
		"REPLYWORKER_PUBLIC_KEY_ID=" + s.Materials.PublicKeyID,
		"REPLYWORKER_PUBLIC_KEY_FILE=" + f.PublicKey,
		"REPLYWORKER_PRIMARY_URL=" + s.Servers.PrimaryURL,
		"REPLYWORKER_BACKUP_URL=" + s.Servers.BackupURL,
		"REPLYWORKER_API_CA_FILE=" + f.CA,
	}
}

// Close stops everything and removes the keys.
func (s *Stack) Close() {
	if s.Kafka != nil {
		s.Kafka.Close()
	}
	if s.Redis != nil {
		s.Redis.Close()
	}
	if s.Sim != nil {
		_ = s.Sim.Close() // it is an io.Closer, and has nothing to say
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir) // it is in the system's folder for temporary files
	}
}
