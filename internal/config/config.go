package config

import (
	"slices"
	"time"
)

// Config is the whole configuration, checked. Its fields are named after the settings, which say in
// settings.go what each does, its default and its limits. It is read-only once loaded.
type Config struct {
	KafkaBrokers          []string
	KafkaGroup            string
	KafkaSessionTimeout   time.Duration
	KafkaTLS              bool
	KafkaCAFile           string // empty: the system's roots
	KafkaCertFile         string // empty: no client certificate
	KafkaKeyFile          string
	KafkaSASLMechanism    string // empty: no SASL
	KafkaSASLUsername     string
	KafkaSASLPasswordFile string

	TopicJobs        string
	TopicOutcomes    string
	TopicDeadLetters string
	TopicResolutions string

	RedisURL          RedisURL
	RedisPasswordFile string
	RedisCAFile       string // empty: the system's roots
	RedisPrefix       string

	// The default merchant as its settings give it; read Merchants instead.
	MchID          string
	CertSerial     string
	PrivateKeyFile string
	PublicKeyID    string
	PublicKeyFile  string
	MerchantsFile  string

	// Merchants has every merchant: the one of the settings first, then those of merchants-file.
	// Until RequireMerchant has answered nil, the first may lack values.
	Merchants []Merchant

	PrimaryURL string // no slash at its end
	BackupURL  string // empty: there is no backup
	APICAFile  string // empty: the system's roots

	Concurrency     int
	RequestTimeout  time.Duration
	RetryInitial    time.Duration
	RetryMax        time.Duration
	RetryAttempts   int
	Rate            float64 // API calls per second and merchant; 0: no limit
	BreakerFailures int
	BreakerCooldown time.Duration
	Brake           int // 0: off

	ClaimLease     time.Duration
	ClaimRetention time.Duration

	StartTimeout   time.Duration
	DrainTimeout   time.Duration
	BufferJobs     int
	BufferBytes    int64
	Validation     string
	AdminAddr      string
	AdminTokenFile string
	LogLevel       string
	LogFormat      string

	origins map[string]Origin
	raws    map[string]string // what was given, without secrets, for messages

	src  Sources
	file string // the configuration file; empty for none
}

// Default returns the configuration that holds where nothing is set. It is valid, and has no
// merchant.
func Default() *Config {
	c := &Config{origins: map[string]Origin{}, raws: map[string]string{}}
	for _, s := range Settings() {
		if s.Default != "" {
			s.value.parse(c, s.Default) // a test holds that every default parses
		}
	}
	return c
}

// Merchant is one merchant that signs calls.
type Merchant struct {
	MchID          string // 商户号
	CertSerial     string // serial of the merchant's API certificate, 商户API证书序列号
	PrivateKeyFile string
	PublicKeyID    string // id of the WeChat Pay public key that answers are verified with, 微信支付公钥ID
	PublicKeyFile  string
	AnswerKeys     []AnswerKey // further keys that an answer may be signed with
	TopicJobs      string      // the topic of this merchant's jobs; the shared one where it has none of its own

	flat bool // from the settings, not from merchants-file
	entryNotes
}

// AnswerKey is a further public key, or platform certificate's key, that answers may be signed with.
type AnswerKey struct {
	ID   string
	File string

	entryNotes
}

// Merchant returns the merchant of that id.
func (c *Config) Merchant(mchID string) (Merchant, bool) {
	i := slices.IndexFunc(c.Merchants, func(m Merchant) bool { return m.MchID == mchID })
	if i < 0 {
		return Merchant{}, false
	}
	return c.Merchants[i], true
}

// DefaultMerchant returns the merchant that signs where a job names none: the one of the setting
// mchid, or the only one there is.
func (c *Config) DefaultMerchant() (Merchant, bool) {
	if c.MchID != "" {
		return c.Merchant(c.MchID)
	}
	if len(c.Merchants) == 1 {
		return c.Merchants[0], true
	}
	return Merchant{}, false
}

// JobsTopics returns every topic that jobs come on: the shared one first, then those that merchants
// have of their own.
func (c *Config) JobsTopics() []string {
	topics := []string{c.TopicJobs}
	for _, m := range c.Merchants {
		if m.TopicJobs != "" && !slices.Contains(topics, m.TopicJobs) {
			topics = append(topics, m.TopicJobs)
		}
	}
	return topics
}

// Origin says where the setting of that name got its value.
func (c *Config) Origin(name string) Origin {
	return c.origins[name]
}
