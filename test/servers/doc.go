// Package servers starts real Apache Kafka and real Redis as child processes on loopback, for tests and
// rehearsals that stand-ins cannot replace: a broker that is killed, a master that fails over, TLS and
// passwords.
//
// Install finds the programs, or runs the script install, which fetches them into a cache. StartKafka
// and StartRedis start what they are told to and return when it serves. Their Settings are the lines of
// an environment file for the product. The children die with the process that started them, whatever
// ends it. All of this is for Linux; install is for Debian.
//
// A suite that needs the servers runs where TEST_REAL is 1 and is skipped elsewhere, so that a plain
// `go test ./...` needs nothing installed. The command servers/with starts them around any other
// command.
package servers
