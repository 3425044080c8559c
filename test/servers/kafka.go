package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// KafkaConfig sets a Kafka up.
type KafkaConfig struct {
	// Dir takes data, logs and certificates. It is made where it is not there; the caller removes it.
	Dir string
	// Brokers is 1 (the default) or 3. Each is a controller too.
	Brokers int
	// Proxy, if set, is called once for each broker before it starts, with a name such as "kafka-0" and
	// the address of one more plaintext listener. It returns the address of a TCP proxy in front of it,
	// which the broker advertises to clients that come by that way.
	Proxy func(name, upstream string) (addr string, err error)
	// Properties are added to each broker's server.properties, over what stands there.
	Properties map[string]string
}

// Kafka is one or three brokers. Topics are replicated on all of them; with three, a write is
// acknowledged by two. Its methods are safe for concurrent use. Close it.
type Kafka struct {
	brokers      []*broker
	proxied      bool
	certs        certificates
	passwordFile string
	ports        ports
	closing      sync.Once
}

// kafkaUser is the only user that SASL lets in.
const kafkaUser = "worker"

// broker is one broker.
type broker struct {
	id      int // of the node, from 1
	dir     string
	ports   map[listener]int
	proxy   string // the advertised address of the proxied listener; "" without
	process *process
}

func (b *broker) addr(l listener) string { return local(b.ports[l]) }

// StartKafka starts the brokers and returns when each answers and knows all others, or the error with
// the end of a broker's log. Nothing runs when it fails. It calls Install.
func StartKafka(ctx context.Context, cfg KafkaConfig) (*Kafka, error) {
	if cfg.Brokers == 0 {
		cfg.Brokers = 1
	}
	if cfg.Brokers != 1 && cfg.Brokers != 3 {
		return nil, fmt.Errorf("kafka: %d brokers, and there can be 1 or 3", cfg.Brokers)
	}
	in, err := Install(ctx)
	if err != nil {
		return nil, err
	}
	k := &Kafka{proxied: cfg.Proxy != nil}
	if err := errors.Join(k.prepare(ctx, cfg, in)); err != nil {
		k.Close()
		return nil, fmt.Errorf("kafka: %w", err)
	}
	if err := k.begin(ctx); err != nil {
		k.Close()
		return nil, fmt.Errorf("kafka: %w", err)
	}
	return k, nil
}

// begin starts all brokers at once: one alone has no majority to start with.
func (k *Kafka) begin(ctx context.Context) error {
	for _, b := range k.brokers {
		if err := b.process.start(); err != nil {
			return err
		}
	}
	return k.Ready(ctx)
}

// prepare writes all that the brokers find when they start.
func (k *Kafka) prepare(ctx context.Context, cfg KafkaConfig, in Installation) (err error) {
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return err //nolint:wrapcheck // it says which
	}
	if k.certs, err = makeCertificates(filepath.Join(cfg.Dir, "kafka-certificates")); err != nil {
		return err
	}
	k.passwordFile = filepath.Join(cfg.Dir, "kafka-password")
	password, err := writePassword(k.passwordFile)
	if err != nil {
		return err
	}
	for i := range cfg.Brokers {
		if err := k.addBroker(ctx, cfg, i); err != nil {
			return err
		}
	}
	for _, b := range k.brokers {
		text := properties(k.brokers, b, k.certs, cfg.Properties)
		if err := os.WriteFile(filepath.Join(b.dir, "server.properties"), []byte(text), 0o600); err != nil {
			return fmt.Errorf("properties: %w", err)
		}
		b.process = javaProcess(in, b, "kafka.Kafka", filepath.Join(b.dir, "server.properties"))
	}
	return k.format(ctx, in, password)
}

func (k *Kafka) addBroker(ctx context.Context, cfg KafkaConfig, i int) error {
	b := &broker{id: i + 1, dir: filepath.Join(cfg.Dir, fmt.Sprintf("kafka-%d", i)), ports: map[listener]int{}}
	if err := os.MkdirAll(filepath.Join(b.dir, "tmp"), 0o700); err != nil {
		return fmt.Errorf("folder: %w", err)
	}
	for _, l := range listeners(cfg.Proxy != nil) {
		port, err := k.ports.take(ctx, false)
		if err != nil {
			return err
		}
		b.ports[l] = port
	}
	if cfg.Proxy != nil {
		addr, err := cfg.Proxy(filepath.Base(b.dir), b.addr(proxied))
		if err != nil {
			return fmt.Errorf("proxy: %w", err)
		}
		b.proxy = addr
	}
	k.brokers = append(k.brokers, b)
	return nil
}

// format gives each broker its storage, all at once, with the user for SASL in it.
func (k *Kafka) format(ctx context.Context, in Installation, password string) error {
	const cluster = "cmVwbHl3b3JrZXItdGVzdA" // 16 bytes in base64, as Kafka wants them
	errs := make([]error, len(k.brokers))
	var wait sync.WaitGroup
	for i, b := range k.brokers {
		wait.Go(func() {
			p := javaProcess(in, b, "kafka.tools.StorageTool", "format",
				"--cluster-id", cluster, "--config", filepath.Join(b.dir, "server.properties"), "--ignore-formatted",
				"--add-scram", fmt.Sprintf("SCRAM-SHA-512=[name=%s,password=%s]", kafkaUser, password))
			p.name += " (format)"
			errs[i] = p.finish(ctx)
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// javaProcess is a small Java that runs one of Kafka's classes.
func javaProcess(in Installation, b *broker, class string, args ...string) *process {
	name := filepath.Base(b.dir)
	java := []string{
		"-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-XX:+ExitOnOutOfMemoryError",
		// Nothing in the system's own folder for temporary files: who is killed does not tidy up.
		"-XX:-UsePerfData", "-Djava.io.tmpdir=" + filepath.Join(b.dir, "tmp"), "-Djava.awt.headless=true",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=info", "-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
		// They print every setting there is, several times.
		"-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaConfig=warn",
		"-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config.AbstractConfig=warn",
		"-cp", filepath.Join(in.KafkaLibs, "*"), class,
	}
	return &process{name: name, path: in.Java, args: append(java, args...), log: filepath.Join(filepath.Dir(b.dir), name+".log")}
}

// Addrs returns the plaintext addresses, those that no proxy stands before.
func (k *Kafka) Addrs() []string { return k.addrs(plain) }

// SecureAddrs returns the addresses that want TLS and a login with SASL. No proxy stands before them.
func (k *Kafka) SecureAddrs() []string { return k.addrs(secure) }

// ProxiedAddrs returns the addresses of the proxies, or nothing where there are none.
func (k *Kafka) ProxiedAddrs() []string {
	if !k.proxied {
		return nil
	}
	return k.addrs(proxied)
}

func (k *Kafka) addrs(l listener) []string {
	var all []string
	for _, b := range k.brokers {
		if l == proxied {
			all = append(all, b.proxy)
			continue
		}
		all = append(all, b.addr(l))
	}
	return all
}

// Settings returns the product's settings, a line NAME=value each: for the plaintext addresses (through
// the proxies, where there are some), or with TLS and SASL, where no proxy stands between.
func (k *Kafka) Settings(withTLS bool) []string {
	switch {
	case !withTLS && k.proxied:
		return []string{setting("KAFKA_BROKERS", strings.Join(k.ProxiedAddrs(), ","))}
	case !withTLS:
		return []string{setting("KAFKA_BROKERS", strings.Join(k.Addrs(), ","))}
	default:
		return []string{
			setting("KAFKA_BROKERS", strings.Join(k.SecureAddrs(), ",")),
			setting("KAFKA_TLS", "true"),
			setting("KAFKA_CA_FILE", k.certs.ca),
			setting("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512"),
			setting("KAFKA_SASL_USERNAME", kafkaUser),
			setting("KAFKA_SASL_PASSWORD_FILE", k.passwordFile),
		}
	}
}
