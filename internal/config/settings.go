package config

import (
	"strings"
	"time"
)

// EnvPrefix begins the name of every environment variable of the product.
const EnvPrefix = "REPLYWORKER_"

// FileFlag is the flag that names the configuration file. It is no setting: the file cannot name
// itself.
const FileFlag = "config"

// Group is a chapter of the settings.
type Group string

// The groups, in the order they are shown.
const (
	GroupKafka    Group = "Kafka"
	GroupTopics   Group = "Topics"
	GroupRedis    Group = "Redis"
	GroupMerchant Group = "Merchants"
	GroupAPI      Group = "WeChat Pay API"
	GroupSending  Group = "Sending"
	GroupClaims   Group = "Claims"
	GroupService  Group = "Service"
)

// Groups lists every group in the order they are shown.
func Groups() []Group {
	return []Group{
		GroupKafka, GroupTopics, GroupRedis, GroupMerchant, GroupAPI, GroupSending, GroupClaims, GroupService,
	}
}

// Setting is the declaration of one setting.
type Setting struct {
	Name    string // the flag without its dashes, and the key in the file
	Default string
	Help    string // one line
	Group   Group
	// Secret says that the file that the setting names has a secret in it.
	Secret bool
	// MayBeEmpty says that an empty value is the value "none".
	MayBeEmpty bool

	value value
}

// Env returns the name of the setting's environment variable.
func (s Setting) Env() string { return EnvName(s.Name) }

// Kind is the word for the setting's type that help shows.
func (s Setting) Kind() string { return s.value.kind }

// Choices lists the only values that the setting may have; it is empty where there are others.
func (s Setting) Choices() []string { return s.value.choices }

// EnvName returns the name of the environment variable of the setting of that name.
func EnvName(name string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// Settings returns every setting, in the order they are shown: by group.
func Settings() []Setting {
	var all []Setting
	add := func(group Group, settings []Setting) {
		for _, s := range settings {
			s.Group = group
			s.MayBeEmpty = s.MayBeEmpty || s.Default == ""
			all = append(all, s)
		}
	}
	add(GroupKafka, kafkaSettings())
	add(GroupTopics, topicSettings())
	add(GroupRedis, redisSettings())
	add(GroupMerchant, merchantSettings())
	add(GroupAPI, apiSettings())
	add(GroupSending, sendingSettings())
	add(GroupClaims, claimSettings())
	add(GroupService, serviceSettings())
	return all
}

func kafkaSettings() []Setting {
	return []Setting{
		{
			Name: "kafka-brokers", Default: "127.0.0.1:9092",
			Help:  "brokers to begin with, comma-separated",
			value: listValue("host:port,...", func(c *Config) *[]string { return &c.KafkaBrokers }, checkHostPort),
		},
		{
			Name: "kafka-group", Default: "replyworker",
			Help:  "consumer group of the workers that share the jobs",
			value: stringValue("text", func(c *Config) *string { return &c.KafkaGroup }, checkPlain(255)),
		},
		{
			Name: "kafka-session-timeout", Default: "30s",
			Help: "silence after which the group gives a worker's partitions to others; the broker has limits of its own",
			value: durationValue(func(c *Config) *time.Duration { return &c.KafkaSessionTimeout },
				6*time.Second, 5*time.Minute),
		},
		{
			Name: "kafka-tls", Default: "false",
			Help:  "talk TLS to the brokers",
			value: boolValue(func(c *Config) *bool { return &c.KafkaTLS }),
		},
		{
			Name:  "kafka-ca-file",
			Help:  "certificates to trust for the brokers, in place of the system's; needs kafka-tls",
			value: fileValue(func(c *Config) *string { return &c.KafkaCAFile }),
		},
		{
			Name:  "kafka-cert-file",
			Help:  "client certificate to show to the brokers; needs kafka-key-file",
			value: fileValue(func(c *Config) *string { return &c.KafkaCertFile }),
		},
		{
			Name: "kafka-key-file", Secret: true,
			Help:  "private key of the client certificate",
			value: fileValue(func(c *Config) *string { return &c.KafkaKeyFile }),
		},
		{
			Name: "kafka-sasl-mechanism",
			Help: "how to log in to the brokers",
			value: enumValue(func(c *Config) *string { return &c.KafkaSASLMechanism },
				"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
		},
		{
			Name:  "kafka-sasl-username",
			Help:  "user name to log in with",
			value: stringValue("text", func(c *Config) *string { return &c.KafkaSASLUsername }, checkPlain(255)),
		},
		{
			Name: "kafka-sasl-password-file", Secret: true,
			Help:  "file of the password to log in with",
			value: fileValue(func(c *Config) *string { return &c.KafkaSASLPasswordFile }),
		},
	}
}

func topicSettings() []Setting {
	return []Setting{
		{
			Name: "topic-jobs", Default: "reply-jobs",
			Help:  "the jobs; keyed by complaint_id",
			value: stringValue("topic", func(c *Config) *string { return &c.TopicJobs }, checkTopic),
		},
		{
			Name: "topic-outcomes", Default: "reply-outcomes",
			Help:  "how each job ended",
			value: stringValue("topic", func(c *Config) *string { return &c.TopicOutcomes }, checkTopic),
		},
		{
			Name: "topic-dead-letters", Default: "reply-dead-letters",
			Help:  "jobs that failed for good",
			value: stringValue("topic", func(c *Config) *string { return &c.TopicDeadLetters }, checkTopic),
		},
		{
			Name: "topic-resolutions", Default: "reply-resolutions",
			Help:  "what became of each dead letter; compacted",
			value: stringValue("topic", func(c *Config) *string { return &c.TopicResolutions }, checkTopic),
		},
	}
}

func redisSettings() []Setting {
	return []Setting{
		{
			Name: "redis-url", Default: "redis://127.0.0.1:6379/0",
			Help: "rediss:// for TLS; several, comma-separated, or redis+cluster:// for Cluster; " +
				"redis+sentinel://host:26379,.../master for Sentinel",
			value: redisURLValue(func(c *Config) *RedisURL { return &c.RedisURL }),
		},
		{
			Name: "redis-password-file", Secret: true,
			Help:  "file of the password; the user name, if any, stands in redis-url",
			value: fileValue(func(c *Config) *string { return &c.RedisPasswordFile }),
		},
		{
			Name:  "redis-ca-file",
			Help:  "certificates to trust for Redis, in place of the system's; needs rediss://",
			value: fileValue(func(c *Config) *string { return &c.RedisCAFile }),
		},
		{
			Name: "redis-prefix", Default: "replyworker",
			Help:  "beginning of every key; workers that share jobs must share it",
			value: stringValue("text", func(c *Config) *string { return &c.RedisPrefix }, checkPrefix),
		},
	}
}

func merchantSettings() []Setting {
	return []Setting{
		{
			Name:  "mchid",
			Help:  "the default merchant: signs the jobs that name none",
			value: patternValue(func(c *Config) *string { return &c.MchID }, mchIDPattern()),
		},
		{
			Name:  "cert-serial",
			Help:  "serial of the merchant's API certificate, hexadecimal",
			value: patternValue(func(c *Config) *string { return &c.CertSerial }, certSerialPattern()),
		},
		{
			Name: "private-key-file", Secret: true,
			Help:  "private key of the API certificate (apiclient_key.pem), PKCS#8 or PKCS#1",
			value: fileValue(func(c *Config) *string { return &c.PrivateKeyFile }),
		},
		{
			Name:  "public-key-id",
			Help:  "id of the WeChat Pay public key that answers are verified with (PUB_KEY_ID_...), or a platform certificate's serial",
			value: patternValue(func(c *Config) *string { return &c.PublicKeyID }, publicKeyIDPattern()),
		},
		{
			Name:  "public-key-file",
			Help:  "that public key (pub_key.pem), or platform certificate",
			value: fileValue(func(c *Config) *string { return &c.PublicKeyFile }),
		},
		{
			Name:  "merchants-file",
			Help:  "YAML of several merchants, each with the five values above, answer-keys and a topic-jobs of its own",
			value: fileValue(func(c *Config) *string { return &c.MerchantsFile }),
		},
	}
}

func apiSettings() []Setting {
	return []Setting{
		{
			Name: "primary-url", Default: "https://api.mch.weixin.qq.com",
			Help:  "host that serves while it is well",
			value: urlValue(func(c *Config) *string { return &c.PrimaryURL }),
		},
		{
			Name: "backup-url", Default: "https://api2.mch.weixin.qq.com", MayBeEmpty: true,
			Help:  "host to go to when the other fails; empty for none",
			value: urlValue(func(c *Config) *string { return &c.BackupURL }),
		},
		{
			Name:  "api-ca-file",
			Help:  "certificates to trust for both hosts, in place of the system's",
			value: fileValue(func(c *Config) *string { return &c.APICAFile }),
		},
	}
}

func sendingSettings() []Setting {
	return []Setting{
		{
			Name: "concurrency", Default: "64",
			Help:  "API calls at once; one more while a host that hangs is tried again",
			value: intValue(func(c *Config) *int { return &c.Concurrency }, 10_000),
		},
		{
			Name: "request-timeout", Default: "10s",
			Help: "one attempt, from connecting to the last byte",
			value: durationValue(func(c *Config) *time.Duration { return &c.RequestTimeout },
				10*time.Millisecond, 5*time.Minute),
		},
		{
			Name: "retry-initial", Default: "500ms",
			Help: "wait before the second attempt; doubles with jitter",
			value: durationValue(func(c *Config) *time.Duration { return &c.RetryInitial },
				time.Millisecond, time.Hour),
		},
		{
			Name: "retry-max", Default: "1m",
			Help: "longest wait between attempts",
			value: durationValue(func(c *Config) *time.Duration { return &c.RetryMax },
				time.Millisecond, 24*time.Hour),
		},
		{
			Name: "retry-attempts", Default: "8",
			Help:  "attempts of one job, over both hosts and over restarts",
			value: intValue(func(c *Config) *int { return &c.RetryAttempts }, 100),
		},
		{
			Name: "rate", Default: "0",
			Help:  "API calls per second and merchant, over all workers; 0 for no limit",
			value: rateValue(func(c *Config) *float64 { return &c.Rate }),
		},
		{
			Name: "breaker-failures", Default: "5",
			Help:  "failures in a row that take a host out of service",
			value: intValue(func(c *Config) *int { return &c.BreakerFailures }, 10_000),
		},
		{
			Name: "breaker-cooldown", Default: "5s",
			Help: "wait before the first call that tries the host again; doubles up to six times that, but not over 30s",
			value: durationValue(func(c *Config) *time.Duration { return &c.BreakerCooldown },
				10*time.Millisecond, 10*time.Minute),
		},
		{
			Name: "brake", Default: "20",
			Help:  "jobs of a merchant refused in a row, for one cause, that hold the merchant; off for none",
			value: brakeValue(func(c *Config) *int { return &c.Brake }),
		},
	}
}

func claimSettings() []Setting {
	return []Setting{
		{
			Name: "claim-lease", Default: "30s",
			Help: "time after which another worker may take over a job whose worker is gone",
			value: durationValue(func(c *Config) *time.Duration { return &c.ClaimLease },
				3*time.Second, time.Hour),
		},
		{
			Name: "claim-retention", Default: "336h",
			Help: "how long a finished job is remembered; longer than the jobs and dead-letter topics keep records",
			value: durationValue(func(c *Config) *time.Duration { return &c.ClaimRetention },
				4*time.Second, 10*365*24*time.Hour),
		},
	}
}

func serviceSettings() []Setting {
	return []Setting{
		{
			Name: "start-timeout", Default: "10s",
			Help: "how long a start tries to reach Kafka and Redis",
			value: durationValue(func(c *Config) *time.Duration { return &c.StartTimeout },
				100*time.Millisecond, time.Hour),
		},
		{
			Name: "drain-timeout", Default: "20s",
			Help: "how long a stop waits for calls under way; shorter than what kills the process",
			value: durationValue(func(c *Config) *time.Duration { return &c.DrainTimeout },
				100*time.Millisecond, time.Hour),
		},
		{
			Name: "buffer-jobs", Default: "10000",
			Help:  "most jobs fetched and not finished, over all partitions",
			value: intValue(func(c *Config) *int { return &c.BufferJobs }, 1_000_000),
		},
		{
			Name: "buffer-bytes", Default: "32MiB",
			Help:  "most bytes of such jobs",
			value: bytesValue(func(c *Config) *int64 { return &c.BufferBytes }, 1<<20, 64<<30),
		},
		{
			Name: "validation", Default: "strict",
			Help:  "lenient lets unknown fields, enum values and characters in a message through",
			value: enumValue(func(c *Config) *string { return &c.Validation }, "strict", "lenient"),
		},
		{
			Name: "admin-addr", Default: "127.0.0.1:9464",
			Help:  "address of metrics, health and the ops page",
			value: stringValue("host:port", func(c *Config) *string { return &c.AdminAddr }, checkListen),
		},
		{
			Name: "admin-token-file", Secret: true,
			Help:  "file of the token that admin-addr asks for, save for /livez, /readyz and /metrics; needed where it is not loopback",
			value: fileValue(func(c *Config) *string { return &c.AdminTokenFile }),
		},
		{
			Name: "log-level", Default: "info",
			Help: "least level that is logged",
			value: enumValue(func(c *Config) *string { return &c.LogLevel },
				"trace", "debug", "info", "warn", "error"),
		},
		{
			Name: "log-format", Default: "auto",
			Help: "auto is console on a terminal and json elsewhere",
			value: enumValue(func(c *Config) *string { return &c.LogFormat },
				"auto", "json", "console"),
		},
	}
}
