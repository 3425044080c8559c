package signedcall

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Settings are what a peer is started with: the variables that bench/peers/README.md lists.
type Settings struct {
	Brokers  []string // BENCH_BROKERS, comma-separated host:port.
	Topic    string   // BENCH_TOPIC, of the jobs.
	Group    string   // BENCH_GROUP, the consumer group.
	Outcomes string   // BENCH_OUTCOMES, the topic of the outcomes.
	Dead     string   // BENCH_DEAD, the topic of the dead letters.

	API           string // BENCH_API, the base URL, without a path.
	MchID         string // BENCH_MCHID.
	CertSerial    string // BENCH_CERT_SERIAL, of the merchant's API certificate.
	KeyFile       string // BENCH_KEY_FILE, the merchant's private key, PKCS #8 in PEM.
	AnswerKeyID   string // BENCH_ANSWER_KEY_ID.
	AnswerKeyFile string // BENCH_ANSWER_KEY_FILE, the public key that answers are verified with, in PEM.

	Concurrency int // BENCH_CONCURRENCY, calls at once, as far as the peer can reach it; at least 1.

	Attempts     int           // BENCH_ATTEMPTS, calls for one job at most. Default 8, at least 1.
	RetryInitial time.Duration // BENCH_RETRY_INITIAL_MS, the wait before the second call. Default 500 ms.
	RetryMax     time.Duration // BENCH_RETRY_MAX_MS, the longest wait. Default 60 s.
}

// The retry policy where nothing else is said: replyworker's own defaults, so that every peer has the same.
const (
	defaultAttempts       = 8
	defaultRetryInitialMS = 500
	defaultRetryMaxMS     = 60_000
)

// FromEnvironment reads the settings. Its error joins every fault.
func FromEnvironment() (Settings, error) {
	r := reader{get: os.Getenv}
	s := Settings{
		Brokers:       strings.Split(r.text("BENCH_BROKERS"), ","),
		Topic:         r.text("BENCH_TOPIC"),
		Group:         r.text("BENCH_GROUP"),
		Outcomes:      r.text("BENCH_OUTCOMES"),
		Dead:          r.text("BENCH_DEAD"),
		API:           strings.TrimSuffix(r.text("BENCH_API"), "/"),
		MchID:         r.text("BENCH_MCHID"),
		CertSerial:    r.text("BENCH_CERT_SERIAL"),
		KeyFile:       r.text("BENCH_KEY_FILE"),
		AnswerKeyID:   r.text("BENCH_ANSWER_KEY_ID"),
		AnswerKeyFile: r.text("BENCH_ANSWER_KEY_FILE"),
		Concurrency:   r.number("BENCH_CONCURRENCY", 0),
		Attempts:      r.number("BENCH_ATTEMPTS", defaultAttempts),
		RetryInitial:  time.Duration(r.number("BENCH_RETRY_INITIAL_MS", defaultRetryInitialMS)) * time.Millisecond,
		RetryMax:      time.Duration(r.number("BENCH_RETRY_MAX_MS", defaultRetryMaxMS)) * time.Millisecond,
	}
	return s, errors.Join(r.faults...)
}

// reader reads variables and gathers what is wrong with them.
type reader struct {
	get    func(name string) string
	faults []error
}

func (r *reader) text(name string) string {
	value := r.get(name)
	if value == "" {
		r.faults = append(r.faults, fmt.Errorf("%s: must be set (bench/peers/README.md lists the variables)", name))
	}
	return value
}

// number reads a number from 1; otherwise is taken where it is not set, and 0 there means that it must be.
func (r *reader) number(name string, otherwise int) int {
	value := r.get(name)
	if value == "" && otherwise > 0 {
		return otherwise
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		r.faults = append(r.faults, fmt.Errorf("%s=%q: must be a whole number from 1", name, value))
	}
	return n
}
