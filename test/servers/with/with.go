//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"replyworker/test/servers"
)

const (
	exitFailed = 1
	exitUsage  = 2
	exitSignal = 128 // and the signal's number
)

// startTimeout is how long the servers may take to start, their installation included.
const startTimeout = 10 * time.Minute

// options are what the command line says.
type options struct {
	kafka       int
	kafkaSecure bool
	redis       servers.RedisMode
	redisSecure bool
	verbose     bool
	command     []string
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("with", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprintln(stderr, "usage: with [flags] -- COMMAND ARGS...") //nolint:errcheck // there is nobody else to tell
		fs.PrintDefaults()
	}
	fs.IntVar(&o.kafka, "kafka", 0, "brokers of Kafka: 1, 3, or 0 for no Kafka")
	fs.BoolVar(&o.kafkaSecure, "kafka-secure", false, "give the settings for TLS and SASL")
	redis := fs.String("redis", "", "alone, cluster, sentinel, or nothing for no Redis")
	fs.BoolVar(&o.redisSecure, "redis-secure", false, "Redis with TLS and a password")
	fs.BoolVar(&o.verbose, "v", false, "say what is started")
	if err := fs.Parse(args); err != nil {
		return o, err //nolint:wrapcheck // flag has printed it
	}
	o.redis, o.command = servers.RedisMode(*redis), fs.Args()
	if fault := o.fault(); fault != "" {
		fmt.Fprintf(stderr, "with: %s\n", fault) //nolint:errcheck // there is nobody else to tell
		return o, errors.New(fault)
	}
	return o, nil
}

// fault says what is wrong with the options, or "".
func (o options) fault() string {
	switch o.redis {
	case "", servers.Alone, servers.Cluster, servers.Sentinel:
	default:
		return fmt.Sprintf("-redis is alone, cluster or sentinel, not %q", o.redis)
	}
	switch {
	case o.kafka != 0 && o.kafka != 1 && o.kafka != 3:
		return fmt.Sprintf("-kafka is 1 or 3, not %d", o.kafka)
	case o.kafka == 0 && o.kafkaSecure:
		return "-kafka-secure goes with -kafka"
	case o.redis == "" && o.redisSecure:
		return "-redis-secure goes with -redis"
	case len(o.command) == 0:
		return "no COMMAND"
	default:
		return ""
	}
}

// run does what the package says and returns the exit status.
func run(ctx context.Context, args []string, stderr io.Writer, signals <-chan os.Signal) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return exitUsage
	}
	endWithGoRun()
	dir, err := os.MkdirTemp("", "replyworker-servers-")
	if err != nil {
		fmt.Fprintf(stderr, "with: folder: %v\n", err) //nolint:errcheck // there is nobody else to tell
		return exitFailed
	}
	defer os.RemoveAll(dir) //nolint:errcheck // it is the system's to tidy then
	status, err := o.around(ctx, dir, stderr, signals)
	if err != nil {
		fmt.Fprintf(stderr, "with: %v\n", err) //nolint:errcheck // there is nobody else to tell
	}
	return status
}

// around starts the servers, runs the command and stops the servers.
func (o options) around(ctx context.Context, dir string, stderr io.Writer, signals <-chan os.Signal) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	type started struct {
		set *set
		err error
	}
	ready := make(chan started, 1)
	go func() {
		s, err := o.start(ctx, dir)
		ready <- started{s, err}
	}()
	var s started
	select {
	case s = <-ready:
	case got := <-signals:
		cancel()
		s = <-ready
		s.set.close()
		return statusOf(got), fmt.Errorf("%v while the servers started", got)
	}
	defer s.set.close()
	if s.err != nil {
		return exitFailed, s.err
	}
	file := filepath.Join(dir, "servers.env")
	if err := servers.WriteSettings(file, s.set.settings); err != nil {
		return exitFailed, err
	}
	if o.verbose {
		fmt.Fprintf(stderr, "with: %s\nwith: TEST_SERVERS=%s\n", //nolint:errcheck // there is nobody else to tell
			strings.Join(s.set.settings, "\nwith: "), file)
	}
	return command(o.command, file, signals)
}

func statusOf(s os.Signal) int {
	if number, ok := s.(syscall.Signal); ok {
		return exitSignal + int(number)
	}
	return exitFailed
}

// set is the servers that run.
type set struct {
	kafka    *servers.Kafka
	redis    *servers.Redis
	settings []string
}

// start starts the servers; those that have started are in the set, also when it fails.
func (o options) start(ctx context.Context, dir string) (*set, error) {
	s := &set{}
	var err error
	if o.redis != "" {
		cfg := servers.RedisConfig{Dir: dir, Mode: o.redis, Secure: o.redisSecure}
		if s.redis, err = servers.StartRedis(ctx, cfg); err != nil {
			return s, err
		}
		s.settings = append(s.settings, s.redis.Settings()...)
	}
	if o.kafka != 0 {
		if s.kafka, err = servers.StartKafka(ctx, servers.KafkaConfig{Dir: dir, Brokers: o.kafka}); err != nil {
			return s, err
		}
		s.settings = append(s.settings, s.kafka.Settings(o.kafkaSecure)...)
	}
	return s, nil
}

func (s *set) close() {
	if s.kafka != nil {
		s.kafka.Close()
	}
	if s.redis != nil {
		s.redis.Close()
	}
}
