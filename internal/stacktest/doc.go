// Package stacktest gives a test the Kafka, the Redis and the API that it runs on. They are embedded
// ones, unless the environment variable TEST_SERVERS names a file of settings, one NAME=VALUE a line as
// an operator would write them:
//
//	REPLYWORKER_KAFKA_BROKERS=127.0.0.1:9092
//	REPLYWORKER_REDIS_URL=redis://127.0.0.1:6379/0
//
// Then tests use the servers that these lines lead to, with all that the product's settings can say:
// TLS, SASL, Cluster, Sentinel. A server that the file does not mention is embedded all the same.
//
// A test has topics, consumer groups and Redis keys of its own, so that tests run side by side, beside
// whatever else the servers are for. Topics and keys are removed when the test ends. What only an
// embedded server can do is behind its Embedded method, which skips the test on real ones.
package stacktest
