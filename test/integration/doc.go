//go:build linux

// Package integration tests processes of the built worker on a real Kafka of three brokers and a real
// Redis: workers that come, go, are killed and are woken, a Java producer with transactions, and how
// long what is promised to be short takes.
//
// The tests run where TEST_REAL is 1; the script run beside this file installs what they need and runs
// all of them, or one group.
package integration
