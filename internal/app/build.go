// Package app builds the worker from its configuration, starts its parts in order, and stops them in
// reverse.
package app

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"replyworker/internal/config"
	"replyworker/internal/dedupe"
	"replyworker/internal/kafkaio"
	"replyworker/internal/wxclient"
)

// Kafka makes the client of the configured brokers. It does not connect.
func Kafka(cfg *config.Config) (*kafkaio.Client, error) {
	password, err := cfg.ReadSecret("kafka-sasl-password-file")
	if err != nil {
		return nil, err
	}
	k := kafkaio.Config{
		Brokers: cfg.KafkaBrokers, SASLMechanism: cfg.KafkaSASLMechanism,
		SASLUsername: cfg.KafkaSASLUsername, SASLPassword: password.Reveal(),
	}
	if k.TLS, err = kafkaTLS(cfg); err != nil {
		return nil, err
	}
	return kafkaio.NewClient(k)
}

func kafkaTLS(cfg *config.Config) (*tls.Config, error) {
	if !cfg.KafkaTLS {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	var err error
	if t.RootCAs, err = roots(cfg, "kafka-ca-file"); err != nil {
		return nil, err
	}
	if cfg.KafkaCertFile == "" {
		return t, nil
	}
	cert, err := cfg.ReadFile("kafka-cert-file")
	if err != nil {
		return nil, err
	}
	key, err := cfg.ReadFile("kafka-key-file")
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("kafka-cert-file and kafka-key-file do not go together: %w", err)
	}
	t.Certificates = []tls.Certificate{pair}
	return t, nil
}

// roots reads a CA file, nil for the system's roots where none is set.
func roots(cfg *config.Config, setting string) (*x509.CertPool, error) {
	pem, err := cfg.ReadFile(setting)
	if err != nil || pem == nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate in it; must be PEM", setting)
	}
	return pool, nil
}

// Redis makes the claim store. It does not connect. The password of redis-password-file goes before
// one in redis-url.
func Redis(cfg *config.Config) (*dedupe.Store, error) {
	password, err := cfg.ReadSecret("redis-password-file")
	if err != nil {
		return nil, err
	}
	u := cfg.RedisURL
	if password.IsZero() {
		password = u.Password
	}
	d := dedupe.Config{
		Server: dedupe.Server{
			Addrs: u.Addrs, Cluster: u.Mode == config.RedisCluster, Master: u.Master, TLS: u.TLS,
			Username: u.Username, Password: password.Reveal(), DB: u.DB,
		},
		Prefix: cfg.RedisPrefix, Lease: cfg.ClaimLease, Retention: cfg.ClaimRetention, PoolSize: poolSize(cfg.Concurrency),
	}
	if d.RootCAs, err = roots(cfg, "redis-ca-file"); err != nil {
		return nil, err
	}
	return dedupe.New(d)
}

// poolSize is how many connections to Redis the calls under way can use: each is short.
func poolSize(concurrency int) int { return min(max(concurrency/2, 10), 100) }

// API makes the client of the two hosts.
func API(cfg *config.Config, version string) (*wxclient.Client, error) {
	pool, err := roots(cfg, "api-ca-file")
	if err != nil {
		return nil, err
	}
	return wxclient.New(wxclient.Config{
		PrimaryURL: cfg.PrimaryURL, BackupURL: cfg.BackupURL, RootCAs: pool, Timeout: cfg.RequestTimeout,
		MaxConns: cfg.Concurrency, UserAgent: "replyworker/" + version,
	})
}
