// Package app builds the worker from its configuration, starts its parts in order, and stops them in
// reverse.
package app

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

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

// Redis makes the claim store. It does not connect. observe may be nil.
func Redis(cfg *config.Config) (*dedupe.Store, error) {
	password, err := cfg.ReadSecret("redis-password-file")
	if err != nil {
		return nil, err
	}
	d := dedupe.Config{
		URL: redisURL(cfg.RedisURL), Password: password.Reveal(), Prefix: cfg.RedisPrefix,
		Lease: cfg.ClaimLease, Retention: cfg.ClaimRetention, PoolSize: poolSize(cfg.Concurrency),
	}
	if d.RootCAs, err = roots(cfg, "redis-ca-file"); err != nil {
		return nil, err
	}
	return dedupe.New(d)
}

// redisURL is the URL with its password, as the claim store takes it.
func redisURL(u config.RedisURL) string {
	scheme := "redis"
	if u.TLS {
		scheme = "rediss"
	}
	path := "/" + strconv.Itoa(u.DB)
	switch u.Mode {
	case config.RedisSentinel:
		scheme, path = scheme+"+sentinel", "/"+url.PathEscape(u.Master)+path
	case config.RedisCluster:
		path = ""
	case config.RedisSingle:
	}
	user := ""
	if u.Username != "" || !u.Password.IsZero() {
		user = url.UserPassword(u.Username, u.Password.Reveal()).String() + "@"
	}
	return scheme + "://" + user + strings.Join(u.Addrs, ",") + path
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

// Merchants reads the keys of every merchant.
func Merchants(cfg *config.Config) (map[string]*wxclient.Merchant, error) {
	all := map[string]*wxclient.Merchant{}
	var faults []error
	for _, c := range cfg.Merchants {
		m, err := merchant(c)
		if err != nil {
			faults = append(faults, fmt.Errorf("merchant %s: %w", c.MchID, err))
			continue
		}
		all[c.MchID] = m
	}
	return all, errors.Join(faults...)
}

func merchant(c config.Merchant) (*wxclient.Merchant, error) {
	m := &wxclient.Merchant{MchID: c.MchID, CertSerial: c.CertSerial, AnswerKeyID: c.PublicKeyID}
	pem, err := c.ReadPrivateKey()
	if err != nil {
		return nil, err
	}
	if m.Key, err = wxclient.ParsePrivateKey(pem); err != nil {
		return nil, fmt.Errorf("private-key-file %s: %w", c.PrivateKeyFile, err)
	}
	if pem, err = c.ReadPublicKey(); err != nil {
		return nil, err
	}
	key, _, err := wxclient.ParsePublicKey(pem)
	if err != nil {
		return nil, fmt.Errorf("public-key-file %s: %w", c.PublicKeyFile, err)
	}
	m.AnswerKeys = map[string]*rsa.PublicKey{c.PublicKeyID: key}
	for _, k := range c.AnswerKeys {
		if pem, err = k.Read(); err != nil {
			return nil, err
		}
		if key, _, err = wxclient.ParsePublicKey(pem); err != nil {
			return nil, fmt.Errorf("answer key %s: %s: %w", k.ID, k.File, err)
		}
		m.AnswerKeys[k.ID] = key
	}
	return m, m.Validate()
}
